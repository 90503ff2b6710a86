// Kernels of the decoder, in AssemblyScript: convolutions and activations here; the range decoder and the residual in
// files of their own.
//
// All pointers are byte addresses in the module's memory, which the caller manages.  Maps are (row, column, channel)
// with a border of one zero position; an offset counts 32-bit values from the start of a map.

export { broken, decodePass, exhausted, start, symbol, uniform } from "./range";
export { residualCodes, residualPixels } from "./residual";

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

/**
 * 3x3 convolution of a whole map of even sides by Winograd's F(2x2, 3x3): 16 products instead of 36 for 2x2 outputs
 * (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016).  Not exact for whole numbers.
 *
 * @param src map of the inputs, with its border
 * @param row offset from one row of positions to the next in src
 * @param inputs channels of src, a multiple of 8
 * @param weight 16 transformed matrices, each as `convolve` wants it for taps = 1
 * @param dst map of the outputs, with its border
 * @param dstRow offset from one row of positions to the next in dst
 * @param outputs channels of dst, a multiple of 8
 * @param height, width sides of the map without its border
 * @param from, to offsets i * inputs and i * outputs for i < width / 2
 * @param patches scratch, 16 * width / 2 * inputs values
 * @param products scratch, 16 * width / 2 * outputs values
 */
export function winograd(
  src: usize, row: i32, inputs: i32, weight: usize, bias: usize, dst: usize, dstRow: i32, outputs: i32, height: i32, width: i32,
  from: usize, to: usize, patches: usize, products: usize, add: bool,
): void {
  const tiles = width >> 1;
  const patchSize = <usize>(tiles * inputs) << 2;
  const productSize = <usize>(tiles * outputs) << 2;
  const matrix = <usize>(inputs * outputs) << 2;
  for (let y = 0; y < height; y += 2) {
    for (let tile = 0; tile < tiles; tile++) {
      transformInputs(src + (<usize>(y * row + 2 * tile * inputs) << 2), row, inputs, patches + (<usize>(tile * inputs) << 2), patchSize);
    }
    for (let k = 0; k < 16; k++) {
      convolve(patches + <usize>k * patchSize, from, tiles, 0, inputs, 1, weight + <usize>k * matrix, 0, outputs, products + <usize>k * productSize, to, false);
    }
    for (let tile = 0; tile < tiles; tile++) {
      const place = dst + (<usize>((y + 1) * dstRow + (2 * tile + 1) * outputs) << 2);
      transformOutputs(products + (<usize>(tile * outputs) << 2), productSize, outputs, bias, place, dstRow, add);
    }
  }
}

// @ts-ignore: decorator
@inline
function plus(a: v128, b: v128): v128 {
  return v128.add<f32>(a, b);
}

// @ts-ignore: decorator
@inline
function minus(a: v128, b: v128): v128 {
  return v128.sub<f32>(a, b);
}

/** The 4x4 values of one patch to the 16 inputs of the products. */
function transformInputs(src: usize, row: i32, inputs: i32, dst: usize, apart: usize): void {
  const right = <usize>inputs << 2, down = <usize>row << 2;
  for (let c: usize = 0; c < right; c += 16) {
    let from = src + c, to = dst + c;
    for (let x = 0; x < 4; x++) {
      const d0 = v128.load(from), d1 = v128.load(from + down), d2 = v128.load(from + 2 * down), d3 = v128.load(from + 3 * down);
      v128.store(to, minus(d0, d2));
      v128.store(to + 4 * apart, plus(d1, d2));
      v128.store(to + 8 * apart, minus(d2, d1));
      v128.store(to + 12 * apart, minus(d1, d3));
      from += right;
      to += apart;
    }
    to = dst + c;
    for (let y = 0; y < 4; y++) {
      const d0 = v128.load(to), d1 = v128.load(to + apart), d2 = v128.load(to + 2 * apart), d3 = v128.load(to + 3 * apart);
      v128.store(to, minus(d0, d2));
      v128.store(to + apart, plus(d1, d2));
      v128.store(to + 2 * apart, minus(d2, d1));
      v128.store(to + 3 * apart, minus(d1, d3));
      to += 4 * apart;
    }
  }
}

/** The 16 products of one patch to its 2x2 outputs. */
function transformOutputs(src: usize, apart: usize, outputs: i32, bias: usize, dst: usize, row: i32, add: bool): void {
  const right = <usize>outputs << 2, down = <usize>row << 2;
  for (let c: usize = 0; c < right; c += 16) {
    const start = bias ? v128.load(bias + c) : f32x4.splat(0);
    let u0 = start, u1 = start, v0 = start, v1 = start;
    if (add) {
      u0 = plus(u0, v128.load(dst + c));
      u1 = plus(u1, v128.load(dst + c + right));
      v0 = plus(v0, v128.load(dst + c + down));
      v1 = plus(v1, v128.load(dst + c + down + right));
    }
    let from = src + c;
    for (let y = 0; y < 4; y++) {
      const m0 = v128.load(from), m1 = v128.load(from + apart), m2 = v128.load(from + 2 * apart), m3 = v128.load(from + 3 * apart);
      const left = plus(plus(m0, m1), m2), other = minus(minus(m1, m2), m3);
      if (y < 3) {
        u0 = plus(u0, left);
        u1 = plus(u1, other);
      }
      if (y == 1) {
        v0 = plus(v0, left);
        v1 = plus(v1, other);
      } else if (y > 1) {
        v0 = minus(v0, left);
        v1 = minus(v1, other);
      }
      from += 4 * apart;
    }
    v128.store(dst + c, u0);
    v128.store(dst + c + right, u1);
    v128.store(dst + c + down, v0);
    v128.store(dst + c + down + right, v1);
  }
}

/**
 * Filter 16 values around every border of 16x16 blocks, along rows, then along columns, in planes of floats.
 *
 * @param data (lines, width): `lines` is a multiple of height
 * @param height, width of one plane, multiples of 16
 * @param matrix (16, 16): output i is the sum of matrix[i][j] input j
 * @param transposed the same matrix transposed
 */
export function filterBorders(data: usize, lines: i32, height: i32, width: i32, matrix: usize, transposed: usize): void {
  const row = <usize>width << 2;
  for (let line = 0; line < lines; line++) {
    for (let x = 8; x < width - 8; x += 16) {
      const place = data + <usize>line * row + (<usize>x << 2);
      let a = f32x4.splat(0), b = a, c = a, d = a;
      for (let j: usize = 0; j < 16; j++) {
        const value = v128.load32_splat(place + (j << 2));
        const w = transposed + (j << 6);
        a = multiplyAdd(value, v128.load(w), a);
        b = multiplyAdd(value, v128.load(w, 16), b);
        c = multiplyAdd(value, v128.load(w, 32), c);
        d = multiplyAdd(value, v128.load(w, 48), d);
      }
      v128.store(place, a); v128.store(place, b, 16); v128.store(place, c, 32); v128.store(place, d, 48);
    }
  }
  // Sixteen rows of four columns at a time, in scratch memory below what the caller manages (from 1024 on).
  const window: usize = 256;
  for (let top = 0; top < lines; top += height) {
    for (let y = top + 8; y < top + height - 8; y += 16) {
      for (let x = 0; x < width; x += 4) {
        const place = data + <usize>y * row + (<usize>x << 2);
        for (let j: usize = 0; j < 16; j++) v128.store(window + (j << 4), v128.load(place + j * row));
        for (let i: usize = 0; i < 16; i++) {
          let sum = f32x4.splat(0);
          for (let j: usize = 0; j < 16; j++) {
            sum = multiplyAdd(v128.load32_splat(matrix + (i << 6) + (j << 2)), v128.load(window + (j << 4)), sum);
          }
          v128.store(place + i * row, sum);
        }
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
