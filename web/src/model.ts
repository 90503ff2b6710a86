// The model file that `beholder export-web` writes: a header in JSON, then arrays, deflated.

import { BhdError } from "./container.js";

/** One stage of the entropy model, as layout.py describes it. */
export interface Stage {
  iteration: number;
  channels: number[];
  /** 0: a pyramid; else the number of interleaved sub-lattices. */
  passes: number;
  /** Channels coded before, a prefix. */
  prior_channels: number;
  /** By how many levels each channel is refined, -1 where it is coded first. */
  refinement: number[];
  /** Each earlier channel's step in units of the finest. */
  step_in_finest_units: number[];
  /** Family of probability tables where a channel is 0 so far. */
  family: number[];
  /** Of a pyramid: low-frequency channels that are coded before. */
  earlier: number[];
}

export interface ModelHeader {
  format: number;
  identity: string;
  latent: number;
  adapts: boolean;
  /** Bits that each iteration's codes of one position cost at least. */
  least_bits: number[];
  /** Bits that a code of each level of the residual costs at least. */
  residual_least_bits: number[];
  stages: Stage[];
  arrays: { name: string; type: "int16" | "int32" | "uint16" | "float16" | "float32"; shape: number[] }[];
}

export interface Tensor {
  shape: number[];
  data: Float32Array | Int32Array;
}

const MAGIC = "BHW1";
export const FORMAT = 2;
const SIZES = { int16: 2, int32: 4, uint16: 2, float16: 2, float32: 4 };

/** A parsed model. */
export class Model {
  constructor(readonly header: ModelHeader, readonly arrays: Map<string, Tensor>) {}

  has(name: string): boolean {
    return this.arrays.has(name);
  }

  get(name: string): Tensor {
    const found = this.arrays.get(name);
    if (!found) throw new BhdError(`The decoder's model lacks ${name}: write it anew with \`beholder export-web\`.`);
    return found;
  }

  floats(name: string): Float32Array {
    return this.get(name).data as Float32Array;
  }

  integers(name: string): Int32Array {
    return this.get(name).data as Int32Array;
  }

  /** Parse the bytes of a model file. */
  static async parse(bytes: Uint8Array): Promise<Model> {
    const damaged = new BhdError("The decoder's model is damaged: load the page again.");
    if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(0, 4)) !== MAGIC) throw damaged;
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
    let header: ModelHeader;
    let payload: Uint8Array;
    try {
      header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
      const deflated = new Blob([bytes.subarray(8 + length) as Uint8Array<ArrayBuffer>]);
      const stream = deflated.stream().pipeThrough(new DecompressionStream("deflate"));
      payload = new Uint8Array(await new Response(stream).arrayBuffer());
    } catch {
      throw damaged;
    }
    if (header.format !== FORMAT) throw new BhdError("The decoder's model is of another version: write it anew with `beholder export-web`.");
    const arrays = new Map<string, Tensor>();
    let place = 0;
    for (const { name, type, shape } of header.arrays) {
      const count = shape.reduce((a, b) => a * b, 1);
      const planes = Array.from({ length: SIZES[type] }, (_, i) => payload.subarray(place + i * count, place + (i + 1) * count));
      place += SIZES[type] * count;
      if (place > payload.length) throw damaged;
      arrays.set(name, { shape, data: decode(type, planes, count) });
    }
    return new Model(header, arrays);
  }
}

/** Values from planes of bytes, the lowest first; signed integers alternate in sign. */
function decode(type: keyof typeof SIZES, planes: Uint8Array[], count: number): Float32Array | Int32Array {
  const bits = new Int32Array(count);
  planes.forEach((plane, number) => {
    for (let i = 0; i < count; i++) bits[i]! |= plane[i]! << (8 * number);
  });
  if (type === "float32") return new Float32Array(bits.buffer);
  if (type === "float16") {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = fromHalf(bits[i]!);
    return values;
  }
  if (type !== "uint16") for (let i = 0; i < count; i++) bits[i] = (bits[i]! >>> 1) ^ -(bits[i]! & 1);
  return bits;
}

const HALVES = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));

/** A finite 16-bit float. */
function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const value = ((bits & 1023) | (exponent ? 1024 : 0)) * HALVES[exponent]!;
  return bits & 0x8000 ? -value : value;
}
