import { BhdError, Decoder, ICC, OPACITY } from "./index.js";
const ready = Decoder.load(new URL("model.bin", import.meta.url));
let newest = 0;
let turn = Promise.resolve();
onmessage = ({ data }) => {
    newest = data.id;
    turn = turn.then(() => decode(data));
};
async function decode({ id, file }) {
    try {
        const decoder = await ready;
        const start = performance.now();
        const seconds = () => (performance.now() - start) / 1000;
        const stream = await open(file);
        const picture = decoder.open();
        let bytes = 0;
        let opacity = null;
        for (const reader = stream.getReader();;) {
            const { done, value } = await reader.read();
            if (id !== newest) {
                await reader.cancel();
                return;
            }
            if (done)
                break;
            bytes += value.length;
            picture.push(value);
            while (picture.step()) {
                opacity ??= await readOpacity(picture);
                const corrected = picture.waiting === 0;
                post(id, picture, picture.render(corrected), opacity, corrected, seconds());
            }
        }
        picture.finish();
        const { quality, chunks } = picture.header;
        reply({ id, kind: "done", segments: picture.segments, quality, bytes, seconds: seconds(), profile: chunks.has(ICC) });
    }
    catch (error) {
        reply({ id, kind: "error", sentence: sentence(error) });
    }
}
async function open(file) {
    if (typeof file !== "string")
        return file.stream();
    const answer = await fetch(file).catch(() => null);
    if (!answer?.ok || !answer.body)
        throw new BhdError(`${file} cannot be loaded (${answer ? answer.status : "no answer"}).`);
    return answer.body;
}
async function readOpacity(picture) {
    const { chunks, width, height } = picture.header;
    const chunk = chunks.get(OPACITY);
    if (!chunk)
        return null;
    try {
        const bitmap = await createImageBitmap(new Blob([chunk]));
        if (bitmap.width !== width || bitmap.height !== height)
            throw new Error("another size");
        const context = new OffscreenCanvas(width, height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return Uint8Array.from({ length: width * height }, ((data) => (_, i) => data[4 * i])(context.getImageData(0, 0, width, height).data));
    }
    catch {
        throw new BhdError("The opacity plane of this .bhd file is damaged: get the file anew.");
    }
}
function post(id, picture, { width, height, data }, opacity, corrected, seconds) {
    if (opacity)
        for (let i = 0; i < opacity.length; i++)
            data[4 * i + 3] = opacity[i];
    const { segments } = picture;
    reply({ id, kind: "paint", width, height, data: data.buffer, segments, quality: picture.header.quality, corrected, seconds }, [data.buffer]);
}
function reply(message, transfer = []) {
    postMessage(message, { transfer });
}
function sentence(error) {
    if (error instanceof BhdError)
        return error.message;
    if (error instanceof RangeError)
        return "There is not enough memory for this picture: decode it with `beholder decompress`.";
    return `The decoder failed (${error instanceof Error ? error.message : error}): please report this file.`;
}
