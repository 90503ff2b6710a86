// A segment's data on their way into the range decoder, and the refusal of those that cannot be whole.

import { BhdError } from "./container.js";
import type { Heap } from "./kernels.js";

/** Bytes beyond a segment's end that its codes may need: they count as zero. */
const BEYOND = 64;

/** Start the range decoder at a segment; the caller releases the memory. */
export function begin(heap: Heap, segment: Uint8Array): void {
  const count = Math.ceil(segment.length / 4) + BEYOND / 4;
  const words = heap.allocate(4 * count, true);
  new Uint8Array(heap.call.memory.buffer, words, segment.length).set(segment);
  heap.call.start(words, count);
}

/** Refuse a segment, counted from 1, that is shorter than so many bits. */
export function checkLength(segment: Uint8Array, bits: number, number: number): void {
  if (bits > 8 * (segment.length + BEYOND)) throw tooShort(number);
}

export function tooShort(number: number): BhdError {
  return new BhdError(`Segment ${number} of this .bhd file is too short for a picture of its size: the file is damaged, get it anew.`);
}
