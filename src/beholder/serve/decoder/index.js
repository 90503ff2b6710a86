import { BhdError, Container, ICC, MOST_ITERATIONS, OPACITY } from "./container.js";
import { Heap, relaxed } from "./kernels.js";
import { Model } from "./model.js";
import { PictureSynthesis } from "./picture.js";
import { PyramidNetwork } from "./pyramid.js";
import { ResidualDecoder } from "./residual.js";
import { begin, checkLength, tooShort } from "./segment.js";
import { StageNetwork } from "./stage.js";
import { Tables } from "./tables.js";
export { BhdError, Container, ICC, OPACITY, relaxed };
const BLOCK = 16;
const LEAST_POSITIONS = 100;
export class Decoder {
    model;
    heap;
    #stages;
    tables;
    synthesis;
    residual;
    constructor(model, heap) {
        this.model = model;
        this.heap = heap;
        this.tables = new Tables(heap, model);
        this.#stages = model.header.stages.map((stage, number) => stage.passes ? new StageNetwork(heap, model, stage, number) : new PyramidNetwork(heap, model, stage, number));
        this.synthesis = new PictureSynthesis(heap, model);
        this.residual = new ResidualDecoder(heap, model);
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
        try {
            begin(heap, segment);
            this.model.header.stages.forEach((stage, number) => {
                if (stage.iteration === t)
                    this.#decodeStage(this.#stages[number], state, t);
            });
        }
        finally {
            heap.release(mark);
        }
    }
    checkLength(segment, positions, t) {
        checkLength(segment, this.model.header.least_bits[t] * positions, t + 1);
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
                throw tooShort(t + 1);
            for (let c = 0, i = 0; c < channels; c++)
                for (const p of positions)
                    codes[c * count + p] = found[i++];
        }
        network.apply(codes, state);
    }
}
export class ProgressivePicture {
    decoder;
    #container = new Container();
    #latent = null;
    #residual = null;
    #base = null;
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
    get residual() {
        return this.#residual?.tiles.map(({ codes }) => codes) ?? [];
    }
    get waiting() {
        return this.#container.segments.length - this.segments;
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
        if (this.segments < MOST_ITERATIONS)
            this.decoder.decode(segment, (this.#latent ??= this.#begin(segment)), this.segments);
        else
            this.#residual = this.decoder.residual.decode(segment, this.#residual, this.header, this.#latent);
        this.segments++;
        return true;
    }
    finish() {
        this.#container.finish();
    }
    render(correct = true) {
        if (!this.segments || !this.header)
            throw new BhdError("The file ends before its first segment is complete: get the whole file.");
        const { header } = this;
        const { width, height, quality } = header;
        const mayGoOn = quality > MOST_ITERATIONS && this.segments >= MOST_ITERATIONS;
        if (!mayGoOn || !(correct || this.#residual))
            return { width, height, data: this.#draw(header, correct) };
        this.#base ??= this.#draw(header, true);
        const data = this.#base.slice();
        if (this.#residual)
            this.decoder.residual.add(this.#residual, header, data);
        return { width, height, data };
    }
    #draw({ width, height, grey, optimised, iterations, stepScale }, correct) {
        const t = Math.min(this.segments, iterations) - 1;
        const padded = this.decoder.synthesis.render(this.#latent, t, optimised ? iterations : 0, stepScale, correct);
        const row = 4 * BLOCK * this.#latent.width;
        const data = new Uint8ClampedArray(4 * width * height);
        for (let y = 0; y < height; y++)
            data.set(padded.subarray(y * row, y * row + 4 * width), 4 * y * width);
        if (grey) {
            for (let i = 0; i < data.length; i += 4) {
                data.fill((data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16, i, i + 3);
            }
        }
        return data;
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
