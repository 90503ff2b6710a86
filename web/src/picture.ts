// From dequantised latents to pixels, for people: linear synthesis, then the network that corrects it.

import { BhdError } from "./container.js";
import { Conv, FastConv, Heap, Plane } from "./kernels.js";
import type { Model } from "./model.js";
import type { Latent } from "./stage.js";

const ITERATIONS = 8;
const BLOCK = 16;
const PATCH = 8;
const STRIDE = 4;
const UP = BLOCK / STRIDE;
const COLOURS = 3;
const DEVIATION = 0.25;
const MASKING_POWER = 0.8 / 1.4;
/** Step scales to an octave, and the channels that they do not apply to. */
const STEP_SCALES = 64;
const LOW_FREQUENCY = [0, 1, 7, 8, 2, 3];
/** Side of a tile in latent positions, and how far beyond it the network sees. */
const TILE = 64;
const MARGIN = 10;

/** Three planes of floats, (3, height, width). */
interface Ycc {
  height: number;
  width: number;
  data: Float32Array;
}

type Layer = Conv | FastConv;

class Residual {
  readonly first: Layer;
  readonly second: Layer;

  constructor(heap: Heap, model: Model, name: string, make: (heap: Heap, model: Model, name: string) => Layer) {
    this.first = make(heap, model, `${name}.first`);
    this.second = make(heap, model, `${name}.second`);
  }

  /** x += second(silu(first(x))); `scratch` has the shape of x. */
  run(x: Plane, scratch: Plane): void {
    this.first.run(x, scratch);
    x.heap.call.silu(scratch.address, scratch.size);
    this.second.run(scratch, x, true);
  }
}

function layer(heap: Heap, model: Model, name: string, choose?: number[]): Conv {
  return new Conv(heap, model.get(`${name}.weight`), model.floats(`${name}.bias`), choose);
}

/** A 3x3 layer at stride 4, where maps have even sides. */
function fast(heap: Heap, model: Model, name: string): FastConv {
  return new FastConv(heap, model.get(`${name}.weight`), model.floats(`${name}.bias`));
}

function blocks(heap: Heap, model: Model, name: string, make: (heap: Heap, model: Model, name: string) => Layer): Residual[] {
  const found: Residual[] = [];
  while (model.has(`${name}.${found.length}.first.weight`)) found.push(new Residual(heap, model, `${name}.${found.length}`, make));
  return found;
}

/** The picture's network, or null in a model without one. */
class Network {
  readonly code: Conv;
  readonly mid: Residual[];
  readonly up: Conv[];
  readonly enter: FastConv;
  readonly body: Residual[];
  readonly leave: FastConv;
  readonly width: number;
  readonly codes: number;

  constructor(heap: Heap, model: Model) {
    this.code = layer(heap, model, "eye_network.code");
    this.codes = model.get("eye_network.code.weight").shape[0]!;
    this.width = model.get("eye_network.enter.weight").shape[0]!;
    if (this.width % 4) throw new BhdError("The model's picture network has a width that this decoder does not know.");
    this.mid = blocks(heap, model, "eye_network.mid", layer);
    // One convolution for each of the 4x4 places that a latent position becomes.
    this.up = Array.from({ length: UP * UP }, (_, place) =>
      layer(heap, model, "eye_network.up", Array.from({ length: this.width }, (_, c) => c * UP * UP + place)));
    this.enter = fast(heap, model, "eye_network.enter");
    this.body = blocks(heap, model, "eye_network.body", fast);
    this.leave = fast(heap, model, "eye_network.leave");
  }
}

export class PictureSynthesis {
  readonly #linear: Conv;
  readonly #borders: number;
  readonly #transposed: number;
  readonly #network: Network | null;

  constructor(readonly heap: Heap, readonly model: Model) {
    // Outputs in the order colour, row, column of a block; the model's is that of two pixel shuffles.
    const order = Array.from({ length: COLOURS * BLOCK * BLOCK }, (_, i) => {
      const [colour, y, x] = [i >> 8, (i >> 4) & 15, i & 15];
      return ((colour * PATCH + (y % PATCH)) * PATCH + (x % PATCH)) * 4 + 2 * (y >> 3) + (x >> 3);
    });
    this.#linear = new Conv(heap, model.get("eye_linear"), null, order);
    const borders = model.floats("eye_borders");
    this.#borders = heap.put(borders, "f32");
    this.#transposed = heap.put(borders.map((_, i) => borders[BLOCK * (i % BLOCK) + Math.floor(i / BLOCK)]!), "f32");
    this.#network = model.has("eye_network.code.weight") ? new Network(heap, model) : null;
  }

  /**
   * Pixels (height x 16, width x 16, 4) of red, green, blue and 255.
   *
   * @param latent integers after iteration `t`
   * @param optimisedFor the number of iterations that the codes were optimised for, 0 where they were not
   * @param stepScale of the file
   * @param correct whether the network corrects the linear synthesis
   */
  render(latent: Latent, t: number, optimisedFor: number, stepScale: number, correct: boolean): Uint8ClampedArray<ArrayBuffer> {
    const { height, width } = latent;
    const values = this.#dequantise(latent, t, optimisedFor, stepScale);
    const pixels = new Uint8ClampedArray(4 * BLOCK * BLOCK * height * width);
    for (let top = 0; top < height; top += TILE) {
      for (let left = 0; left < width; left += TILE) {
        const [bottom, right] = [Math.min(top + TILE, height), Math.min(left + TILE, width)];
        const [y0, x0] = [Math.max(top - MARGIN, 0), Math.max(left - MARGIN, 0)];
        const [y1, x1] = [Math.min(bottom + MARGIN, height), Math.min(right + MARGIN, width)];
        const tile = this.#tile(cut(values, latent, y0, x0, y1, x1), optimisedFor ? t : t + ITERATIONS, correct);
        this.#paint(tile, (top - y0) * BLOCK, (left - x0) * BLOCK, pixels, width * BLOCK, top * BLOCK, left * BLOCK, (bottom - top) * BLOCK, (right - left) * BLOCK);
      }
    }
    return pixels;
  }

  /** Centroids of the cells, (latent, height, width). */
  #dequantise({ height, width, values }: Latent, t: number, optimisedFor: number, stepScale: number): Float32Array {
    const { model } = this;
    const channels = model.header.latent;
    const count = height * width;
    const result = new Float32Array(channels * count);
    const levels = model.integers("levels");
    const optimised = optimisedFor > 0 && model.has("searched");
    const centroids = optimised ? model.floats("searched") : model.floats("centroid");
    const ratios = optimisedFor > 0 && model.has("searched_ratio") ? model.floats("searched_ratio").subarray((optimisedFor - 1) * channels) : model.floats("log_ratio");
    for (let c = 0; c < channels; c++) {
      const level = levels[t * channels + c]!;
      if (level < 0) continue;
      const scale = LOW_FREQUENCY.includes(c) ? 0 : stepScale / STEP_SCALES;
      const step = 2 ** (scale - level) / Math.exp(ratios[c]!);
      const centroid = centroids[t * channels + c]!;
      const beyond = optimised ? centroids[(ITERATIONS + t) * channels + c]! : 0;
      for (let p = c * count; p < (c + 1) * count; p++) {
        const code = values[p]!;
        if (!code) continue;
        const sign = code > 0 ? 1 : -1;
        result[p] = (code + centroid * sign + (code === sign ? 0 : beyond * sign)) * step;
      }
    }
    return result;
  }

  #tile(part: { height: number; width: number; values: Float32Array }, filmIndex: number, correct: boolean): Ycc {
    const { heap } = this;
    const mark = heap.mark();
    const ycc = this.#draw(part);
    if (correct && this.#network) this.#correct(this.#network, part, ycc, filmIndex);
    heap.release(mark);
    return ycc;
  }

  /** The linear synthesis: coefficients to blocks, then a filter across their borders. */
  #draw({ height, width, values }: { height: number; width: number; values: Float32Array }): Ycc {
    const { heap, model } = this;
    const mark = heap.mark();
    const count = height * width;
    const steps = model.floats("step");
    const coefficients = new Plane(heap, height, width, steps.length);
    const patches = new Plane(heap, height, width, COLOURS * BLOCK * BLOCK);
    const input = coefficients.values;
    for (let p = 0; p < count; p++) {
      const mask = 2 ** (values[p]! * MASKING_POWER);
      const at = coefficients.at(Math.floor(p / width), p % width);
      for (let c = 0; c < steps.length; c++) input[at + c] = values[(c + 1) * count + p]! * steps[c]! * mask;
    }
    this.#linear.run(coefficients, patches);
    const [tall, wide] = [height * BLOCK, width * BLOCK];
    const address = heap.allocate(4 * COLOURS * tall * wide);
    const data = heap.f32(address, COLOURS * tall * wide);
    const output = patches.values;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let at = patches.at(y, x);
        for (let colour = 0; colour < COLOURS; colour++) {
          let place = (colour * tall + y * BLOCK) * wide + x * BLOCK;
          for (let row = 0; row < BLOCK; row++, place += wide) for (let i = 0; i < BLOCK; i++) data[place + i] = output[at++]!;
        }
      }
    }
    heap.call.filterBorders(address, COLOURS * tall, tall, wide, this.#borders, this.#transposed);
    const ycc = { height: tall, width: wide, data: data.slice() };
    heap.release(mark);
    return ycc;
  }

  #correct(network: Network, { height, width, values }: { height: number; width: number; values: Float32Array }, ycc: Ycc, filmIndex: number): void {
    const { heap, model } = this;
    const count = height * width;
    const latent = model.header.latent;
    const channelRms = model.floats("eye_network.spread");
    const [tall, wide] = [height * UP, width * UP];
    const state = new Plane(heap, tall, wide, network.width);
    const scratch = new Plane(heap, tall, wide, network.width);
    state.every("one");
    state.every("in9");
    scratch.every("one");
    scratch.every("in9");
    const mark = heap.mark();

    const yHat = new Plane(heap, height, width, latent);
    const input = yHat.values;
    for (let p = 0; p < count; p++) {
      const at = yHat.at(Math.floor(p / width), p % width);
      for (let c = 0; c < latent; c++) input[at + c] = values[c * count + p]! / channelRms[c]!;
    }
    const codes = new Plane(heap, height, width, network.codes);
    const other = new Plane(heap, height, width, network.codes);
    network.code.run(yHat, codes);
    heap.call.silu(codes.address, codes.size);
    for (const block of network.mid) block.run(codes, other);
    const from = codes.every("one");
    const to = heap.allocate(4 * count);
    network.up.forEach((conv, place) => {
      const targets = heap.i32(to, count);
      for (let p = 0; p < count; p++) targets[p] = state.at(UP * Math.floor(p / width) + Math.floor(place / UP), UP * (p % width) + (place % UP));
      conv.at(codes, from, count, state.address, to);
    });
    heap.release(mark);

    const patches = new Plane(heap, tall, wide, COLOURS * STRIDE * STRIDE);
    unshuffle(ycc, patches);
    network.enter.run(patches, state, true);
    const factors = model.floats("eye_network.film").subarray(filmIndex * 2 * network.width, (filmIndex + 1) * 2 * network.width);
    const scale = heap.put(factors.slice(0, network.width).map((v) => 1 + v), "f32");
    const shift = heap.put(factors.slice(network.width), "f32");
    for (let y = 0; y < tall; y++) heap.call.modulate(state.address + 4 * state.at(y, 0), wide, network.width, scale, shift);
    heap.call.silu(state.address, state.size);
    for (const block of network.body) block.run(state, scratch);
    network.leave.run(state, patches);
    const residualScale = model.floats("eye_network.reach")[filmIndex]!;
    const scales = Float32Array.from({ length: count }, (_, p) => residualScale * 2 ** (values[p]! * MASKING_POWER));
    addShuffled(patches, ycc, scales);
  }

  /** Write a part of a picture as pixels. */
  #paint(tile: Ycc, top: number, left: number, pixels: Uint8ClampedArray, width: number, y0: number, x0: number, height: number, wide: number): void {
    const [ra, rb, rc, ga, gb, gc, ba, bb, bc] = this.model.floats("from_ycc") as unknown as [number, number, number, number, number, number, number, number, number];
    const size = tile.height * tile.width;
    for (let y = 0; y < height; y++) {
      let at = (top + y) * tile.width + left;
      let place = 4 * ((y0 + y) * width + x0);
      for (let x = 0; x < wide; x++, at++, place += 4) {
        const [a, b, c] = [tile.data[at]!, tile.data[at + size]!, tile.data[at + 2 * size]!];
        // The array rounds and clamps.
        pixels[place] = 255 * (ra * a + rb * b + rc * c + 0.5);
        pixels[place + 1] = 255 * (ga * a + gb * b + gc * c + 0.5);
        pixels[place + 2] = 255 * (ba * a + bb * b + bc * c + 0.5);
        pixels[place + 3] = 255;
      }
    }
  }
}

/** Rows y0..y1 and columns x0..x1 of (channels, height, width). */
function cut(values: Float32Array, { height, width }: Latent, y0: number, x0: number, y1: number, x1: number): { height: number; width: number; values: Float32Array } {
  const [tall, wide] = [y1 - y0, x1 - x0];
  if (tall === height && wide === width) return { height, width, values };
  const channels = values.length / (height * width);
  const result = new Float32Array(channels * tall * wide);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = y0; y < y1; y++, to += wide) {
      const from = (c * height + y) * width;
      result.set(values.subarray(from + x0, from + x1), to);
    }
  }
  return { height: tall, width: wide, values: result };
}

/** Pixels to 4x4 patches, divided by their deviation. */
function unshuffle({ height, width, data }: Ycc, patches: Plane): void {
  const values = patches.values;
  for (let colour = 0, at = 0; colour < COLOURS; colour++) {
    for (let y = 0; y < height; y++) {
      const channel = colour * STRIDE * STRIDE + (y % STRIDE) * STRIDE;
      for (let x = 0, place = patches.at(Math.floor(y / STRIDE), 0) + channel; x < width; x += STRIDE, place += patches.stride) {
        for (let dx = 0; dx < STRIDE; dx++, at++) values[place + dx] = data[at]! / DEVIATION;
      }
    }
  }
}

/** Add 4x4 patches to pixels, times the scale of the block that they lie in. */
function addShuffled(patches: Plane, { height, width, data }: Ycc, scales: Float32Array): void {
  const values = patches.values;
  const row = width / BLOCK;
  for (let colour = 0, at = 0; colour < COLOURS; colour++) {
    for (let y = 0; y < height; y++) {
      const channel = colour * STRIDE * STRIDE + (y % STRIDE) * STRIDE;
      for (let x = 0, place = patches.at(Math.floor(y / STRIDE), 0) + channel; x < width; x += STRIDE, place += patches.stride) {
        const scale = scales[Math.floor(y / BLOCK) * row + Math.floor(x / BLOCK)]!;
        for (let dx = 0; dx < STRIDE; dx++, at++) data[at]! += scale * values[place + dx]!;
      }
    }
  }
}
