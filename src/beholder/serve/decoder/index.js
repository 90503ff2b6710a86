import { BhdError, Container, ICC, OPACITY } from "./container.js";
import { Heap, relaxed } from "./kernels.js";
import { Model } from "./model.js";
import { PictureSynthesis } from "./picture.js";
import { PyramidNetwork } from "./pyramid.js";
import { StageNetwork } from "./stage.js";
import { Tables } from "./tables.js";
export { BhdError, Container, ICC, OPACITY, relaxed };
const BLOCK = 16;
const LEAST_POSITIONS = 100;
const BEYOND = 64;
export class Decoder {
    model;
    heap;
    #stages;
    tables;
    synthesis;
    constructor(model, heap) {
        this.model = model;
        this.heap = heap;
        this.tables = new Tables(heap, model);
        this.#stages = model.header.stages.map((stage, number) => stage.passes ? new StageNetwork(heap, model, stage, number) : new PyramidNetwork(heap, model, stage, number));
        this.synthesis = new PictureSynthesis(heap, model);
    }
    static async create(model, kernels) {
        const { instance } = await WebAssembly.instantiate(kernels, {});
        return new Decoder(await Model.parse(model), new Heap(instance));
    }
    static async load(model, folder = new URL("./", import.meta.url)) {
        const get = async (address) => {
            const answer = await fetch(address);
            if (!answer.ok)
                throw new BhdError(`${address} cannot be loaded (${answer.status}).`);
            return new Uint8Array(await answer.arrayBuffer());
        };
        const kernels = new URL(relaxed() ? "kernels-relaxed.wasm" : "kernels.wasm", folder);
        return Decoder.create(...(await Promise.all([get(model), get(kernels)])));
    }
    open() {
        return new ProgressivePicture(this);
    }
    decode(segment, state, t) {
        const { heap } = this;
        this.checkLength(segment, state.height * state.width, t);
        const mark = heap.mark();
        const count = Math.ceil(segment.length / 4) + BEYOND / 4;
        const words = heap.allocate(4 * count, true);
        new Uint8Array(heap.call.memory.buffer, words, segment.length).set(segment);
        heap.call.start(words, count);
        this.model.header.stages.forEach((stage, number) => {
            if (stage.iteration === t)
                this.#decodeStage(this.#stages[number], state, t);
        });
        heap.release(mark);
    }
    checkLength(segment, positions, t) {
        if (this.model.header.least_bits[t] * positions > 8 * (segment.length + BEYOND))
            throw tooShort(t);
    }
    #decodeStage(network, state, t) {
        const count = state.height * state.width;
        const channels = network.stage.channels.length;
        const shifts = this.model.header.adapts && count >= LEAST_POSITIONS ? this.tables.shifts(channels) : null;
        const codes = new Int32Array(channels * count);
        for (const { positions, choice } of network.passes(codes, state, shifts)) {
            const found = this.tables.decode(choice);
            if (this.heap.call.broken())
                throw new BhdError(`The codes of iteration ${t + 1} are damaged: get the file anew.`);
            if (this.heap.call.exhausted())
                throw tooShort(t);
            for (let c = 0, i = 0; c < channels; c++)
                for (const p of positions)
                    codes[c * count + p] = found[i++];
        }
        network.apply(codes, state);
    }
}
function tooShort(t) {
    return new BhdError(`Segment ${t + 1} of this .bhd file is too short for a picture of its size: the file is damaged, get it anew.`);
}
export class ProgressivePicture {
    decoder;
    #container = new Container();
    #latent = null;
    segments = 0;
    constructor(decoder) {
        this.decoder = decoder;
    }
    get header() {
        return this.#container.header;
    }
    get complete() {
        return this.#container.complete && !this.waiting;
    }
    get codes() {
        return this.#latent?.values ?? new Int32Array();
    }
    get waiting() {
        return Math.min(this.#container.segments.length, this.header?.iterations ?? 0) - this.segments;
    }
    push(bytes) {
        const known = this.header !== null;
        this.#container.push(bytes);
        if (this.header && !known)
            this.#check(this.header);
        return this.waiting;
    }
    step() {
        if (!this.waiting)
            return false;
        const segment = this.#container.segments[this.segments];
        this.decoder.decode(segment, (this.#latent ??= this.#begin(segment)), this.segments);
        this.segments++;
        return true;
    }
    finish() {
        this.#container.finish();
    }
    render(correct = true) {
        if (!this.segments || !this.header)
            throw new BhdError("The file ends before its first segment is complete: get the whole file.");
        const { width, height, grey, optimised, iterations, stepScale } = this.header;
        const padded = this.decoder.synthesis.render(this.#latent, this.segments - 1, optimised ? iterations : 0, stepScale, correct);
        const row = 4 * BLOCK * this.#latent.width;
        const data = new Uint8ClampedArray(4 * width * height);
        for (let y = 0; y < height; y++)
            data.set(padded.subarray(y * row, y * row + 4 * width), 4 * y * width);
        if (grey) {
            for (let i = 0; i < data.length; i += 4) {
                data.fill((data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16, i, i + 3);
            }
        }
        return { width, height, data };
    }
    #check(header) {
        const { identity } = this.decoder.model.header;
        if (header.model !== identity) {
            throw new BhdError(`The file was written by codec model ${header.model}, and this decoder has ${identity}: decode it with the beholder that wrote it.`);
        }
        if (header.alpha !== 0) {
            throw new BhdError(`The file was made for a machine (alpha ${header.alpha}), and the browser decodes files for people (alpha 0): use \`beholder decompress\`.`);
        }
    }
    #begin(segment) {
        const [height, width] = [Math.ceil(this.header.height / BLOCK), Math.ceil(this.header.width / BLOCK)];
        this.decoder.checkLength(segment, height * width, 0);
        return { height, width, values: new Int32Array(this.decoder.model.header.latent * height * width) };
    }
}
