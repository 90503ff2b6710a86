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
export const SHIFTS = [-6, -4, -2, 0, 2, 4, 6];
export function cumulate(counts, from, to, bits, out, place) {
    const free = 2 ** PRECISION_BITS - (to - from);
    let sum = 0;
    for (let i = from; i < to; i++) {
        out[place + i - from] = Math.floor((sum * free) / 2 ** bits) + i - from;
        sum += counts[i];
    }
    out[place + to - from] = 2 ** PRECISION_BITS;
}
export class Tables {
    heap;
    #first;
    #halfWidth;
    #last;
    #cumulative;
    #shift;
    constructor(heap, model) {
        this.heap = heap;
        const halfWidths = model.integers("reach");
        const counts = model.integers("tables");
        const first = new Int32Array(NUMBER + 1);
        const last = new Int32Array(NUMBER);
        const cumulative = new Int32Array(counts.length + NUMBER);
        for (let table = 0, from = 0; table < NUMBER; table++) {
            const family = Math.floor(table / (SCALES * MEANS));
            const size = 2 * halfWidths[table] + (family === EVEN ? 4 : family === DEAD_ZONE ? 3 : 1);
            last[table] = 2 * halfWidths[table] + (family === EVEN ? 1 : 0);
            cumulate(counts, from, from + size, PROBABILITY_BITS, cumulative, first[table]);
            first[table + 1] = first[table] + size + 1;
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
    shifts(channels) {
        if (!this.heap.call.uniform(2))
            return null;
        return Array.from({ length: channels }, () => SHIFTS[this.heap.call.symbol(this.#shift, SHIFT_COUNTS.length)]);
    }
    decode({ tables, wholes }) {
        const { heap } = this;
        const mark = heap.mark();
        const count = tables.length;
        const [places, added, order, starts, codes] = [2 * count, 4 * count, 4 * count, 4 * NUMBER + 4, 4 * count].map((n) => heap.allocate(n));
        heap.u16(places, count).set(tables);
        heap.i32(added, count).set(wholes);
        heap.call.decodePass(count, places, added, NUMBER, this.#first, this.#halfWidth, this.#last, this.#cumulative, order, starts, codes);
        const result = heap.i32(codes, count).slice();
        heap.release(mark);
        return result;
    }
}
export function table(family, index, part, shift) {
    return (family * SCALES + Math.min(Math.max(index + shift, 0), SCALES - 1)) * MEANS + part;
}
