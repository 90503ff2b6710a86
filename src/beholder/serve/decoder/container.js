export class BhdError extends Error {
    name = "BhdError";
}
export const ICC = 1;
export const OPACITY = 3;
const MAGIC = [0x8b, 0x42, 0x48, 0x44];
const VERSION = 2;
const ALPHA_STEPS = 250;
export const MOST_ITERATIONS = 8;
const BEST_QUALITY = 12;
const MOST_CHUNKS = 64;
const MOST_PIXELS = 178_956_970;
const BLOCK = 16;
const CRC = new Uint32Array(256).map((_, n) => {
    for (let bit = 0; bit < 8; bit++)
        n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
});
export function crc32(data, before = 0) {
    let sum = ~before;
    for (const byte of data)
        sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
}
const MORE = new Error("more bytes are needed");
export class Container {
    header = null;
    segments = [];
    #bytes = new Uint8Array(1 << 12);
    #length = 0;
    #position = 0;
    #seed = 0;
    get complete() {
        return this.header !== null && this.segments.length === this.header.quality;
    }
    get rest() {
        return this.#length - this.#position;
    }
    push(data) {
        if (this.#length + data.length > this.#bytes.length) {
            const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + data.length));
            larger.set(this.#bytes.subarray(0, this.#length));
            this.#bytes = larger;
        }
        this.#bytes.set(data, this.#length);
        this.#length += data.length;
        MAGIC.forEach((byte, i) => {
            if (i < this.#length && this.#bytes[i] !== byte)
                throw new BhdError("This is no .bhd file: its first bytes are not those of one.");
        });
        try {
            if (!this.header) {
                this.#position = 0;
                this.header = this.#readHeader();
                this.#seed = crc32(this.#bytes.subarray(0, this.#position));
            }
            while (!this.complete)
                this.#readSegment();
        }
        catch (error) {
            if (error !== MORE)
                throw error;
            return;
        }
        if (this.rest)
            throw new BhdError("Bytes follow the last segment of this .bhd file: it is damaged, get it anew.");
    }
    finish() {
        if (!this.header)
            throw new BhdError("This .bhd file ends inside its header: get the whole file.");
        if (!this.segments.length)
            throw new BhdError("The file ends before its first segment is complete: get the whole file.");
    }
    #readHeader() {
        this.#read(MAGIC.length);
        const version = this.#read(1)[0];
        if (version !== VERSION)
            throw new BhdError(`This .bhd file has version ${version}, and this decoder reads version ${VERSION}.`);
        const model = [...this.#read(8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        const [width, height] = [this.#varint(), this.#varint()];
        if (width < 1 || height < 1)
            throw new BhdError(`The file claims an image of ${width} x ${height} pixels: it is damaged.`);
        const padded = (side) => Math.ceil(side / BLOCK) * BLOCK;
        if (padded(width) * padded(height) > MOST_PIXELS)
            throw new BhdError(`An image of ${width} x ${height} pixels is too large to be decoded.`);
        const [alpha, flags] = this.#read(2);
        const quality = flags & 15;
        const iterations = Math.min(quality, MOST_ITERATIONS);
        const damaged = new BhdError("The header of this .bhd file is damaged: get the file anew.");
        if (quality < 1 || quality > BEST_QUALITY || alpha > ALPHA_STEPS)
            throw damaged;
        const scale = flags & 0x80 ? (this.#read(1)[0] << 24) >> 24 : 0;
        const [stepScale, residualScale] = quality > MOST_ITERATIONS ? [0, scale] : [scale, 0];
        const chunks = new Map();
        if (flags & 0x20) {
            const count = this.#varint();
            if (count > MOST_CHUNKS)
                throw damaged;
            for (let i = 0; i < count; i++) {
                const tag = this.#read(1)[0];
                const length = this.#varint();
                const checksum = this.#checksum();
                const chunk = this.#read(length).slice();
                if (crc32(chunk) !== checksum)
                    throw new BhdError("The checksum of the metadata is wrong: the file is damaged, get it anew.");
                chunks.set(tag, chunk);
            }
        }
        const [grey, optimised] = [Boolean(flags & 0x10), Boolean(flags & 0x40)];
        return { model, width, height, alpha: alpha / ALPHA_STEPS, quality, iterations, grey, optimised, stepScale, residualScale, chunks };
    }
    #readSegment() {
        const start = this.#position;
        try {
            const length = this.#varint();
            const checksum = this.#checksum();
            const segment = this.#read(length).slice();
            if (crc32(segment, this.#seed) !== checksum) {
                throw new BhdError(`The checksum of segment ${this.segments.length + 1} is wrong: the file is damaged, get it anew.`);
            }
            this.segments.push(segment);
        }
        catch (error) {
            if (error === MORE)
                this.#position = start;
            throw error;
        }
    }
    #read(count) {
        if (this.#position + count > this.#length)
            throw MORE;
        this.#position += count;
        return this.#bytes.subarray(this.#position - count, this.#position);
    }
    #checksum() {
        const [a, b, c, d] = this.#read(4);
        return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
    }
    #varint() {
        let value = 0;
        for (let factor = 1; factor < 2 ** 35; factor *= 128) {
            const byte = this.#read(1)[0];
            value += (byte & 127) * factor;
            if (byte < 128)
                return value;
        }
        throw new BhdError("The header of this .bhd file is damaged: get the file anew.");
    }
}
