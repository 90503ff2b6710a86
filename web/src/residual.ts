// The residual layer of qualities 9 to 12, in whole numbers: docs/bhd-format.md has the formulas.

import { BhdError, Header, MOST_ITERATIONS } from "./container.js";
import type { Heap } from "./kernels.js";
import type { Model } from "./model.js";
import { begin, checkLength, tooShort } from "./segment.js";
import type { Latent } from "./stage.js";
import { cumulate, PROBABILITY_BITS } from "./tables.js";

const SIDE = 8;
const COEFFICIENTS = SIDE * SIDE;
const DIAGONALS = 2 * SIDE - 1;
const LEVELS = 4;
/** Side of a tile in blocks. */
const TILE = 128;
/** Blocks of the residual in a row of one latent position. */
const PER = 2;
const PLANES = 3;
const CLASSES = 4;
const FEATURES = 10;
const BINS = 40;
const CONTEXTS = 64;
const SYMBOLS = 17;
const LOOKED_UP = 4096;
const MOST_ACTIVITY = 15;
const STEP_SCALES = 64;
const STEP_UNIT = 64;
const FINEST_STEP = 2;
const BASIS_UNIT = 8192;
/** What the kernel returns where codes are damaged. */
const DAMAGED = 1;

/** Blocks that are coded without those of other tiles. */
interface Tile {
  top: number;
  left: number;
  height: number;
  width: number;
  /** (planes, 64, height, width), signed. */
  codes: Int16Array;
}

/** The residual's codes of one picture, after some levels. */
export interface ResidualCodes {
  planes: number;
  levels: number;
  tiles: Tile[];
}

/** The tables of the residual in the module's memory, and what decodes with them. */
export class ResidualDecoder {
  readonly #weights: number[] = [];
  readonly #probabilities: number[] = [];
  readonly #bins: number;
  readonly #basis: number;

  constructor(readonly heap: Heap, readonly model: Model) {
    const weights = model.integers("residual.weights");
    const size = PLANES * DIAGONALS * FEATURES;
    for (let level = 0; level < LEVELS; level++) {
      this.#weights.push(heap.put(weights.subarray(level * size, (level + 1) * size), "i16"));
      this.#probabilities.push(heap.put(level ? ones(model, level) : first(model), "i32"));
    }
    const edges = model.integers("residual.edges");
    this.#bins = heap.allocate(LOOKED_UP);
    const bins = new Uint8Array(heap.call.memory.buffer, this.#bins, LOOKED_UP);
    for (let value = 0, bin = 0; value < LOOKED_UP; bins[value++] = bin) while (bin < edges.length && edges[bin]! <= value) bin++;
    const basis = Float64Array.from({ length: COEFFICIENTS }, (_, k) => {
      const [u, x] = [k >> 3, k & 7];
      return Math.floor(BASIS_UNIT * (u ? 0.5 : Math.sqrt(1 / SIDE)) * Math.cos(((2 * x + 1) * u * Math.PI) / (2 * SIDE)) + 0.5);
    });
    this.#basis = heap.put(basis, "f64");
  }

  /**
   * Decode the segment of the next level.
   *
   * @param before codes after the levels before, null at the first; they stay as they are
   * @param latent after all iterations
   */
  decode(segment: Uint8Array, before: ResidualCodes | null, { grey, height, width }: Header, latent: Latent): ResidualCodes {
    const { heap, model } = this;
    const level = before?.levels ?? 0;
    const number = MOST_ITERATIONS + level + 1;
    const planes = grey ? 1 : PLANES;
    const [rows, columns] = [Math.ceil(height / SIDE), Math.ceil(width / SIDE)];
    checkLength(segment, model.header.residual_least_bits[level]! * planes * COEFFICIENTS * rows * columns, number);
    const tiles: Tile[] = [];
    const mark = heap.mark();
    try {
      begin(heap, segment);
      const inner = heap.mark();
      for (let top = 0; top < rows; top += TILE) {
        for (let left = 0; left < columns; left += TILE) {
          const area = { top, left, height: Math.min(TILE, rows - top), width: Math.min(TILE, columns - left) };
          const count = planes * COEFFICIENTS * area.height * area.width;
          const codes = before ? heap.put(before.tiles[tiles.length]!.codes, "i16") : heap.allocate(2 * count);
          this.#decodeTile(level, number, planes, area, codes, latent);
          tiles.push({ ...area, codes: heap.i16(codes, count).slice() });
          heap.release(inner);
        }
      }
    } finally {
      heap.release(mark);
    }
    return { planes, levels: level + 1, tiles };
  }

  #decodeTile(level: number, number: number, planes: number, area: Omit<Tile, "codes">, codes: number, latent: Latent): void {
    const { heap, model } = this;
    const { top, left, height, width } = area;
    const masks = model.integers("masks");
    // The kernel reads eight values at once.
    const activity = new Int16Array(height * width + SIDE);
    for (let y = 0, at = 0; y < height; y++) {
      const row = Math.floor((top + y) / PER) * latent.width;
      for (let x = 0; x < width; x++) activity[at++] = masks[Math.min(Math.max(latent.values[row + Math.floor((left + x) / PER)]!, 0), MOST_ACTIVITY)]!;
    }
    const known = (planes * COEFFICIENTS + 1) * (height + 2) * (width + 2);
    const scratch = heap.allocate(known + 40 * height * width + 512, true);
    const weights = this.#weights[level]!;
    const state = heap.call.residualCodes(level, planes, height, width, codes, heap.put(activity, "i16"), weights, this.#bins, this.#probabilities[level]!, scratch);
    if (state === DAMAGED) throw new BhdError(`Segment ${number} of this .bhd file is damaged: get the file anew.`);
    if (state) throw tooShort(number);
  }

  /** Add what the codes hold to the picture of quality 8, (height, width, 4), in place. */
  add({ planes, levels, tiles }: ResidualCodes, { width, height, residualScale }: Header, data: Uint8ClampedArray): void {
    const { heap, model } = this;
    const mark = heap.mark();
    const steps = heap.put(stepsOf(residualScale, levels - 1), "i32");
    const centroids = heap.put(model.integers("residual.centroid").subarray(2 * PLANES * (levels - 1), 2 * PLANES * levels), "i32");
    const inner = heap.mark();
    for (const tile of tiles) {
      const pairs = Math.ceil(tile.width / 2);
      const row = 2 * SIDE * pairs * planes;
      const codes = heap.put(tile.codes, "i16");
      const scratch = heap.allocate(1024 * (planes * pairs + 1));
      const out = heap.allocate(2 * SIDE * tile.height * row);
      heap.call.residualPixels(planes, tile.height, tile.width, codes, steps, centroids, this.#basis, scratch, out);
      const added = heap.i16(out, SIDE * tile.height * row);
      const [y0, x0] = [SIDE * tile.top, SIDE * tile.left];
      const wide = Math.min(SIDE * tile.width, width - x0);
      for (let y = 0; y < Math.min(SIDE * tile.height, height - y0); y++) {
        let at = 4 * ((y0 + y) * width + x0);
        // The array clamps.
        if (planes === 1) for (let x = y * row; x < y * row + wide; x++, at += 4) data[at] = data[at + 1] = data[at + 2] = data[at]! + added[x]!;
        else {
          for (let x = y * row; x < y * row + PLANES * wide; x += PLANES, at += 4) {
            data[at]! += added[x]!;
            data[at + 1]! += added[x + 1]!;
            data[at + 2]! += added[x + 2]!;
          }
        }
      }
      heap.release(inner);
    }
    heap.release(mark);
  }
}

/** Cumulative probabilities of level 0, (plane, class, 40, 18). */
function first(model: Model): Int32Array {
  const frequencies = model.integers("residual.first");
  const tables = frequencies.length / SYMBOLS;
  const result = new Int32Array(tables * (SYMBOLS + 1));
  for (let t = 0; t < tables; t++) cumulate(frequencies, t * SYMBOLS, (t + 1) * SYMBOLS, PROBABILITY_BITS, result, t * (SYMBOLS + 1));
  return result;
}

/** Cumulative probability of symbol 1 at a level above 0, (plane, class, 64). */
function ones(model: Model, level: number): Int32Array {
  const [zero, refined] = [model.integers("residual.zero"), model.integers("residual.refined")];
  const scratch = new Int32Array(3);
  return Int32Array.from({ length: PLANES * CLASSES * CONTEXTS }, (_, i) => {
    const [kind, context] = [Math.floor(i / CONTEXTS), i % CONTEXTS];
    const before = (level - 1) * PLANES;
    const one = context < BINS
      ? zero[(before * CLASSES + kind) * BINS + context]!
      : refined[(before + Math.floor(kind / CLASSES)) * (CONTEXTS - BINS) + context - BINS]!;
    cumulate([2 ** PROBABILITY_BITS - one, one], 0, 2, PROBABILITY_BITS, scratch, 0);
    return scratch[1]!;
  });
}

/** Quantiser step of each coefficient at a level, in 64ths. */
function stepsOf(scale: number, level: number): Int32Array {
  return Int32Array.from({ length: COEFFICIENTS }, (_, k) => {
    const weight = 14 + (k >> 3) + (k & 7);
    return Math.floor(((STEP_UNIT * FINEST_STEP) / 14) * weight * 2 ** (scale / STEP_SCALES) + 0.5) << (LEVELS - 1 - level);
  });
}
