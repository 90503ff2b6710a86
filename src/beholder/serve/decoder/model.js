import { BhdError } from "./container.js";
const MAGIC = "BHW1";
export const FORMAT = 2;
const SIZES = { int16: 2, int32: 4, uint16: 2, float16: 2, float32: 4 };
export class Model {
    header;
    arrays;
    constructor(header, arrays) {
        this.header = header;
        this.arrays = arrays;
    }
    has(name) {
        return this.arrays.has(name);
    }
    get(name) {
        const found = this.arrays.get(name);
        if (!found)
            throw new BhdError(`The decoder's model lacks ${name}: write it anew with \`beholder export-web\`.`);
        return found;
    }
    floats(name) {
        return this.get(name).data;
    }
    integers(name) {
        return this.get(name).data;
    }
    static async parse(bytes) {
        const damaged = new BhdError("The decoder's model is damaged: load the page again.");
        if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(0, 4)) !== MAGIC)
            throw damaged;
        const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
        let header;
        let payload;
        try {
            header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
            const deflated = new Blob([bytes.subarray(8 + length)]);
            const stream = deflated.stream().pipeThrough(new DecompressionStream("deflate"));
            payload = new Uint8Array(await new Response(stream).arrayBuffer());
        }
        catch {
            throw damaged;
        }
        if (header.format !== FORMAT)
            throw new BhdError("The decoder's model is of another version: write it anew with `beholder export-web`.");
        const arrays = new Map();
        let place = 0;
        for (const { name, type, shape } of header.arrays) {
            const count = shape.reduce((a, b) => a * b, 1);
            const planes = Array.from({ length: SIZES[type] }, (_, i) => payload.subarray(place + i * count, place + (i + 1) * count));
            place += SIZES[type] * count;
            if (place > payload.length)
                throw damaged;
            arrays.set(name, { shape, data: decode(type, planes, count) });
        }
        return new Model(header, arrays);
    }
}
function decode(type, planes, count) {
    const bits = new Int32Array(count);
    planes.forEach((plane, number) => {
        for (let i = 0; i < count; i++)
            bits[i] |= plane[i] << (8 * number);
    });
    if (type === "float32")
        return new Float32Array(bits.buffer);
    if (type === "float16") {
        const values = new Float32Array(count);
        for (let i = 0; i < count; i++)
            values[i] = fromHalf(bits[i]);
        return values;
    }
    if (type !== "uint16")
        for (let i = 0; i < count; i++)
            bits[i] = (bits[i] >>> 1) ^ -(bits[i] & 1);
    return bits;
}
const HALVES = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));
function fromHalf(bits) {
    const exponent = (bits >> 10) & 31;
    const value = ((bits & 1023) | (exponent ? 1024 : 0)) * HALVES[exponent];
    return bits & 0x8000 ? -value : value;
}
