const PAGE = 1 << 16;
const SIZES = { f32: 4, f64: 8, i16: 2, i32: 4 };
export function relaxed() {
    const probe = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11];
    return WebAssembly.validate(new Uint8Array(probe));
}
export class Heap {
    call;
    #top = 1024;
    constructor(instance) {
        this.call = instance.exports;
    }
    mark() {
        return this.#top;
    }
    release(mark) {
        this.#top = mark;
    }
    allocate(bytes, zero = false) {
        const address = this.#top;
        this.#top = Math.ceil((address + bytes + 16) / 16) * 16;
        const missing = this.#top - this.call.memory.buffer.byteLength;
        if (missing > 0)
            this.call.memory.grow(Math.ceil(missing / PAGE));
        if (zero)
            new Uint8Array(this.call.memory.buffer, address, this.#top - address).fill(0);
        return address;
    }
    f32(address, count) {
        return new Float32Array(this.call.memory.buffer, address, count);
    }
    f64(address, count) {
        return new Float64Array(this.call.memory.buffer, address, count);
    }
    i32(address, count) {
        return new Int32Array(this.call.memory.buffer, address, count);
    }
    i16(address, count) {
        return new Int16Array(this.call.memory.buffer, address, count);
    }
    u16(address, count) {
        return new Uint16Array(this.call.memory.buffer, address, count);
    }
    put(values, kind) {
        const address = this.allocate(values.length * SIZES[kind], true);
        this[kind](address, values.length).set(values);
        return address;
    }
}
export const eight = (count) => Math.ceil(count / 8) * 8;
export class Plane {
    heap;
    height;
    width;
    stride;
    row;
    size;
    address;
    #offsets = new Map();
    constructor(heap, height, width, channels) {
        this.heap = heap;
        this.height = height;
        this.width = width;
        this.stride = eight(channels);
        this.row = (width + 2) * this.stride;
        this.size = (height + 2) * this.row;
        this.address = heap.allocate(4 * this.size, true);
    }
    get values() {
        return this.heap.f32(this.address, this.size);
    }
    at(y, x) {
        return (y + 1) * this.row + (x + 1) * this.stride;
    }
    every(kind) {
        const found = this.#offsets.get(kind);
        if (found !== undefined)
            return found;
        const address = this.heap.allocate(4 * this.height * this.width);
        const offsets = this.heap.i32(address, this.height * this.width);
        const back = kind === "in9" ? this.row + this.stride : 0;
        for (let y = 0, i = 0; y < this.height; y++)
            for (let x = 0; x < this.width; x++, i++)
                offsets[i] = this.at(y, x) - back;
        this.#offsets.set(kind, address);
        return address;
    }
}
function pack(outputs, inputs, taps, value) {
    const [rows, columns] = [eight(outputs), eight(inputs)];
    const packed = new Float32Array(rows * taps * columns);
    for (let o = 0; o < outputs; o++) {
        for (let tap = 0; tap < taps; tap++) {
            let at = (((o >> 3) * taps + tap) * columns) * 8 + (o & 7);
            for (let i = 0; i < inputs; i++, at += 8)
                packed[at] = value(o, i, tap);
        }
    }
    return packed;
}
export class Conv {
    heap;
    taps;
    outputs;
    #inputs;
    #weight;
    #bias;
    constructor(heap, weight, bias, choose) {
        this.heap = heap;
        const [all, inputs] = weight.shape;
        const kept = choose ?? Array.from({ length: all }, (_, i) => i);
        this.taps = weight.shape[2] ?? 1;
        this.outputs = eight(kept.length);
        this.#inputs = eight(inputs);
        const square = this.taps ** 2;
        const { data } = weight;
        this.#weight = heap.put(pack(kept.length, inputs, square, (o, i, tap) => data[(kept[o] * inputs + i) * square + tap]), "f32");
        this.#bias = bias ? heap.put(padded(kept.map((output) => bias[output])), "f32") : 0;
    }
    at(src, from, count, dst, to, add = false) {
        if (!count)
            return;
        this.heap.call.convolve(src.address, from, count, src.row, this.#inputs, this.taps, this.#weight, this.#bias, this.outputs, dst, to, add);
    }
    run(src, dst, add = false) {
        this.at(src, src.every(this.taps === 1 ? "one" : "in9"), src.height * src.width, dst.address, dst.every("one"), add);
    }
}
export class FastConv {
    heap;
    #inputs;
    #outputs;
    #weight;
    #bias;
    constructor(heap, weight, bias) {
        this.heap = heap;
        const [outputs, inputs] = weight.shape;
        [this.#inputs, this.#outputs] = [eight(inputs), eight(outputs)];
        const { data } = weight;
        const all = new Float32Array(16 * this.#inputs * this.#outputs);
        for (let k = 0; k < 16; k++) {
            const factors = Array.from({ length: 9 }, (_, tap) => KERNEL[k >> 2][Math.floor(tap / 3)] * KERNEL[k & 3][tap % 3]);
            const matrix = pack(outputs, inputs, 1, (o, i) => {
                const base = (o * inputs + i) * 9;
                let sum = 0;
                for (let tap = 0; tap < 9; tap++)
                    sum += factors[tap] * data[base + tap];
                return sum;
            });
            all.set(matrix, k * matrix.length);
        }
        this.#weight = heap.put(all, "f32");
        this.#bias = heap.put(padded(bias), "f32");
    }
    run(src, dst, add = false) {
        const { heap } = this;
        const mark = heap.mark();
        const tiles = src.width >> 1;
        const [from, to] = [heap.allocate(4 * tiles), heap.allocate(4 * tiles)];
        const [patches, products] = [heap.allocate(64 * tiles * this.#inputs), heap.allocate(64 * tiles * this.#outputs)];
        const [sources, targets] = [heap.i32(from, tiles), heap.i32(to, tiles)];
        for (let i = 0; i < tiles; i++)
            [sources[i], targets[i]] = [i * this.#inputs, i * this.#outputs];
        heap.call.winograd(src.address, src.row, this.#inputs, this.#weight, this.#bias, dst.address, dst.row, this.#outputs, src.height, src.width, from, to, patches, products, add);
        heap.release(mark);
    }
}
const KERNEL = [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]];
function padded(values) {
    const result = new Float32Array(eight(values.length));
    result.set(values);
    return result;
}
