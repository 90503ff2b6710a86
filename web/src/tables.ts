// Probability tables and what a pass of the entropy model chooses from them.

import type { Heap } from "./kernels.js";
import type { Model } from "./model.js";

export const MEANS = 16;
export const SCALES = 64;
export const EVEN = 0;
export const DEAD_ZONE = 1;
const FAMILIES = 4;
const NUMBER = FAMILIES * SCALES * MEANS;
export const PROBABILITY_BITS = 16;
const PRECISION_BITS = 24;
const SHIFT_COUNTS = [2, 3, 8, 29, 12, 7, 3];
const SHIFT_BITS = 6;
/** The shift of the scale index that each symbol stands for. */
export const SHIFTS = [-6, -4, -2, 0, 2, 4, 6];

/** Codes of a pass in the order (channel, position): which table, and what is added to the symbol. */
export interface Choice {
  tables: Uint16Array;
  wholes: Int32Array;
}

/** constriction's `Categorical(counts / 2^bits, perfect=False)`: cumulative probabilities of 24 bits. */
export function cumulate(counts: ArrayLike<number>, from: number, to: number, bits: number, out: Int32Array, place: number): void {
  const free = 2 ** PRECISION_BITS - (to - from);
  let sum = 0;
  for (let i = from; i < to; i++) {
    out[place + i - from] = Math.floor((sum * free) / 2 ** bits) + i - from;
    sum += counts[i]!;
  }
  out[place + to - from] = 2 ** PRECISION_BITS;
}

/** All tables in the module's memory, and the decoding of passes with them. */
export class Tables {
  readonly #first: number;
  readonly #halfWidth: number;
  readonly #last: number;
  readonly #cumulative: number;
  readonly #shift: number;

  constructor(readonly heap: Heap, model: Model) {
    const halfWidths = model.integers("reach");
    const counts = model.integers("tables");
    const first = new Int32Array(NUMBER + 1);
    const last = new Int32Array(NUMBER);
    const cumulative = new Int32Array(counts.length + NUMBER);
    for (let table = 0, from = 0; table < NUMBER; table++) {
      const family = Math.floor(table / (SCALES * MEANS));
      const size = 2 * halfWidths[table]! + (family === EVEN ? 4 : family === DEAD_ZONE ? 3 : 1);
      last[table] = 2 * halfWidths[table]! + (family === EVEN ? 1 : 0);
      cumulate(counts, from, from + size, PROBABILITY_BITS, cumulative, first[table]!);
      first[table + 1] = first[table]! + size + 1;
      from += size;
    }
    const shift = new Int32Array(SHIFT_COUNTS.length + 1);
    cumulate(SHIFT_COUNTS, 0, SHIFT_COUNTS.length, SHIFT_BITS, shift, 0);
    this.#first = heap.put(first, "i32");
    this.#halfWidth = heap.put(halfWidths, "i32");
    this.#last = heap.put(last, "i32");
    this.#cumulative = heap.put(cumulative, "i32");
    this.#shift = heap.put(shift, "i32");
  }

  /** The shifts of a stage's channels, or null where the stream says that there are none. */
  shifts(channels: number): number[] | null {
    if (!this.heap.call.uniform(2)) return null;
    return Array.from({ length: channels }, () => SHIFTS[this.heap.call.symbol(this.#shift, SHIFT_COUNTS.length)]!);
  }

  /** The codes of one pass; whether the stream is sound is asked of `broken`. */
  decode({ tables, wholes }: Choice): Int32Array {
    const { heap } = this;
    const mark = heap.mark();
    const count = tables.length;
    const [places, added, order, starts, codes] = [2 * count, 4 * count, 4 * count, 4 * NUMBER + 4, 4 * count].map((n) => heap.allocate(n)) as [number, number, number, number, number];
    heap.u16(places, count).set(tables);
    heap.i32(added, count).set(wholes);
    heap.call.decodePass(count, places, added, NUMBER, this.#first, this.#halfWidth, this.#last, this.#cumulative, order, starts, codes);
    const result = heap.i32(codes, count).slice();
    heap.release(mark);
    return result;
  }
}

/** The number of a table, its scale index shifted by `shift` within the family. */
export function table(family: number, index: number, part: number, shift: number): number {
  return (family * SCALES + Math.min(Math.max(index + shift, 0), SCALES - 1)) * MEANS + part;
}
