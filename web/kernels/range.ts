// The range decoder of constriction: a 64-bit state, words of 32 bits, probabilities of 24 bits.
const PRECISION: u64 = 24;
let words: usize = 0;
let end: usize = 0;
let lower: u64 = 0;
let range: u64 = 0;
let point: u64 = 0;
let damaged: bool = false;

/** The next word; zeros follow the last one. */
// @ts-ignore: decorator
@inline
function next(): u64 {
  if (words >= end) return 0;
  const word = <u64>load<u32>(words);
  words += 4;
  return word;
}

/** Begin with `count` words at `start`. */
export function start(start: usize, count: i32): void {
  words = start;
  end = start + (<usize>count << 2);
  lower = 0;
  range = u64.MAX_VALUE;
  damaged = false;
  point = next() << 32;
  point |= next();
}

/** Take one symbol off, given where its part of the range begins, and how large that is. */
// @ts-ignore: decorator
@inline
function take(left: u64, size: u64): void {
  lower += left;
  range = size;
  if (range < (<u64>1 << 32)) {
    lower <<= 32;
    range <<= 32;
    point = (point << 32) | next();
  }
}

/** One symbol of `size` equiprobable ones, a power of two. */
export function uniform(size: i32): i32 {
  const scale = range >> PRECISION;
  const quantile = (point - lower) / scale;
  if (quantile >> PRECISION) damaged = true;
  const width = (<u64>1 << PRECISION) / <u64>size;
  const symbol = min(quantile / width, <u64>size - 1);
  take(scale * symbol * width, scale * width);
  return <i32>symbol;
}

/** One symbol by a table of `size` + 1 cumulative probabilities from 0 to 2^24. */
export function symbol(cumulative: usize, size: i32): i32 {
  const scale = range >> PRECISION;
  const quantile = (point - lower) / scale;
  if (quantile >> PRECISION) {
    damaged = true;
    return 0;
  }
  let low = 0, high = size;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (<u64>load<u32>(cumulative + (<usize>middle << 2)) <= quantile) low = middle;
    else high = middle;
  }
  const left = <u64>load<u32>(cumulative + (<usize>low << 2));
  take(scale * left, scale * (<u64>load<u32>(cumulative + (<usize>low << 2), 4) - left));
  return low;
}

/** One symbol as `symbol` gives it, quicker where that is small: it is searched from 0 on, without a division. */
export function smallSymbol(cumulative: usize): i32 {
  const scale = range >> PRECISION, place = point - lower;
  if (place >= scale << PRECISION) {
    damaged = true;
    return 0;
  }
  let found = 0;
  let left: u64 = 0, right = scale * <u64>load<u32>(cumulative, 4);
  while (place >= right) {
    found++;
    cumulative += 4;
    left = right;
    right = scale * <u64>load<u32>(cumulative, 4);
  }
  take(left, right - left);
  return found;
}

/** One symbol of two, given the cumulative probability of symbol 1. */
// @ts-ignore: decorator
@inline
export function bit(first: u64): i32 {
  const scale = range >> PRECISION, place = point - lower;
  if (place >= scale << PRECISION) {
    damaged = true;
    return 0;
  }
  const split = scale * first;
  if (place < split) {
    take(0, split);
    return 0;
  }
  take(split, (scale << PRECISION) - split);
  return 1;
}

/** Whether the words so far cannot have been written by an encoder. */
export function broken(): bool {
  return damaged;
}

/** Whether all words have been read and no code is left in what was read ahead. */
export function exhausted(): bool {
  return words >= end && point - lower < (<u64>1 << 33) - 1;
}

/**
 * The codes of one pass: grouped by table, in order within a table; escaped ones follow as 16 bits each.
 *
 * @param tables (count) number of each code's table, 16 bits
 * @param wholes (count) what is added to each symbol, 32 bits
 * @param first (all tables) where each one's cumulative probabilities begin, as a count of 32-bit values
 * @param reach (all tables) symbols below 0
 * @param last (all tables) last symbol that is no escape; two for escapes follow, or none
 * @param cumulative all tables' cumulative probabilities
 * @param order (count) scratch, 32 bits
 * @param starts (number + 1) scratch, 32 bits
 * @param codes (count) the result, 32 bits
 */
export function decodePass(
  count: i32, tables: usize, wholes: usize, number: i32, first: usize, reach: usize, last: usize,
  cumulative: usize, order: usize, starts: usize, codes: usize,
): void {
  memory.fill(starts, 0, (<usize>number + 1) << 2);
  for (let i = 0; i < count; i++) {
    const slot = starts + ((<usize>load<u16>(tables + (<usize>i << 1)) + 1) << 2);
    store<i32>(slot, load<i32>(slot) + 1);
  }
  for (let t = 1; t <= number; t++) {
    const slot = starts + (<usize>t << 2);
    store<i32>(slot, load<i32>(slot) + load<i32>(slot - 4));
  }
  for (let i = 0; i < count; i++) {
    const slot = starts + (<usize>load<u16>(tables + (<usize>i << 1)) << 2);
    const place = load<i32>(slot);
    store<i32>(slot, place + 1);
    store<i32>(order + (<usize>place << 2), i);
  }
  let escapes = 0;
  for (let i = 0; i < count; i++) {
    const at = <usize>load<i32>(order + (<usize>i << 2));
    const table = <usize>load<u16>(tables + (at << 1)) << 2;
    const begin = load<i32>(first + table);
    const found = symbol(cumulative + (<usize>begin << 2), load<i32>(first + table, 4) - begin - 1);
    if (damaged) return;
    if (found > load<i32>(last + table)) {
      escapes++;
      store<i32>(codes + (at << 2), i32.MIN_VALUE);
    } else store<i32>(codes + (at << 2), found - load<i32>(reach + table) + load<i32>(wholes + (at << 2)));
  }
  for (let i = 0; escapes > 0 && i < count; i++) {
    if (load<i32>(codes + (<usize>i << 2)) != i32.MIN_VALUE) continue;
    store<i32>(codes + (<usize>i << 2), uniform(1 << 16) - 32768);
    escapes--;
  }
}
