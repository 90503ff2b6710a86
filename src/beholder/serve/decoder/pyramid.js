import { DEAD_ZONE, EVEN, table } from "./tables.js";
const SPACING = 32;
const NEAR = 4;
const LINEAR_LIMIT = 2047;
const INPUT_LIMIT = 511;
const MOST_CONTRAST = 15;
const MEAN_SCALE = 16;
const UNIT = 256 * 32;
const MEAN_LIMIT = 127 * MEAN_SCALE;
function* pyramid(height, width) {
    const make = (chosen, offsets, kind) => {
        const positions = [];
        const near = [];
        for (let y = 0; y < height; y++) {
            for (let x = 0; x < width; x++) {
                if (!chosen(y, x))
                    continue;
                positions.push(y * width + x);
                for (const [dy, dx] of offsets) {
                    const [ny, nx] = [y + dy, x + dx];
                    const inside = (dy !== 0 || dx !== 0) && ny >= 0 && ny < height && nx >= 0 && nx < width;
                    near.push(inside ? ny * width + nx : -1);
                }
            }
        }
        return { positions, near: Int32Array.from(near), kind };
    };
    yield make((y, x) => y % SPACING === 0 && x % SPACING === 0, Array.from({ length: NEAR }, () => [0, 0]), 1);
    for (let s = SPACING / 2; s >= 1; s /= 2) {
        const odd = (v) => v % (2 * s) === s;
        const even = (v) => v % (2 * s) === 0;
        yield make((y, x) => odd(y) && odd(x), [[-s, -s], [-s, s], [s, -s], [s, s]], 1);
        yield make((y, x) => (odd(y) && even(x)) || (even(y) && odd(x)), [[-s, 0], [0, -s], [0, s], [s, 0]], 0);
    }
}
const clip = (value, limit) => Math.min(Math.max(value, -limit), limit);
export class PyramidNetwork {
    heap;
    model;
    stage;
    number;
    #layers = {};
    #zeros;
    constructor(heap, model, stage, number) {
        this.heap = heap;
        this.model = model;
        this.stage = stage;
        this.number = number;
        for (const name of ["by_pass", "enter.weight", "mix.weight", "mix.bias", "out.weight", "out.bias", "linear.weight"]) {
            const { shape, data } = model.get(`${number}.${name}`);
            this.#layers[name] = { address: heap.put(data, "f64"), outputs: shape[0], inputs: shape[1] ?? 1 };
        }
        this.#zeros = heap.put(new Float64Array(8), "f64");
    }
    apply(codes, state) {
        state.values.set(codes, this.stage.channels[0] * state.height * state.width);
    }
    *passes(codes, state, shifts) {
        const count = state.height * state.width;
        const planes = [...this.stage.earlier.map((c) => state.values.subarray(c * count, (c + 1) * count)), codes];
        let number = 0;
        for (const pass of pyramid(state.height, state.width)) {
            if (pass.positions.length)
                yield { positions: pass.positions, choice: this.#choose(planes, pass, number, shifts ? shifts[0] : 0) };
            number++;
        }
    }
    #choose(planes, pass, number, shift) {
        const { heap } = this;
        const mark = heap.mark();
        const count = pass.positions.length;
        const { references, differences, inputs } = this.#inputs(planes, pass);
        const known = heap.put(inputs, "f64");
        const { address: enter, inputs: size } = this.#layers["enter.weight"];
        const byPass = this.#layers["by_pass"];
        const width = byPass.inputs;
        const hidden = this.#product(known, count, size, enter + 8 * pass.kind * width * size, byPass.address + 8 * number * width, width, true);
        const mixed = this.#layer("mix", hidden, count, true);
        const out = this.#layer("out", mixed, count, false);
        const linear = this.#layers["linear.weight"];
        const straight = this.#product(heap.put(differences, "f64"), count, linear.inputs, linear.address + 8 * pass.kind * linear.inputs, this.#zeros, 1, false);
        const [network, line] = [heap.f64(out, 2 * count), heap.f64(straight, count)];
        const tables = new Uint16Array(count);
        const wholes = new Int32Array(count);
        const plain = planes.length === 1;
        for (let i = 0; i < count; i++) {
            const mean = references[i] + Math.floor(line[i] / 256 + (network[2 * i] * MEAN_SCALE) / UNIT + 0.5);
            const index = Math.min(Math.max(Math.floor((network[2 * i + 1] * 4) / UNIT) + 32, 0), 63);
            if (Math.abs(mean) < MEAN_SCALE && !plain) {
                tables[i] = table(DEAD_ZONE, index, Math.min(Math.max(((mean + 1) >> 1) + 8, 0), 15), shift);
            }
            else {
                const half = plain ? 0 : MEAN_SCALE / 2;
                const even = clip(Math.sign(mean) * Math.max(Math.abs(mean) - half, 0), MEAN_LIMIT);
                tables[i] = table(EVEN, index, even & 15, shift);
                wholes[i] = even >> 4;
            }
        }
        heap.release(mark);
        return { tables, wholes };
    }
    #layer(name, inputs, count, bend) {
        const weight = this.#layers[`${name}.weight`];
        return this.#product(inputs, count, weight.inputs, weight.address, this.#layers[`${name}.bias`].address, weight.outputs, bend);
    }
    #product(inputs, count, size, weight, bias, outputs, bend) {
        const out = this.heap.allocate(8 * count * outputs);
        this.heap.call.product64(inputs, count, size, weight, bias, outputs, out);
        if (bend) {
            const values = this.heap.f64(out, count * outputs);
            for (let i = 0; i < values.length; i++)
                values[i] = Math.min(Math.max(Math.floor(values[i] / 256), 0), 255);
        }
        return out;
    }
    #inputs(planes, pass) {
        const first = planes.length === 1;
        const count = pass.positions.length;
        const masks = this.model.integers("masks");
        const log = this.model.integers("log_table");
        const contrast = (p) => Math.min(Math.max(planes[0][p], 0), MOST_CONTRAST);
        const mask = (p) => (first ? 1 : masks[contrast(p)]);
        const rescaled = (plane, p, own) => {
            const code = plane[p];
            return Math.floor(((MEAN_SCALE / 2) * ((first ? 2 * code : 2 * code + Math.sign(code)) * mask(p))) / own);
        };
        const between = planes.slice(1, -1);
        const number = NEAR * (1 + between.length) + 1;
        const size = 2 * number + (first ? 0 : NEAR + 1);
        const references = new Int32Array(count);
        const differences = new Float64Array(count * number);
        const inputs = new Float64Array(count * size);
        const coded = planes[planes.length - 1];
        for (let i = 0; i < count; i++) {
            const p = pass.positions[i];
            const own = mask(p);
            const near = pass.near.subarray(NEAR * i, NEAR * i + NEAR);
            let [sum, valid] = [0, 0];
            for (const n of near) {
                if (n < 0)
                    continue;
                sum += rescaled(coded, n, own);
                valid++;
            }
            const reference = Math.floor(sum / Math.max(valid, 1));
            references[i] = reference;
            let at = i * number;
            for (const n of near)
                differences[at++] = n < 0 ? 0 : rescaled(coded, n, own) - reference;
            for (const plane of between) {
                const here = rescaled(plane, p, own);
                for (const n of near)
                    differences[at++] = n < 0 ? 0 : rescaled(plane, n, own) - here;
            }
            differences[at] = reference;
            for (let k = 0; k < number; k++) {
                const difference = (differences[i * number + k] = clip(differences[i * number + k], LINEAR_LIMIT));
                inputs[i * size + k] = clip(difference, INPUT_LIMIT);
                inputs[i * size + number + k] = log[Math.floor(Math.abs(difference) / 4)];
            }
            if (!first) {
                const here = contrast(p);
                inputs[i * size + 2 * number] = 16 * here;
                near.forEach((n, k) => (inputs[i * size + 2 * number + 1 + k] = 16 * (n < 0 ? here : contrast(n))));
            }
        }
        return { references, differences, inputs };
    }
}
