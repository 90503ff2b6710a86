// Kernels of the residual (docs/bhd-format.md): one level of a tile's codes, and what these add to the pixels.
//
// Codes are (plane, 8 i + j, row, column), 16 bits each; i + j is a coefficient's diagonal.

import { bit, broken, exhausted, smallSymbol, uniform } from "./range";

const SIDE: i32 = 8;
const DIAGONALS: i32 = 2 * SIDE - 1;
const COEFFICIENTS: i32 = SIDE * SIDE;
/** Magnitudes above count as this much. */
const CLIP: i32 = 31;
const FEATURES: i32 = 10;
const CONTEXTS: i32 = 64;
const BINS: i32 = 40;
const MAGNITUDES: i32 = 3;
const REFINEMENT_BINS: i32 = 8;
const CONSTANT: i32 = 64;
const LARGEST_ESTIMATE: i32 = 4095;
const CLASSES: i32 = 4;
const ESCAPE: i32 = 16;
const RAW: i32 = 1 << 11;
const HALF: u64 = 1 << 23;
/** Largest dequantised coefficient. */
const LIMIT: i32 = (1 << 18) - 1;
/** 2^-22, 2^-10 and 2^-14: what sums of products, samples and colours count in. */
const SAMPLE_UNIT: f64 = 1.0 / 4194304;
const PIXEL_UNIT: f64 = 1.0 / 1024;
const COLOUR_UNIT: f64 = 1.0 / 16384;

/** What the functions below share while a level of a tile is decoded. */
let rows: i32 = 0;
let columns: i32 = 0;
/** Blocks of the tile. */
let blocks: i32 = 0;
/** Magnitudes that are known: planes of bytes with a border of one block, and behind them a plane of zeros. */
let known: usize = 0;
let nothing: usize = 0;
/** Bytes from one row to the next, and of one plane. */
let stride: usize = 0;
let planeSize: usize = 0;

/** Known magnitudes of a coefficient, from the first block on. */
// @ts-ignore: decorator
@inline
function magnitudes(plane: i32, i: i32, j: i32): usize {
  const inside = i >= 0 && j >= 0 && i < SIDE && j < SIDE;
  return (inside ? known + <usize>((plane * SIDE + i) * SIDE + j) * planeSize : nothing) + stride + 1;
}

/** Eight magnitudes. */
// @ts-ignore: decorator
@inline
function eight(place: usize): v128 {
  return v128.load_ext<u8>(place);
}

// @ts-ignore: decorator
@inline
function plus(a: v128, b: v128): v128 {
  return v128.add<i16>(a, b);
}

/** Sum over the blocks above, below, left and right. */
// @ts-ignore: decorator
@inline
function sides(place: usize): v128 {
  return plus(plus(eight(place - stride), eight(place + stride)), plus(eight(place - 1), eight(place + 1)));
}

// @ts-ignore: decorator
@inline
function corners(place: usize): v128 {
  const above = place - stride, below = place + stride;
  return plus(plus(eight(above - 1), eight(above + 1)), plus(eight(below - 1), eight(below + 1)));
}

// @ts-ignore: decorator
@inline
function low(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline
function high(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

// @ts-ignore: decorator
@inline
function dot(a: v128, b: v128): v128 {
  return i32x4.dot_i16x8_s(a, b);
}

/**
 * The context of each code of one coefficient, a byte each, and how many codes each context has.
 *
 * @param codes of the coefficient at the level before, 16 bits each
 * @param activity weight of each block's activity, 16 bits each
 * @param weights of the features, 16 bits each
 * @param bins of estimates
 * @param estimates scratch, eight of 32 bits
 */
function findContexts(
  level: i32, plane: i32, i: i32, j: i32, codes: usize, activity: usize, weights: usize, bins: usize, estimates: usize,
  contexts: usize, counts: usize,
): void {
  const own = magnitudes(plane, i, j), up = magnitudes(plane, i - 1, j), left = magnitudes(plane, i, j - 1);
  const corner = magnitudes(plane, i - 1, j - 1), farUp = magnitudes(plane, i - 2, j), farLeft = magnitudes(plane, i, j - 2);
  const down = magnitudes(plane, i + 1, j), right = magnitudes(plane, i, j + 1);
  const first = plane > 0 ? magnitudes(0, i, j) : magnitudes(0, -1, -1);
  const second = plane > 1 ? magnitudes(1, i, j) : magnitudes(0, -1, -1);
  const w0 = v128.load32_splat(weights), w1 = v128.load32_splat(weights, 4), w2 = v128.load32_splat(weights, 8);
  const w3 = v128.load32_splat(weights, 12), w4 = v128.load32_splat(weights, 16);
  const constant = i16x8.splat(<i16>CONSTANT), most = i32x4.splat(LARGEST_ESTIMATE);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x += 8) {
      const at = <usize>y * stride + <usize>x;
      let a = plus(eight(up + at), eight(left + at));
      let b = plus(plus(eight(corner + at), eight(farUp + at)), eight(farLeft + at));
      let s = dot(low(a, b), w0), t = dot(high(a, b), w0);
      a = plus(eight(down + at), eight(right + at));
      b = sides(own + at);
      s = v128.add<i32>(s, dot(low(a, b), w1)); t = v128.add<i32>(t, dot(high(a, b), w1));
      a = corners(own + at);
      b = plus(sides(up + at), sides(left + at));
      s = v128.add<i32>(s, dot(low(a, b), w2)); t = v128.add<i32>(t, dot(high(a, b), w2));
      a = eight(first + at);
      b = eight(second + at);
      s = v128.add<i32>(s, dot(low(a, b), w3)); t = v128.add<i32>(t, dot(high(a, b), w3));
      a = v128.load(activity + (<usize>(y * columns + x) << 1));
      s = v128.add<i32>(s, dot(low(a, constant), w4)); t = v128.add<i32>(t, dot(high(a, constant), w4));
      v128.store(estimates, v128.min<i32>(v128.shr<i32>(s, 4), most));
      v128.store(estimates, v128.min<i32>(v128.shr<i32>(t, 4), most), 16);
      const place = <usize>(y * columns + x);
      const count = <usize>min(8, columns - x);
      for (let k: usize = 0; k < count; k++) {
        let context = <i32>load<u8>(bins + <usize>load<i32>(estimates + (k << 2)));
        if (level) {
          const magnitude = min(abs(<i32>load<i16>(codes + ((place + k) << 1))), MAGNITUDES);
          if (magnitude) context = BINS + (magnitude - 1) * REFINEMENT_BINS + context / (BINS / REFINEMENT_BINS);
        }
        store<u8>(contexts + place + k, <u8>context);
        const slot = counts + (<usize>context << 2);
        store<i32>(slot, load<i32>(slot) + 1);
      }
    }
  }
}

/** Offsets of a diagonal's codes in the order of their contexts; `counts` becomes where each context ends. */
function sort(diagonal: i32, first: i32, last: i32, contexts: usize, counts: usize, order: usize): void {
  let sum = 0;
  for (let context: usize = 0; context < <usize>CONTEXTS; context++) {
    const slot = counts + (context << 2), count = load<i32>(slot);
    store<i32>(slot, sum);
    sum += count;
  }
  for (let i = first; i <= last; i++) {
    const base = (7 * i + diagonal) * blocks;
    for (let k = 0; k < blocks; k++) {
      const slot = counts + (<usize>load<u8>(contexts++) << 2), place = load<i32>(slot);
      store<i32>(slot, place + 1);
      store<i32>(order + (<usize>place << 2), base + k);
    }
  }
}

/** Read the symbols of a diagonal, then what follows escapes: its codes, without the signs of new ones. */
function readMagnitudes(level: i32, diagonal: i32, first: i32, last: i32, codes: usize, probabilities: usize, counts: usize, order: usize): void {
  let done: usize = 0;
  let escapes = 0;
  for (let context: usize = 0; context < <usize>CONTEXTS; context++) {
    const end = <usize>load<i32>(counts + (context << 2));
    if (level) {
      const one = <u64>load<u32>(probabilities + (context << 2));
      for (; done < end; done++) {
        const place = codes + (<usize>load<i32>(order + (done << 2)) << 1);
        const old = <i32>load<i16>(place), symbol = bit(one);
        store<i16>(place, <i16>(2 * old + (old < 0 ? -symbol : symbol)));
      }
    } else {
      const cumulative = probabilities + context * (<usize>(ESCAPE + 2) << 2);
      for (; done < end; done++) {
        const symbol = smallSymbol(cumulative);
        if (symbol == ESCAPE) escapes++;
        store<i16>(codes + (<usize>load<i32>(order + (done << 2)) << 1), <i16>symbol);
      }
    }
  }
  for (let i = first; escapes && i <= last; i++) {
    const begin = codes + <usize>(7 * i + diagonal) * (<usize>blocks << 1), end = begin + (<usize>blocks << 1);
    for (let place = begin; place < end; place += 2) {
      if (load<i16>(place) != <i16>ESCAPE) continue;
      store<i16>(place, <i16>(ESCAPE + uniform(RAW)));
      escapes--;
    }
  }
}

/** Read the signs of one coefficient's new codes, and make its magnitudes known. */
function readSigns(level: i32, place: usize, target: usize): void {
  for (let y = 0; y < rows; y++) {
    for (let x: usize = 0; x < <usize>columns; x++, place += 2) {
      const code = <i32>load<i16>(place);
      // Codes that were not 0 before are at least 2 now.
      if ((level ? code == 1 : code > 0) && bit(HALF)) store<i16>(place, <i16>-code);
      store<u8>(target + x, <u8>min(abs(code), CLIP));
    }
    target += stride;
  }
}

/**
 * Bring a tile's codes to the next level.
 *
 * @param planes 1 or 3
 * @param height, width of the tile in blocks
 * @param codes of the level before; not read at level 0
 * @param activity weight of each block's activity, 16 bits each, and eight more
 * @param weights (plane, diagonal, feature) of the level, 16 bits each
 * @param bins 4096 bytes
 * @param probabilities cumulative ones of 24 bits: (plane, class, 40, 18) at level 0, else that of symbol 1, (plane, class, 64)
 * @param scratch zeros: (64 planes + 1) (height + 2) (width + 2) + 40 height width + 512 bytes
 * @returns 0, 1 where the codes are damaged, 2 where the segment ends before them
 */
export function residualCodes(
  level: i32, planes: i32, height: i32, width: i32, codes: usize, activity: usize, weights: usize, bins: usize,
  probabilities: usize, scratch: usize,
): i32 {
  rows = height;
  columns = width;
  blocks = rows * columns;
  stride = <usize>columns + 2;
  planeSize = (<usize>rows + 2) * stride;
  const estimates = scratch, counts = scratch + 32;
  const order = counts + (CONTEXTS << 2), contexts = order + (<usize>blocks << 5);
  known = contexts + (<usize>blocks << 3);
  nothing = known + <usize>(planes * COEFFICIENTS) * planeSize;
  const table = level ? CONTEXTS << 2 : BINS * (ESCAPE + 2) << 2;
  if (level) {
    let place = codes;
    for (let k = 0; k < planes * COEFFICIENTS; k++) {
      let target = known + <usize>k * planeSize + stride + 1;
      for (let y = 0; y < rows; y++, target += stride) {
        for (let x = 0; x < columns; x++, place += 2) store<u8>(target + <usize>x, <u8>min(2 * abs(<i32>load<i16>(place)), CLIP));
      }
    }
  }
  for (let plane = 0; plane < planes; plane++) {
    const base = codes + <usize>(plane * COEFFICIENTS) * (<usize>blocks << 1);
    for (let diagonal = 0; diagonal < DIAGONALS; diagonal++) {
      const first = max(0, diagonal - SIDE + 1), last = min(diagonal, SIDE - 1);
      const own = weights + (<usize>((plane * DIAGONALS + diagonal) * FEATURES) << 1);
      memory.fill(counts, 0, CONTEXTS << 2);
      for (let i = first; i <= last; i++) {
        const at = base + <usize>(7 * i + diagonal) * (<usize>blocks << 1);
        findContexts(level, plane, i, diagonal - i, at, activity, own, bins, estimates, contexts + <usize>((i - first) * blocks), counts);
      }
      sort(diagonal, first, last, contexts, counts, order);
      const kind = diagonal < 2 ? 0 : diagonal < 6 ? 1 : diagonal < 10 ? 2 : 3;
      readMagnitudes(level, diagonal, first, last, base, probabilities + <usize>((plane * CLASSES + kind) * table), counts, order);
      for (let i = first; i <= last; i++) {
        readSigns(level, base + <usize>(7 * i + diagonal) * (<usize>blocks << 1), magnitudes(plane, i, diagonal - i));
      }
      if (broken()) return 1;
      if (exhausted()) return 2;
    }
  }
  return 0;
}

// ---------------------------------------------------------------- pixels

/** Two blocks' coefficients (64) to samples (64), rounded to 1024ths; sums of whole numbers below 2^53 are exact. */
function inverse(values: usize, basis: usize, between: usize): void {
  const half = f64x2.splat(0.5), unit = f64x2.splat(SAMPLE_UNIT);
  for (let j: usize = 0; j < 8; j++) {
    for (let y: usize = 0; y < 8; y++) {
      let sum = f64x2.splat(0);
      for (let i: usize = 0; i < 8; i++) {
        sum = v128.add<f64>(sum, v128.mul<f64>(v128.load64_splat(basis + (i << 6) + (y << 3)), v128.load(values + (i << 7) + (j << 4))));
      }
      v128.store(between + (y << 7) + (j << 4), sum);
    }
  }
  for (let y: usize = 0; y < 8; y++) {
    for (let x: usize = 0; x < 8; x++) {
      let sum = f64x2.splat(0);
      for (let j: usize = 0; j < 8; j++) {
        sum = v128.add<f64>(sum, v128.mul<f64>(v128.load64_splat(basis + (j << 6) + (x << 3)), v128.load(between + (y << 7) + (j << 4))));
      }
      v128.store(values + (y << 7) + (x << 4), v128.floor<f64>(v128.add<f64>(v128.mul<f64>(sum, unit), half)));
    }
  }
}

/** Store two blocks' rounded values / 2^10. */
// @ts-ignore: decorator
@inline
function put(value: v128, place: usize, apart: usize): void {
  const whole = i32x4.trunc_sat_f64x2_s_zero(v128.floor<f64>(v128.add<f64>(v128.mul<f64>(value, f64x2.splat(PIXEL_UNIT)), f64x2.splat(0.5))));
  store<i16>(place, <i16>i32x4.extract_lane(whole, 0));
  store<i16>(place + apart, <i16>i32x4.extract_lane(whole, 1));
}

/**
 * What a tile's codes add to the pixels, (8 height, 8 (width + width mod 2), planes), 16 bits each.
 *
 * @param height, width of the tile in blocks
 * @param steps (64) 32 bits each
 * @param centroids (planes, 2) in 64ths of a step, 32 bits each
 * @param basis (8 frequencies, 8 samples) doubles
 * @param scratch (width + 1) / 2 x planes x 1024 + 1024 bytes
 */
export function residualPixels(
  planes: i32, height: i32, width: i32, codes: usize, steps: usize, centroids: usize, basis: usize, scratch: usize, out: usize,
): void {
  const pairs = (width + 1) >> 1;
  const pixel = <usize>planes << 1, block = pixel << 3, row = <usize>(2 * pairs) * block;
  const between = scratch, values = scratch + 1024, planeBytes = <usize>pairs << 10;
  for (let y = 0; y < height; y++) {
    memory.fill(values, 0, <usize>planes * planeBytes);
    for (let plane = 0; plane < planes; plane++) {
      const one = load<i32>(centroids + (<usize>plane << 3)), more = load<i32>(centroids + (<usize>plane << 3), 4);
      for (let k = 0; k < COEFFICIENTS; k++) {
        const step = load<i32>(steps + (<usize>k << 2));
        let from = codes + (<usize>(((plane * COEFFICIENTS + k) * height + y) * width) << 1);
        for (let x = 0; x < width; x++, from += 2) {
          const code = <i32>load<i16>(from);
          if (!code) continue;
          const magnitude = abs(code);
          const value = min((step * (64 * magnitude + (magnitude > 1 ? more : one)) + 32) >> 6, LIMIT);
          const place = values + <usize>plane * planeBytes + (<usize>(x >> 1) << 10) + (<usize>k << 4) + (<usize>(x & 1) << 3);
          store<f64>(place, <f64>(code < 0 ? -value : value));
        }
      }
      for (let pair = 0; pair < pairs; pair++) inverse(values + <usize>plane * planeBytes + (<usize>pair << 10), basis, between);
    }
    for (let pair = 0; pair < pairs; pair++) {
      const luma = values + (<usize>pair << 10);
      for (let sample: usize = 0; sample < 64; sample++) {
        const place = out + (sample >> 3) * row + <usize>(2 * pair) * block + (sample & 7) * pixel;
        const light = v128.load(luma + (sample << 4));
        if (planes == 1) {
          put(light, place, block);
          continue;
        }
        const blue = v128.load(luma + planeBytes + (sample << 4)), red = v128.load(luma + 2 * planeBytes + (sample << 4));
        put(colour(light, red, 22970, blue, 0), place, block);
        put(colour(light, red, -11700, blue, -5638), place + 2, block);
        put(colour(light, red, 0, blue, 29032), place + 4, block);
      }
    }
    out += 8 * row;
  }
}

/** light + (a red + b blue) / 2^14, exactly. */
// @ts-ignore: decorator
@inline
function colour(light: v128, red: v128, a: f64, blue: v128, b: f64): v128 {
  const mixed = v128.add<f64>(v128.mul<f64>(red, f64x2.splat(a * COLOUR_UNIT)), v128.mul<f64>(blue, f64x2.splat(b * COLOUR_UNIT)));
  return v128.add<f64>(light, mixed);
}
