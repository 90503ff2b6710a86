import { BhdError } from "./container.js";
const BEYOND = 64;
export function begin(heap, segment) {
    const count = Math.ceil(segment.length / 4) + BEYOND / 4;
    const words = heap.allocate(4 * count, true);
    new Uint8Array(heap.call.memory.buffer, words, segment.length).set(segment);
    heap.call.start(words, count);
}
export function checkLength(segment, bits, number) {
    if (bits > 8 * (segment.length + BEYOND))
        throw tooShort(number);
}
export function tooShort(number) {
    return new BhdError(`Segment ${number} of this .bhd file is too short for a picture of its size: the file is damaged, get it anew.`);
}
