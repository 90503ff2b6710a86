// The WebAssembly module with its memory, and convolutions on maps that lie there.

export interface Exports {
  memory: WebAssembly.Memory;
  convolve(src: number, from: number, count: number, row: number, inputs: number, taps: number, weight: number, bias: number,
    outputs: number, dst: number, to: number, add: boolean): void;
  winograd(src: number, row: number, inputs: number, weight: number, bias: number, dst: number, dstRow: number, outputs: number,
    height: number, width: number, from: number, to: number, patches: number, products: number, add: boolean): void;
  filterBorders(data: number, lines: number, height: number, width: number, matrix: number, transposed: number): void;
  integerRelu(x: number, count: number): void;
  silu(x: number, count: number): void;
  modulate(x: number, count: number, channels: number, scale: number, shift: number): void;
  product64(a: number, rows: number, inputs: number, weight: number, bias: number, outputs: number, out: number): void;
  residualCodes(level: number, planes: number, height: number, width: number, codes: number, activity: number, weights: number,
    bins: number, probabilities: number, scratch: number): number;
  residualPixels(planes: number, height: number, width: number, codes: number, steps: number, centroids: number, basis: number,
    scratch: number, out: number): void;
  start(words: number, count: number): void;
  uniform(size: number): number;
  symbol(cumulative: number, size: number): number;
  broken(): number;
  exhausted(): number;
  decodePass(count: number, tables: number, wholes: number, number: number, first: number, reach: number, last: number,
    cumulative: number, order: number, starts: number, codes: number): void;
}

const PAGE = 1 << 16;
const SIZES = { f32: 4, f64: 8, i16: 2, i32: 4 };

/** Whether this engine has relaxed SIMD: a module with one such instruction is valid. */
export function relaxed(): boolean {
  const probe = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11];
  return WebAssembly.validate(new Uint8Array(probe));
}

/** Memory of the module: a stack of allocations. */
export class Heap {
  readonly call: Exports;
  #top = 1024;

  constructor(instance: WebAssembly.Instance) {
    this.call = instance.exports as unknown as Exports;
  }

  /** The present top of the stack, to come back to with `release`. */
  mark(): number {
    return this.#top;
  }

  release(mark: number): void {
    this.#top = mark;
  }

  /** Address of new memory; views of old memory may be invalid afterwards. */
  allocate(bytes: number, zero = false): number {
    const address = this.#top;
    this.#top = Math.ceil((address + bytes + 16) / 16) * 16;
    const missing = this.#top - this.call.memory.buffer.byteLength;
    if (missing > 0) this.call.memory.grow(Math.ceil(missing / PAGE));
    if (zero) new Uint8Array(this.call.memory.buffer, address, this.#top - address).fill(0);
    return address;
  }

  f32(address: number, count: number): Float32Array {
    return new Float32Array(this.call.memory.buffer, address, count);
  }

  f64(address: number, count: number): Float64Array {
    return new Float64Array(this.call.memory.buffer, address, count);
  }

  i32(address: number, count: number): Int32Array {
    return new Int32Array(this.call.memory.buffer, address, count);
  }

  i16(address: number, count: number): Int16Array {
    return new Int16Array(this.call.memory.buffer, address, count);
  }

  u16(address: number, count: number): Uint16Array {
    return new Uint16Array(this.call.memory.buffer, address, count);
  }

  /** Address of a copy of `values`. */
  put(values: ArrayLike<number>, kind: keyof typeof SIZES): number {
    const address = this.allocate(values.length * SIZES[kind], true);
    this[kind](address, values.length).set(values);
    return address;
  }
}

export const eight = (count: number) => Math.ceil(count / 8) * 8;

/** Values (height, width, channels) with a border of one zero position; channels are padded to a multiple of 8. */
export class Plane {
  readonly stride: number;
  readonly row: number;
  readonly size: number;
  readonly address: number;
  #offsets = new Map<string, number>();

  constructor(readonly heap: Heap, readonly height: number, readonly width: number, channels: number) {
    this.stride = eight(channels);
    this.row = (width + 2) * this.stride;
    this.size = (height + 2) * this.row;
    this.address = heap.allocate(4 * this.size, true);
  }

  get values(): Float32Array {
    return this.heap.f32(this.address, this.size);
  }

  /** Offset of a position's first channel. */
  at(y: number, x: number): number {
    return (y + 1) * this.row + (x + 1) * this.stride;
  }

  /** Address of the offsets of all positions: of their first tap ("in9"), or of themselves ("one"). */
  every(kind: "in9" | "one"): number {
    const found = this.#offsets.get(kind);
    if (found !== undefined) return found;
    const address = this.heap.allocate(4 * this.height * this.width);
    const offsets = this.heap.i32(address, this.height * this.width);
    const back = kind === "in9" ? this.row + this.stride : 0;
    for (let y = 0, i = 0; y < this.height; y++) for (let x = 0; x < this.width; x++, i++) offsets[i] = this.at(y, x) - back;
    this.#offsets.set(kind, address);
    return address;
  }
}

type Weight = { shape: number[]; data: ArrayLike<number> };

/** Matrices (outputs, inputs), one for each tap, in the order that the kernels want; sides are padded to multiples of 8. */
function pack(outputs: number, inputs: number, taps: number, value: (output: number, input: number, tap: number) => number): Float32Array {
  const [rows, columns] = [eight(outputs), eight(inputs)];
  const packed = new Float32Array(rows * taps * columns);
  for (let o = 0; o < outputs; o++) {
    for (let tap = 0; tap < taps; tap++) {
      let at = (((o >> 3) * taps + tap) * columns) * 8 + (o & 7);
      for (let i = 0; i < inputs; i++, at += 8) packed[at] = value(o, i, tap);
    }
  }
  return packed;
}

/** A convolution whose weights lie in the module's memory; exact for whole numbers below 2^24. */
export class Conv {
  readonly taps: number;
  readonly outputs: number;
  readonly #inputs: number;
  readonly #weight: number;
  readonly #bias: number;

  /**
   * @param weight (outputs, inputs[, 3, 3])
   * @param bias (outputs), or null
   * @param choose which outputs to keep, in this order; all by default
   */
  constructor(readonly heap: Heap, weight: Weight, bias: ArrayLike<number> | null, choose?: number[]) {
    const [all, inputs] = weight.shape as [number, number];
    const kept = choose ?? Array.from({ length: all }, (_, i) => i);
    this.taps = weight.shape[2] ?? 1;
    this.outputs = eight(kept.length);
    this.#inputs = eight(inputs);
    const square = this.taps ** 2;
    const { data } = weight;
    this.#weight = heap.put(pack(kept.length, inputs, square, (o, i, tap) => data[(kept[o]! * inputs + i) * square + tap]!), "f32");
    this.#bias = bias ? heap.put(padded(kept.map((output) => bias[output]!)), "f32") : 0;
  }

  /** At `count` positions: from offsets of first taps in `src` to offsets in the memory at `dst`. */
  at(src: Plane, from: number, count: number, dst: number, to: number, add = false): void {
    if (!count) return;
    this.heap.call.convolve(src.address, from, count, src.row, this.#inputs, this.taps, this.#weight, this.#bias, this.outputs, dst, to, add);
  }

  /** At every position. */
  run(src: Plane, dst: Plane, add = false): void {
    this.at(src, src.every(this.taps === 1 ? "one" : "in9"), src.height * src.width, dst.address, dst.every("one"), add);
  }
}

/** A 3x3 convolution by Winograd's method: faster, and exact within the rounding of floats. */
export class FastConv {
  readonly #inputs: number;
  readonly #outputs: number;
  readonly #weight: number;
  readonly #bias: number;

  constructor(readonly heap: Heap, weight: Weight, bias: ArrayLike<number>) {
    const [outputs, inputs] = weight.shape as [number, number];
    [this.#inputs, this.#outputs] = [eight(inputs), eight(outputs)];
    const { data } = weight;
    const all = new Float32Array(16 * this.#inputs * this.#outputs);
    for (let k = 0; k < 16; k++) {
      const factors = Array.from({ length: 9 }, (_, tap) => KERNEL[k >> 2]![Math.floor(tap / 3)]! * KERNEL[k & 3]![tap % 3]!);
      const matrix = pack(outputs, inputs, 1, (o, i) => {
        const base = (o * inputs + i) * 9;
        let sum = 0;
        for (let tap = 0; tap < 9; tap++) sum += factors[tap]! * data[base + tap]!;
        return sum;
      });
      all.set(matrix, k * matrix.length);
    }
    this.#weight = heap.put(all, "f32");
    this.#bias = heap.put(padded(bias), "f32");
  }

  /** At every position of maps with even sides. */
  run(src: Plane, dst: Plane, add = false): void {
    const { heap } = this;
    const mark = heap.mark();
    const tiles = src.width >> 1;
    const [from, to] = [heap.allocate(4 * tiles), heap.allocate(4 * tiles)];
    const [patches, products] = [heap.allocate(64 * tiles * this.#inputs), heap.allocate(64 * tiles * this.#outputs)];
    const [sources, targets] = [heap.i32(from, tiles), heap.i32(to, tiles)];
    for (let i = 0; i < tiles; i++) [sources[i], targets[i]] = [i * this.#inputs, i * this.#outputs];
    heap.call.winograd(src.address, src.row, this.#inputs, this.#weight, this.#bias, dst.address, dst.row, this.#outputs,
      src.height, src.width, from, to, patches, products, add);
    heap.release(mark);
  }
}

const KERNEL = [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]];

function padded(values: ArrayLike<number>): Float32Array {
  const result = new Float32Array(eight(values.length));
  result.set(values);
  return result;
}
