import { BhdError } from "./container.js";
import { Conv, FastConv, Plane } from "./kernels.js";
const ITERATIONS = 8;
const BLOCK = 16;
const PATCH = 8;
const STRIDE = 4;
const UP = BLOCK / STRIDE;
const COLOURS = 3;
const DEVIATION = 0.25;
const MASKING_POWER = 0.8 / 1.4;
const STEP_SCALES = 64;
const LOW_FREQUENCY = [0, 1, 7, 8, 2, 3];
const TILE = 64;
const MARGIN = 10;
class Residual {
    first;
    second;
    constructor(heap, model, name, make) {
        this.first = make(heap, model, `${name}.first`);
        this.second = make(heap, model, `${name}.second`);
    }
    run(x, scratch) {
        this.first.run(x, scratch);
        x.heap.call.silu(scratch.address, scratch.size);
        this.second.run(scratch, x, true);
    }
}
function layer(heap, model, name, choose) {
    return new Conv(heap, model.get(`${name}.weight`), model.floats(`${name}.bias`), choose);
}
function fast(heap, model, name) {
    return new FastConv(heap, model.get(`${name}.weight`), model.floats(`${name}.bias`));
}
function blocks(heap, model, name, make) {
    const found = [];
    while (model.has(`${name}.${found.length}.first.weight`))
        found.push(new Residual(heap, model, `${name}.${found.length}`, make));
    return found;
}
class Network {
    code;
    mid;
    up;
    enter;
    body;
    leave;
    width;
    codes;
    constructor(heap, model) {
        this.code = layer(heap, model, "eye_network.code");
        this.codes = model.get("eye_network.code.weight").shape[0];
        this.width = model.get("eye_network.enter.weight").shape[0];
        if (this.width % 4)
            throw new BhdError("The model's picture network has a width that this decoder does not know.");
        this.mid = blocks(heap, model, "eye_network.mid", layer);
        this.up = Array.from({ length: UP * UP }, (_, place) => layer(heap, model, "eye_network.up", Array.from({ length: this.width }, (_, c) => c * UP * UP + place)));
        this.enter = fast(heap, model, "eye_network.enter");
        this.body = blocks(heap, model, "eye_network.body", fast);
        this.leave = fast(heap, model, "eye_network.leave");
    }
}
export class PictureSynthesis {
    heap;
    model;
    #linear;
    #borders;
    #transposed;
    #network;
    constructor(heap, model) {
        this.heap = heap;
        this.model = model;
        const order = Array.from({ length: COLOURS * BLOCK * BLOCK }, (_, i) => {
            const [colour, y, x] = [i >> 8, (i >> 4) & 15, i & 15];
            return ((colour * PATCH + (y % PATCH)) * PATCH + (x % PATCH)) * 4 + 2 * (y >> 3) + (x >> 3);
        });
        this.#linear = new Conv(heap, model.get("eye_linear"), null, order);
        const borders = model.floats("eye_borders");
        this.#borders = heap.put(borders, "f32");
        this.#transposed = heap.put(borders.map((_, i) => borders[BLOCK * (i % BLOCK) + Math.floor(i / BLOCK)]), "f32");
        this.#network = model.has("eye_network.code.weight") ? new Network(heap, model) : null;
    }
    render(latent, t, optimisedFor, stepScale, correct) {
        const { height, width } = latent;
        const values = this.#dequantise(latent, t, optimisedFor, stepScale);
        const pixels = new Uint8ClampedArray(4 * BLOCK * BLOCK * height * width);
        for (let top = 0; top < height; top += TILE) {
            for (let left = 0; left < width; left += TILE) {
                const [bottom, right] = [Math.min(top + TILE, height), Math.min(left + TILE, width)];
                const [y0, x0] = [Math.max(top - MARGIN, 0), Math.max(left - MARGIN, 0)];
                const [y1, x1] = [Math.min(bottom + MARGIN, height), Math.min(right + MARGIN, width)];
                const tile = this.#tile(cut(values, latent, y0, x0, y1, x1), optimisedFor ? t : t + ITERATIONS, correct);
                this.#paint(tile, (top - y0) * BLOCK, (left - x0) * BLOCK, pixels, width * BLOCK, top * BLOCK, left * BLOCK, (bottom - top) * BLOCK, (right - left) * BLOCK);
            }
        }
        return pixels;
    }
    #dequantise({ height, width, values }, t, optimisedFor, stepScale) {
        const { model } = this;
        const channels = model.header.latent;
        const count = height * width;
        const result = new Float32Array(channels * count);
        const levels = model.integers("levels");
        const optimised = optimisedFor > 0 && model.has("searched");
        const centroids = optimised ? model.floats("searched") : model.floats("centroid");
        const ratios = optimisedFor > 0 && model.has("searched_ratio") ? model.floats("searched_ratio").subarray((optimisedFor - 1) * channels) : model.floats("log_ratio");
        for (let c = 0; c < channels; c++) {
            const level = levels[t * channels + c];
            if (level < 0)
                continue;
            const scale = LOW_FREQUENCY.includes(c) ? 0 : stepScale / STEP_SCALES;
            const step = 2 ** (scale - level) / Math.exp(ratios[c]);
            const centroid = centroids[t * channels + c];
            const beyond = optimised ? centroids[(ITERATIONS + t) * channels + c] : 0;
            for (let p = c * count; p < (c + 1) * count; p++) {
                const code = values[p];
                if (!code)
                    continue;
                const sign = code > 0 ? 1 : -1;
                result[p] = (code + centroid * sign + (code === sign ? 0 : beyond * sign)) * step;
            }
        }
        return result;
    }
    #tile(part, filmIndex, correct) {
        const { heap } = this;
        const mark = heap.mark();
        const ycc = this.#draw(part);
        if (correct && this.#network)
            this.#correct(this.#network, part, ycc, filmIndex);
        heap.release(mark);
        return ycc;
    }
    #draw({ height, width, values }) {
        const { heap, model } = this;
        const mark = heap.mark();
        const count = height * width;
        const steps = model.floats("step");
        const coefficients = new Plane(heap, height, width, steps.length);
        const patches = new Plane(heap, height, width, COLOURS * BLOCK * BLOCK);
        const input = coefficients.values;
        for (let p = 0; p < count; p++) {
            const mask = 2 ** (values[p] * MASKING_POWER);
            const at = coefficients.at(Math.floor(p / width), p % width);
            for (let c = 0; c < steps.length; c++)
                input[at + c] = values[(c + 1) * count + p] * steps[c] * mask;
        }
        this.#linear.run(coefficients, patches);
        const [tall, wide] = [height * BLOCK, width * BLOCK];
        const address = heap.allocate(4 * COLOURS * tall * wide);
        const data = heap.f32(address, COLOURS * tall * wide);
        const output = patches.values;
        for (let y = 0; y < height; y++) {
            for (let x = 0; x < width; x++) {
                let at = patches.at(y, x);
                for (let colour = 0; colour < COLOURS; colour++) {
                    let place = (colour * tall + y * BLOCK) * wide + x * BLOCK;
                    for (let row = 0; row < BLOCK; row++, place += wide)
                        for (let i = 0; i < BLOCK; i++)
                            data[place + i] = output[at++];
                }
            }
        }
        heap.call.filterBorders(address, COLOURS * tall, tall, wide, this.#borders, this.#transposed);
        const ycc = { height: tall, width: wide, data: data.slice() };
        heap.release(mark);
        return ycc;
    }
    #correct(network, { height, width, values }, ycc, filmIndex) {
        const { heap, model } = this;
        const count = height * width;
        const latent = model.header.latent;
        const channelRms = model.floats("eye_network.spread");
        const [tall, wide] = [height * UP, width * UP];
        const state = new Plane(heap, tall, wide, network.width);
        const scratch = new Plane(heap, tall, wide, network.width);
        state.every("one");
        state.every("in9");
        scratch.every("one");
        scratch.every("in9");
        const mark = heap.mark();
        const yHat = new Plane(heap, height, width, latent);
        const input = yHat.values;
        for (let p = 0; p < count; p++) {
            const at = yHat.at(Math.floor(p / width), p % width);
            for (let c = 0; c < latent; c++)
                input[at + c] = values[c * count + p] / channelRms[c];
        }
        const codes = new Plane(heap, height, width, network.codes);
        const other = new Plane(heap, height, width, network.codes);
        network.code.run(yHat, codes);
        heap.call.silu(codes.address, codes.size);
        for (const block of network.mid)
            block.run(codes, other);
        const from = codes.every("one");
        const to = heap.allocate(4 * count);
        network.up.forEach((conv, place) => {
            const targets = heap.i32(to, count);
            for (let p = 0; p < count; p++)
                targets[p] = state.at(UP * Math.floor(p / width) + Math.floor(place / UP), UP * (p % width) + (place % UP));
            conv.at(codes, from, count, state.address, to);
        });
        heap.release(mark);
        const patches = new Plane(heap, tall, wide, COLOURS * STRIDE * STRIDE);
        unshuffle(ycc, patches);
        network.enter.run(patches, state, true);
        const factors = model.floats("eye_network.film").subarray(filmIndex * 2 * network.width, (filmIndex + 1) * 2 * network.width);
        const scale = heap.put(factors.slice(0, network.width).map((v) => 1 + v), "f32");
        const shift = heap.put(factors.slice(network.width), "f32");
        for (let y = 0; y < tall; y++)
            heap.call.modulate(state.address + 4 * state.at(y, 0), wide, network.width, scale, shift);
        heap.call.silu(state.address, state.size);
        for (const block of network.body)
            block.run(state, scratch);
        network.leave.run(state, patches);
        const residualScale = model.floats("eye_network.reach")[filmIndex];
        const scales = Float32Array.from({ length: count }, (_, p) => residualScale * 2 ** (values[p] * MASKING_POWER));
        addShuffled(patches, ycc, scales);
    }
    #paint(tile, top, left, pixels, width, y0, x0, height, wide) {
        const [ra, rb, rc, ga, gb, gc, ba, bb, bc] = this.model.floats("from_ycc");
        const size = tile.height * tile.width;
        for (let y = 0; y < height; y++) {
            let at = (top + y) * tile.width + left;
            let place = 4 * ((y0 + y) * width + x0);
            for (let x = 0; x < wide; x++, at++, place += 4) {
                const [a, b, c] = [tile.data[at], tile.data[at + size], tile.data[at + 2 * size]];
                pixels[place] = 255 * (ra * a + rb * b + rc * c + 0.5);
                pixels[place + 1] = 255 * (ga * a + gb * b + gc * c + 0.5);
                pixels[place + 2] = 255 * (ba * a + bb * b + bc * c + 0.5);
                pixels[place + 3] = 255;
            }
        }
    }
}
function cut(values, { height, width }, y0, x0, y1, x1) {
    const [tall, wide] = [y1 - y0, x1 - x0];
    if (tall === height && wide === width)
        return { height, width, values };
    const channels = values.length / (height * width);
    const result = new Float32Array(channels * tall * wide);
    for (let c = 0, to = 0; c < channels; c++) {
        for (let y = y0; y < y1; y++, to += wide) {
            const from = (c * height + y) * width;
            result.set(values.subarray(from + x0, from + x1), to);
        }
    }
    return { height: tall, width: wide, values: result };
}
function unshuffle({ height, width, data }, patches) {
    const values = patches.values;
    for (let colour = 0, at = 0; colour < COLOURS; colour++) {
        for (let y = 0; y < height; y++) {
            const channel = colour * STRIDE * STRIDE + (y % STRIDE) * STRIDE;
            for (let x = 0, place = patches.at(Math.floor(y / STRIDE), 0) + channel; x < width; x += STRIDE, place += patches.stride) {
                for (let dx = 0; dx < STRIDE; dx++, at++)
                    values[place + dx] = data[at] / DEVIATION;
            }
        }
    }
}
function addShuffled(patches, { height, width, data }, scales) {
    const values = patches.values;
    const row = width / BLOCK;
    for (let colour = 0, at = 0; colour < COLOURS; colour++) {
        for (let y = 0; y < height; y++) {
            const channel = colour * STRIDE * STRIDE + (y % STRIDE) * STRIDE;
            for (let x = 0, place = patches.at(Math.floor(y / STRIDE), 0) + channel; x < width; x += STRIDE, place += patches.stride) {
                const scale = scales[Math.floor(y / BLOCK) * row + Math.floor(x / BLOCK)];
                for (let dx = 0; dx < STRIDE; dx++, at++)
                    data[at] += scale * values[place + dx];
            }
        }
    }
}
