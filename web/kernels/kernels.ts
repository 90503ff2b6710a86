// Kernels of the decoder, in AssemblyScript: convolutions, activations, the range decoder.
//
// All pointers are byte addresses in the module's memory, which the caller manages.  Maps are (row, column, channel)
// with a border of one zero position; an offset counts 32-bit values from the start of a map.

// ---------------------------------------------------------------- convolutions

/** Positions whose inputs stay in the cache while all outputs are computed. */
const BLOCK: i32 = 48;

// @ts-ignore: decorator
@inline
function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<f32>(a, b, c);
  return v128.add<f32>(v128.mul<f32>(a, b), c);
}

/**
 * 1x1 or 3x3 convolution at chosen positions.
 *
 * @param src map of the inputs
 * @param from offset in src of each position's first tap
 * @param count number of positions, at least 1
 * @param row offset from one tap row to the next
 * @param inputs channels of a position
 * @param taps 1, or 3 for 3x3
 * @param weight values in the order (output / 8, tap row, tap column, input, output % 8)
 * @param bias one value an output, or 0 for none
 * @param outputs a multiple of 8
 * @param dst map of the outputs
 * @param to offset in dst of each position
 * @param add whether the result is added to what dst holds
 */
export function convolve(
  src: usize, from: usize, count: i32, row: i32, inputs: i32, taps: i32,
  weight: usize, bias: usize, outputs: i32, dst: usize, to: usize, add: bool,
): void {
  const run = taps * inputs;
  for (let first = 0; first < count; first += BLOCK) {
    const end = min(first + BLOCK, count);
    for (let group = 0; group < outputs; group += 8) {
      const weights = weight + (<usize>(group * taps * run) << 2);
      for (let position = first; position < end; position += 4) {
        // Where fewer than four are left the last one is computed again.
        const p0 = <usize>position << 2;
        const p1 = <usize>min(position + 1, end - 1) << 2;
        const p2 = <usize>min(position + 2, end - 1) << 2;
        const p3 = <usize>min(position + 3, end - 1) << 2;
        const d0 = dst + (<usize>(load<i32>(to + p0) + group) << 2);
        const d1 = dst + (<usize>(load<i32>(to + p1) + group) << 2);
        const d2 = dst + (<usize>(load<i32>(to + p2) + group) << 2);
        const d3 = dst + (<usize>(load<i32>(to + p3) + group) << 2);
        let a0 = f32x4.splat(0), b0 = a0;
        if (bias) {
          a0 = v128.load(bias + (<usize>group << 2));
          b0 = v128.load(bias + (<usize>group << 2), 16);
        }
        let a1 = a0, b1 = b0, a2 = a0, b2 = b0, a3 = a0, b3 = b0;
        if (add) {
          a0 = v128.add<f32>(a0, v128.load(d0));
          b0 = v128.add<f32>(b0, v128.load(d0, 16));
          a1 = v128.add<f32>(a1, v128.load(d1));
          b1 = v128.add<f32>(b1, v128.load(d1, 16));
          a2 = v128.add<f32>(a2, v128.load(d2));
          b2 = v128.add<f32>(b2, v128.load(d2, 16));
          a3 = v128.add<f32>(a3, v128.load(d3));
          b3 = v128.add<f32>(b3, v128.load(d3, 16));
        }
        let s0 = src + (<usize>load<i32>(from + p0) << 2);
        let s1 = src + (<usize>load<i32>(from + p1) << 2);
        let s2 = src + (<usize>load<i32>(from + p2) << 2);
        let s3 = src + (<usize>load<i32>(from + p3) << 2);
        let w = weights;
        for (let tap = 0; tap < taps; tap++) {
          const stop = s0 + (<usize>run << 2);
          while (s0 < stop) {
            const wa = v128.load(w), wb = v128.load(w, 16);
            const v0 = v128.load32_splat(s0);
            a0 = multiplyAdd(v0, wa, a0);
            b0 = multiplyAdd(v0, wb, b0);
            const v1 = v128.load32_splat(s1);
            a1 = multiplyAdd(v1, wa, a1);
            b1 = multiplyAdd(v1, wb, b1);
            const v2 = v128.load32_splat(s2);
            a2 = multiplyAdd(v2, wa, a2);
            b2 = multiplyAdd(v2, wb, b2);
            const v3 = v128.load32_splat(s3);
            a3 = multiplyAdd(v3, wa, a3);
            b3 = multiplyAdd(v3, wb, b3);
            s0 += 4; s1 += 4; s2 += 4; s3 += 4; w += 32;
          }
          const skip = <usize>(row - run) << 2;
          s0 += skip; s1 += skip; s2 += skip; s3 += skip;
        }
        v128.store(d0, a0); v128.store(d0, b0, 16);
        v128.store(d1, a1); v128.store(d1, b1, 16);
        v128.store(d2, a2); v128.store(d2, b2, 16);
        v128.store(d3, a3); v128.store(d3, b3, 16);
      }
    }
  }
}

// ---------------------------------------------------------------- activations

/** x = clamp(floor(x / 256), 0, 255) of `count` values; whole numbers stay whole. */
export function integerRelu(x: usize, count: i32): void {
  const scale = f32x4.splat(1.0 / 256), most = f32x4.splat(255), zero = f32x4.splat(0);
  const end = x + (<usize>((count + 3) & ~3) << 2);
  for (; x < end; x += 16) {
    const value = v128.floor<f32>(v128.mul<f32>(v128.load(x), scale));
    v128.store(x, v128.min<f32>(v128.max<f32>(value, zero), most));
  }
}

/** e^x within 2e-7 of its value, for x in [-87, 87]. */
// @ts-ignore: decorator
@inline
function exponential(x: v128): v128 {
  const t = v128.mul<f32>(x, f32x4.splat(1.4426950408889634));
  const n = v128.nearest<f32>(t);
  const r = v128.sub<f32>(v128.sub<f32>(x, v128.mul<f32>(n, f32x4.splat(0.693359375))), v128.mul<f32>(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = v128.add<f32>(v128.mul<f32>(p, r), f32x4.splat(1.3981999507e-3));
  p = v128.add<f32>(v128.mul<f32>(p, r), f32x4.splat(8.3334519073e-3));
  p = v128.add<f32>(v128.mul<f32>(p, r), f32x4.splat(4.1665795894e-2));
  p = v128.add<f32>(v128.mul<f32>(p, r), f32x4.splat(1.6666665459e-1));
  p = v128.add<f32>(v128.mul<f32>(p, r), f32x4.splat(5.0000001201e-1));
  p = v128.add<f32>(v128.add<f32>(v128.mul<f32>(v128.mul<f32>(p, r), r), r), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return v128.mul<f32>(p, power);
}

/** x = x / (1 + e^-x) of `count` values. */
export function silu(x: usize, count: i32): void {
  const one = f32x4.splat(1), low = f32x4.splat(-87), high = f32x4.splat(87);
  const end = x + (<usize>((count + 3) & ~3) << 2);
  for (; x < end; x += 16) {
    const value = v128.load(x);
    const inside = v128.min<f32>(v128.max<f32>(v128.neg<f32>(value), low), high);
    v128.store(x, v128.div<f32>(value, v128.add<f32>(one, exponential(inside))));
  }
}

/** x = x * scale + shift of `count` positions; `channels` is a multiple of 4. */
export function modulate(x: usize, count: i32, channels: i32, scale: usize, shift: usize): void {
  for (let position = 0; position < count; position++) {
    for (let c: usize = 0; c < <usize>channels << 2; c += 16) {
      v128.store(x + c, v128.add<f32>(v128.mul<f32>(v128.load(x + c), v128.load(scale + c)), v128.load(shift + c)));
    }
    x += <usize>channels << 2;
  }
}

/** Matrix product of doubles: (rows, inputs) x (outputs, inputs) + (outputs) -> (rows, outputs). */
export function product64(a: usize, rows: i32, inputs: i32, weight: usize, bias: usize, outputs: i32, out: usize): void {
  const size = <usize>inputs << 3;
  for (let r = 0; r < rows; r++) {
    let w = weight;
    for (let o = 0; o < outputs; o++) {
      let sum = f64x2.splat(0);
      let i: usize = 0;
      for (; i + 16 <= size; i += 16) sum = v128.add<f64>(sum, v128.mul<f64>(v128.load(a + i), v128.load(w + i)));
      let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1) + load<f64>(bias + (<usize>o << 3));
      if (i < size) total += load<f64>(a + i) * load<f64>(w + i);
      store<f64>(out, total);
      out += 8;
      w += size;
    }
    a += size;
  }
}

// ---------------------------------------------------------------- range decoder

// The range decoder of constriction: a 64-bit state, words of 32 bits, probabilities of 24 bits.
const PRECISION: u64 = 24;
let words: usize = 0;
let end: usize = 0;
let lower: u64 = 0;
let range: u64 = 0;
let point: u64 = 0;
let damaged: bool = false;
let beyond: bool = false;

/** The next word; zeros follow the last one. */
// @ts-ignore: decorator
@inline
function next(): u64 {
  if (words >= end) {
    beyond = true;
    return 0;
  }
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
  damaged = beyond = false;
  point = next() << 32;
  point |= next();
}

/** Take one symbol off, given its cumulative probability and its probability, in units of scale. */
// @ts-ignore: decorator
@inline
function take(scale: u64, left: u64, probability: u64): void {
  lower += scale * left;
  range = scale * probability;
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
  take(scale, symbol * width, width);
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
  take(scale, left, <u64>load<u32>(cumulative + (<usize>low << 2), 4) - left);
  return low;
}

/** Whether the words so far cannot have been written by an encoder. */
export function broken(): bool {
  return damaged;
}

/** Whether more words were asked for than there are. */
export function exhausted(): bool {
  return beyond;
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
