// The entropy model's network of one stage, in whole numbers: stage_network.py tells the formulas.

import { Conv, Heap, Plane } from "./kernels.js";
import type { Model, Stage } from "./model.js";
import { Choice, EVEN, table } from "./tables.js";

const INPUT_LIMIT = 511;
const CLASSES = 4;
const UNIT = 256 * 32;
const MEAN_LIMIT = 127 * 16;

/** The latent as it is known: one integer for each channel and position, (channels, height, width). */
export interface Latent {
  height: number;
  width: number;
  values: Int32Array;
}

const clip = (value: number, limit: number) => (value > limit ? limit : value < -limit ? -limit : value);

export class StageNetwork {
  readonly #convs = new Map<string, Conv>();
  readonly #log: Int32Array;
  readonly #refines: boolean;
  readonly #byPass: Int32Array;
  readonly #width: number;

  constructor(readonly heap: Heap, readonly model: Model, readonly stage: Stage, readonly number: number) {
    this.#log = model.integers("log_table");
    this.#refines = stage.refinement.some((r) => r >= 0);
    for (const name of ["current", "spread_current", "mix", "out", "before", "gather_before", "spread_before"]) {
      const weight = `${number}.${name}.weight`;
      if (!model.has(weight)) continue;
      const bias = model.has(`${number}.${name}.bias`) ? model.integers(`${number}.${name}.bias`) : null;
      this.#convs.set(name, new Conv(heap, model.get(weight), bias));
    }
    const byPass = model.get(`${number}.by_pass`);
    this.#byPass = byPass.data as Int32Array;
    this.#width = byPass.shape[1]!;
  }

  /** What takes the stage's channels up to date, given its codes in the order (channel, position). */
  apply(codes: Int32Array, state: Latent): void {
    const { channels, refinement } = this.stage;
    const count = state.height * state.width;
    channels.forEach((channel, c) => {
      const factor = 1 << Math.max(refinement[c]!, 0);
      for (let p = 0; p < count; p++) {
        const at = channel * count + p;
        const [old, code] = [state.values[at]!, codes[c * count + p]!];
        state.values[at] = old === 0 ? code : Math.sign(old) * (factor * Math.abs(old) + code);
      }
    });
  }

  /** For each pass: its positions, in rows, and the choice of tables; `codes` holds those of the passes before. */
  *passes(codes: Int32Array, state: Latent, shifts: number[] | null): Generator<{ positions: number[]; choice: Choice }> {
    const { heap, stage } = this;
    const mark = heap.mark();
    const { height, width } = state;
    const count = height * width;
    const channels = stage.channels.length;
    const which = lattice(height, width, stage.passes);
    const before = this.#before(state);
    const old = new Int32Array(channels * count);
    stage.channels.forEach((channel, c) => {
      for (let p = 0; p < count; p++) old[c * count + p] = Math.abs(state.values[channel * count + p]!);
    });
    const own = this.#refines ? this.#depthwise("own", old, true, state) : null;
    const inner = heap.mark();
    for (let pass = 0; pass < stage.passes; pass++) {
      const positions: number[] = [];
      for (let p = 0; p < count; p++) if (which[p] === pass) positions.push(p);
      if (!positions.length) continue;
      const known = new Int32Array(codes.length);
      for (let start = 0; pass && start < known.length; start += count) {
        for (let p = 0; p < count; p++) if (which[p]! < pass) known[start + p] = codes[start + p]!;
      }
      const out = this.#network(known, which, positions, pass, before, state);
      const values = pass ? this.#depthwise("neighbours", known, false, state) : null;
      const activity = pass ? this.#depthwise("activity", known, true, state) : null;
      yield { positions, choice: this.#choose(out, positions, count, old, own, values, activity, shifts) };
      heap.release(inner);
    }
    heap.release(mark);
  }

  /** What all stages before tell, or null in the first one. */
  #before(state: Latent): Plane | null {
    const dense = this.#convs.get("before");
    if (!dense) return null;
    const { heap, stage } = this;
    const { height, width } = state;
    const count = height * width;
    const first = new Plane(heap, height, width, dense.outputs);
    const gathered = new Plane(heap, height, width, dense.outputs);
    gathered.every("in9");
    first.every("in9");
    first.every("one");
    gathered.every("one");
    const mark = heap.mark();
    const features = new Plane(heap, height, width, 2 * stage.prior_channels);
    const values = features.values;
    for (let c = 0; c < stage.prior_channels; c++) {
      const step = stage.step_in_finest_units[c]!;
      for (let y = 0, p = c * count; y < height; y++) {
        for (let x = 0, at = features.at(y, 0) + c; x < width; x++, p++, at += features.stride) {
          const value = clip(state.values[p]! * step, INPUT_LIMIT);
          if (value) {
            values[at] = value;
            values[at + stage.prior_channels] = this.#log[Math.abs(value)]!;
          }
        }
      }
    }
    dense.run(features, first);
    heap.release(mark);
    this.#relu(first);
    this.#convs.get("gather_before")!.run(first, gathered);
    this.#relu(gathered);
    return gathered;
  }

  /** Means and scales (positions, 2 x channels, padded) in units of 1 / 8192, as the network alone gives them. */
  #network(known: Int32Array, which: Int32Array, positions: number[], pass: number, before: Plane | null, state: Latent): { values: Float32Array; stride: number } {
    const { heap } = this;
    const { height, width } = state;
    const count = height * width;
    const chosen = positions.length;
    const mix = this.#convs.get("mix")!;
    const last = this.#convs.get("out")!;
    const neighbourhood = this.#convs.get("spread_current")!;
    const hidden = new Plane(heap, 1, chosen, neighbourhood.outputs);
    const mixed = new Plane(heap, 1, chosen, mix.outputs);
    const result = new Plane(heap, 1, chosen, last.outputs);
    const rows = hidden.values;
    for (let i = 0; i < chosen; i++) rows.set(this.#byPass.subarray(pass * this.#width, (pass + 1) * this.#width), hidden.at(0, i));
    const offsets = (plane: Plane) => {
      const address = heap.allocate(4 * chosen);
      const list = heap.i32(address, chosen);
      positions.forEach((p, i) => (list[i] = plane.at(Math.floor(p / width) - 1, (p % width) - 1)));
      return address;
    };
    const to = hidden.every("one");
    if (before) this.#convs.get("spread_before")!.at(before, offsets(before), chosen, hidden.address, to, true);
    if (pass) {
      const channels = this.stage.channels.length;
      const dense = this.#convs.get("current")!;
      const features = new Plane(heap, height, width, 2 * channels);
      const current = new Plane(heap, height, width, dense.outputs);
      const values = features.values;
      for (let c = 0; c < channels; c++) {
        for (let y = 0, p = c * count; y < height; y++) {
          for (let x = 0, at = features.at(y, 0) + c; x < width; x++, p++, at += features.stride) {
            const value = clip(known[p]!, INPUT_LIMIT);
            if (value) {
              values[at] = value;
              values[at + channels] = this.#log[Math.abs(value)]!;
            }
          }
        }
      }
      // Only positions of the passes before are known; the others stay 0.
      const from = heap.allocate(4 * count);
      const place = heap.allocate(4 * count);
      const [sources, targets] = [heap.i32(from, count), heap.i32(place, count)];
      let number = 0;
      for (let p = 0; p < count; p++) {
        if (which[p]! >= pass) continue;
        sources[number] = features.at(Math.floor(p / width), p % width);
        targets[number++] = current.at(Math.floor(p / width), p % width);
      }
      dense.at(features, from, number, current.address, place);
      this.#relu(current);
      neighbourhood.at(current, offsets(current), chosen, hidden.address, to, true);
    }
    this.#relu(hidden);
    mix.run(hidden, mixed);
    this.#relu(mixed);
    last.run(mixed, result);
    const values = result.values;
    return { values: values.subarray(result.at(0, 0)), stride: result.stride };
  }

  #choose(
    out: { values: Float32Array; stride: number }, positions: number[], count: number, old: Int32Array,
    own: Float64Array | null, neighbours: Float64Array | null, activity: Float64Array | null, shifts: number[] | null,
  ): Choice {
    const { stage, model, number } = this;
    const channels = stage.channels.length;
    const size = positions.length;
    const tables = new Uint16Array(channels * size);
    const wholes = new Int32Array(channels * size);
    const stateMean = this.#refines ? model.integers(`${number}.state_mean`) : null;
    const stateScale = this.#refines ? model.integers(`${number}.state_scale`) : null;
    for (let c = 0; c < channels; c++) {
      const shift = shifts ? shifts[c]! : 0;
      for (let i = 0; i < size; i++) {
        const at = c * count + positions[i]!;
        let mean = out.values[i * out.stride + c]!;
        let scale = out.values[i * out.stride + channels + c]!;
        if (neighbours && activity) {
          mean += 32 * neighbours[at]!;
          scale += activity[at]!;
        }
        if (own) scale += own[at]!;
        let family = stage.family[c]!;
        if (stateMean && stateScale) {
          const member = Math.min(old[at]!, CLASSES - 1);
          if (member) {
            mean = scale = 0;
            family = EVEN;
          }
          mean += stateMean[c * CLASSES + member]!;
          scale += stateScale[c * CLASSES + member]!;
        }
        let part: number;
        if (family === EVEN) {
          const even = clip(Math.floor((mean * 16) / UNIT + 0.5), MEAN_LIMIT);
          part = even & 15;
          wholes[c * size + i] = even >> 4;
        } else part = Math.min(Math.max(Math.floor((mean * 8) / UNIT + 0.5) + 8, 0), 15);
        const index = Math.min(Math.max(Math.floor((scale * 4) / UNIT) + 32, 0), 63);
        tables[c * size + i] = table(family, index, part, family === EVEN ? 0 : shift);
      }
    }
    return { tables, wholes };
  }

  /** 3x3 depthwise convolution of (channels, height, width), of limited values or of the logarithms of their sizes. */
  #depthwise(name: string, values: Int32Array, logarithms: boolean, { height, width }: Latent): Float64Array {
    const log = this.#log;
    const weight = this.model.integers(`${this.number}.${name}.weight`);
    const channels = this.stage.channels.length;
    const result = new Float64Array(values.length);
    const row = width + 2;
    const padded = new Int32Array((height + 2) * row);
    for (let c = 0; c < channels; c++) {
      const base = c * height * width;
      for (let y = 0, p = base; y < height; y++) for (let x = 0; x < width; x++, p++) {
        const value = clip(values[p]!, INPUT_LIMIT);
        padded[(y + 1) * row + x + 1] = logarithms ? log[Math.abs(value)]! : value;
      }
      const [a, b, d, e, f, g, h, i, j] = weight.subarray(9 * c, 9 * c + 9) as unknown as number[] as [number, number, number, number, number, number, number, number, number];
      for (let y = 0, p = base; y < height; y++) {
        for (let x = 0, at = y * row; x < width; x++, p++, at++) {
          result[p] =
            a * padded[at]! + b * padded[at + 1]! + d * padded[at + 2]! +
            e * padded[at + row]! + f * padded[at + row + 1]! + g * padded[at + row + 2]! +
            h * padded[at + 2 * row]! + i * padded[at + 2 * row + 1]! + j * padded[at + 2 * row + 2]!;
        }
      }
    }
    return result;
  }

  #relu(plane: Plane): void {
    this.heap.call.integerRelu(plane.address, plane.size);
  }
}

/** Which pass codes each position. */
function lattice(height: number, width: number, passes: number): Int32Array {
  const result = new Int32Array(height * width);
  const four = [0, 2, 3, 1];
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) result[p] = passes === 1 ? 0 : passes === 2 ? (y + x) % 2 : four[2 * (y % 2) + (x % 2)]!;
  }
  return result;
}
