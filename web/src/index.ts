// Decodes .bhd files for people (alpha 0), segment by segment, as their bytes arrive.
//
//     const decoder = await Decoder.load("model.bin", "./");
//     const picture = decoder.open();
//     for await (const bytes of response.body) {
//       picture.push(bytes);
//       while (picture.step()) paint(picture.render(picture.waiting === 0));
//     }
//     picture.finish();

import { BhdError, Container, Header, ICC, MOST_ITERATIONS, OPACITY } from "./container.js";
import { Exports, Heap, relaxed } from "./kernels.js";
import { Model } from "./model.js";
import { PictureSynthesis } from "./picture.js";
import { PyramidNetwork } from "./pyramid.js";
import { ResidualCodes, ResidualDecoder } from "./residual.js";
import { begin, checkLength, tooShort } from "./segment.js";
import { Latent, StageNetwork } from "./stage.js";
import { Tables } from "./tables.js";

export { BhdError, Container, ICC, OPACITY, relaxed };
export type { Exports, Header };

const BLOCK = 16;
/** Smaller pictures, in blocks, have no shifts. */
const LEAST_POSITIONS = 100;

export interface Picture {
  width: number;
  height: number;
  /** Red, green, blue, opacity: 4 values a pixel, rows from top to bottom. */
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** A model, ready to decode any number of files. */
export class Decoder {
  readonly #stages: (StageNetwork | PyramidNetwork)[];
  readonly tables: Tables;
  readonly synthesis: PictureSynthesis;
  readonly residual: ResidualDecoder;

  constructor(readonly model: Model, readonly heap: Heap) {
    this.tables = new Tables(heap, model);
    this.#stages = model.header.stages.map((stage, number) =>
      stage.passes ? new StageNetwork(heap, model, stage, number) : new PyramidNetwork(heap, model, stage, number));
    this.synthesis = new PictureSynthesis(heap, model);
    this.residual = new ResidualDecoder(heap, model);
  }

  /** From the bytes of a model file and of a kernel module (`kernels.wasm` or, for engines that know relaxed SIMD, `kernels-relaxed.wasm`). */
  static async create(model: Uint8Array, kernels: BufferSource): Promise<Decoder> {
    const { instance } = await WebAssembly.instantiate(kernels, {});
    return new Decoder(await Model.parse(model), new Heap(instance));
  }

  /** From addresses: that of the model, and that of the folder with the kernels. */
  static async load(model: string | URL, folder: string | URL = new URL("./", import.meta.url)): Promise<Decoder> {
    const get = async (address: string | URL) => {
      const answer = await fetch(address);
      if (!answer.ok) throw new BhdError(`${address} cannot be loaded (${answer.status}).`);
      return new Uint8Array(await answer.arrayBuffer());
    };
    const kernels = new URL(relaxed() ? "kernels-relaxed.wasm" : "kernels.wasm", folder);
    return Decoder.create(...(await Promise.all([get(model), get(kernels)])));
  }

  /** Begin a file. */
  open(): ProgressivePicture {
    return new ProgressivePicture(this);
  }

  /** Bring `state` from before iteration `t` to after it. */
  decode(segment: Uint8Array, state: Latent, t: number): void {
    const { heap } = this;
    this.checkLength(segment, state.height * state.width, t);
    const mark = heap.mark();
    try {
      begin(heap, segment);
      this.model.header.stages.forEach((stage, number) => {
        if (stage.iteration === t) this.#decodeStage(this.#stages[number]!, state, t);
      });
    } finally {
      heap.release(mark);
    }
  }

  /** Refuse a segment that cannot hold the codes of so many positions. */
  checkLength(segment: Uint8Array, positions: number, t: number): void {
    checkLength(segment, this.model.header.least_bits[t]! * positions, t + 1);
  }

  #decodeStage(network: StageNetwork | PyramidNetwork, state: Latent, t: number): void {
    const count = state.height * state.width;
    const channels = network.stage.channels.length;
    const shifts = this.model.header.adapts && count >= LEAST_POSITIONS ? this.tables.shifts(channels) : null;
    const codes = new Int32Array(channels * count);
    for (const { positions, choice } of network.passes(codes, state, shifts)) {
      const found = this.tables.decode(choice);
      if (this.heap.call.broken()) throw new BhdError(`The codes of iteration ${t + 1} are damaged: get the file anew.`);
      if (this.heap.call.exhausted()) throw tooShort(t + 1);
      for (let c = 0, i = 0; c < channels; c++) for (const p of positions) codes[c * count + p] = found[i++]!;
    }
    network.apply(codes, state);
  }
}

/** One file on its way. */
export class ProgressivePicture {
  readonly #container = new Container();
  #latent: Latent | null = null;
  #residual: ResidualCodes | null = null;
  /** The picture of quality 8, which the residual is added to. */
  #base: Uint8ClampedArray<ArrayBuffer> | null = null;
  /** Number of segments that have been decoded. */
  segments = 0;

  constructor(readonly decoder: Decoder) {}

  get header(): Header | null {
    return this.#container.header;
  }

  /** Whether the file is there and all of its segments have been decoded. */
  get complete(): boolean {
    return this.#container.complete && !this.waiting;
  }

  /** The latent's integers so far, (channels, height, width). */
  get codes(): Int32Array {
    return this.#latent?.values ?? new Int32Array();
  }

  /** Codes of the residual so far: tile by tile (planes, 64, rows, columns). */
  get residual(): Int16Array[] {
    return this.#residual?.tiles.map(({ codes }) => codes) ?? [];
  }

  /** Complete segments that have arrived and are not decoded yet. */
  get waiting(): number {
    return this.#container.segments.length - this.segments;
  }

  /**
   * Take in bytes.
   *
   * @returns how many segments wait for `step`
   * @throws BhdError for a file that is foreign, damaged or not for this decoder
   */
  push(bytes: Uint8Array): number {
    const known = this.header !== null;
    this.#container.push(bytes);
    if (this.header && !known) this.#check(this.header);
    return this.waiting;
  }

  /** Decode the next complete segment; false where there is none. */
  step(): boolean {
    if (!this.waiting) return false;
    const segment = this.#container.segments[this.segments]!;
    if (this.segments < MOST_ITERATIONS) this.decoder.decode(segment, (this.#latent ??= this.#begin(segment)), this.segments);
    else this.#residual = this.decoder.residual.decode(segment, this.#residual, this.header!, this.#latent!);
    this.segments++;
    return true;
  }

  /** Tell that no more bytes come; throws BhdError if there is nothing to show. */
  finish(): void {
    this.#container.finish();
  }

  /** The picture as it stands; without `correct`, up to quality 8, the quick linear part alone. */
  render(correct = true): Picture {
    if (!this.segments || !this.header) throw new BhdError("The file ends before its first segment is complete: get the whole file.");
    const { header } = this;
    const { width, height, quality } = header;
    const mayGoOn = quality > MOST_ITERATIONS && this.segments >= MOST_ITERATIONS;
    if (!mayGoOn || !(correct || this.#residual)) return { width, height, data: this.#draw(header, correct) };
    // The residual's levels all add to this one picture.
    this.#base ??= this.#draw(header, true);
    const data = this.#base.slice();
    if (this.#residual) this.decoder.residual.add(this.#residual, header, data);
    return { width, height, data };
  }

  /** The picture that the iterations so far give. */
  #draw({ width, height, grey, optimised, iterations, stepScale }: Header, correct: boolean): Uint8ClampedArray<ArrayBuffer> {
    const t = Math.min(this.segments, iterations) - 1;
    const padded = this.decoder.synthesis.render(this.#latent!, t, optimised ? iterations : 0, stepScale, correct);
    const row = 4 * BLOCK * this.#latent!.width;
    const data = new Uint8ClampedArray(4 * width * height);
    for (let y = 0; y < height; y++) data.set(padded.subarray(y * row, y * row + 4 * width), 4 * y * width);
    if (grey) {
      for (let i = 0; i < data.length; i += 4) {
        // ITU-R 601-2 luma, as Pillow rounds it.
        data.fill((data[i]! * 19595 + data[i + 1]! * 38470 + data[i + 2]! * 7471 + 0x8000) >> 16, i, i + 3);
      }
    }
    return data;
  }

  /** Refuse files that are not for this decoder. */
  #check(header: Header): void {
    const { identity } = this.decoder.model.header;
    if (header.model !== identity) {
      throw new BhdError(`The file was written by codec model ${header.model}, and this decoder has ${identity}: decode it with the beholder that wrote it.`);
    }
    if (header.alpha !== 0) {
      throw new BhdError(`The file was made for a machine (alpha ${header.alpha}), and the browser decodes files for people (alpha 0): use \`beholder decompress\`.`);
    }
  }

  /** The latent before the first segment; memory is taken only where that can hold so many codes. */
  #begin(segment: Uint8Array): Latent {
    const [height, width] = [Math.ceil(this.header!.height / BLOCK), Math.ceil(this.header!.width / BLOCK)];
    this.decoder.checkLength(segment, height * width, 0);
    return { height, width, values: new Int32Array(this.decoder.model.header.latent * height * width) };
  }
}
