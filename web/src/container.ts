// The .bhd container: header, metadata and checked segments, as their bytes arrive.

/** A file that cannot be decoded; the message is one sentence for people. */
export class BhdError extends Error {
  override name = "BhdError";
}

export interface Header {
  /** Identity of the model that wrote the file, in hexadecimal digits. */
  model: string;
  width: number;
  height: number;
  /** The observer: 0 people, 1 a machine. */
  alpha: number;
  /** Number of segments of the whole file, 1 to 12: iterations, then levels of the residual. */
  quality: number;
  /** Number of iterations of the whole file, 1 to 8. */
  iterations: number;
  grey: boolean;
  /** Whether the encoder optimised the codes. */
  optimised: boolean;
  /** The iterations' quantiser steps are multiplied by 2 to the power of this / 64, but for low-frequency channels. */
  stepScale: number;
  /** As `stepScale`, for the residual's steps. */
  residualScale: number;
  /** Metadata by tag: 1 ICC profile, 2 EXIF, 3 opacity (a lossless WebP or PNG). */
  chunks: Map<number, Uint8Array>;
}

export const ICC = 1;
export const OPACITY = 3;
const MAGIC = [0x8b, 0x42, 0x48, 0x44];
const VERSION = 2;
const ALPHA_STEPS = 250;
export const MOST_ITERATIONS = 8;
const BEST_QUALITY = 12;
const MOST_CHUNKS = 64;
const MOST_PIXELS = 178_956_970;
const BLOCK = 16;

const CRC = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** CRC-32 of `data`, going on from that of what lies before it. */
export function crc32(data: Uint8Array, before = 0): number {
  let sum = ~before;
  for (const byte of data) sum = CRC[(sum ^ byte) & 255]! ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** Thrown where more bytes are needed. */
const MORE = new Error("more bytes are needed");

/** Parses a file piece by piece. */
export class Container {
  header: Header | null = null;
  /** Complete segments whose checksums are right. */
  readonly segments: Uint8Array[] = [];
  #bytes = new Uint8Array(1 << 12);
  #length = 0;
  #position = 0;
  #seed = 0;

  /** Whether every segment has arrived. */
  get complete(): boolean {
    return this.header !== null && this.segments.length === this.header.quality;
  }

  /** Bytes that are no complete segment yet. */
  get rest(): number {
    return this.#length - this.#position;
  }

  /** Take in bytes; throws BhdError for a file that is foreign or damaged. */
  push(data: Uint8Array): void {
    if (this.#length + data.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + data.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
    MAGIC.forEach((byte, i) => {
      if (i < this.#length && this.#bytes[i] !== byte) throw new BhdError("This is no .bhd file: its first bytes are not those of one.");
    });
    try {
      if (!this.header) {
        this.#position = 0;
        this.header = this.#readHeader();
        this.#seed = crc32(this.#bytes.subarray(0, this.#position));
      }
      while (!this.complete) this.#readSegment();
    } catch (error) {
      if (error !== MORE) throw error;
      return;
    }
    if (this.rest) throw new BhdError("Bytes follow the last segment of this .bhd file: it is damaged, get it anew.");
  }

  /** Tell that no more bytes come; throws BhdError where they end too early for a picture. */
  finish(): void {
    if (!this.header) throw new BhdError("This .bhd file ends inside its header: get the whole file.");
    if (!this.segments.length) throw new BhdError("The file ends before its first segment is complete: get the whole file.");
  }

  #readHeader(): Header {
    this.#read(MAGIC.length);
    const version = this.#read(1)[0]!;
    if (version !== VERSION) throw new BhdError(`This .bhd file has version ${version}, and this decoder reads version ${VERSION}.`);
    const model = [...this.#read(8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const [width, height] = [this.#varint(), this.#varint()];
    if (width < 1 || height < 1) throw new BhdError(`The file claims an image of ${width} x ${height} pixels: it is damaged.`);
    const padded = (side: number) => Math.ceil(side / BLOCK) * BLOCK;
    if (padded(width) * padded(height) > MOST_PIXELS) throw new BhdError(`An image of ${width} x ${height} pixels is too large to be decoded.`);
    const [alpha, flags] = this.#read(2) as unknown as [number, number];
    const quality = flags & 15;
    const iterations = Math.min(quality, MOST_ITERATIONS);
    const damaged = new BhdError("The header of this .bhd file is damaged: get the file anew.");
    if (quality < 1 || quality > BEST_QUALITY || alpha > ALPHA_STEPS) throw damaged;
    const scale = flags & 0x80 ? (this.#read(1)[0]! << 24) >> 24 : 0;
    const [stepScale, residualScale] = quality > MOST_ITERATIONS ? [0, scale] : [scale, 0];
    const chunks = new Map<number, Uint8Array>();
    if (flags & 0x20) {
      const count = this.#varint();
      if (count > MOST_CHUNKS) throw damaged;
      for (let i = 0; i < count; i++) {
        const tag = this.#read(1)[0]!;
        const length = this.#varint();
        const checksum = this.#checksum();
        const chunk = this.#read(length).slice();
        if (crc32(chunk) !== checksum) throw new BhdError("The checksum of the metadata is wrong: the file is damaged, get it anew.");
        chunks.set(tag, chunk);
      }
    }
    const [grey, optimised] = [Boolean(flags & 0x10), Boolean(flags & 0x40)];
    return { model, width, height, alpha: alpha / ALPHA_STEPS, quality, iterations, grey, optimised, stepScale, residualScale, chunks };
  }

  #readSegment(): void {
    const start = this.#position;
    try {
      const length = this.#varint();
      const checksum = this.#checksum();
      const segment = this.#read(length).slice();
      if (crc32(segment, this.#seed) !== checksum) {
        throw new BhdError(`The checksum of segment ${this.segments.length + 1} is wrong: the file is damaged, get it anew.`);
      }
      this.segments.push(segment);
    } catch (error) {
      if (error === MORE) this.#position = start;
      throw error;
    }
  }

  #read(count: number): Uint8Array {
    if (this.#position + count > this.#length) throw MORE;
    this.#position += count;
    return this.#bytes.subarray(this.#position - count, this.#position);
  }

  #checksum(): number {
    const [a, b, c, d] = this.#read(4) as unknown as [number, number, number, number];
    return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  }

  #varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 35; factor *= 128) {
      const byte = this.#read(1)[0]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new BhdError("The header of this .bhd file is damaged: get the file anew.");
  }
}
