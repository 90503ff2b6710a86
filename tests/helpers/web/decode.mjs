// node decode.mjs FOLDER MODEL OUT: decodes with the module in FOLDER each file that a line of the standard input names.
// It prints a line of JSON for each, and writes OUT/NAME.rgba, OUT/NAME.codes and OUT/NAME.residual.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, model, out] = process.argv.slice(2);
const { Decoder, relaxed } = await import(pathToFileURL(`${folder}/index.js`));
const kernels = relaxed() ? "kernels-relaxed.wasm" : "kernels.wasm";
const decoder = await Decoder.create(readFileSync(model), readFileSync(`${folder}/${kernels}`));
for await (const file of createInterface({ input: process.stdin })) {
  const picture = decoder.open();
  try {
    const start = process.cpuUsage();
    picture.push(readFileSync(file));
    while (picture.step());
    picture.finish();
    const middle = process.cpuUsage(start);
    const { width, height, data } = picture.render();
    const all = process.cpuUsage(start);
    writeFileSync(`${out}/${basename(file)}.rgba`, data);
    writeFileSync(`${out}/${basename(file)}.codes`, picture.codes);
    writeFileSync(`${out}/${basename(file)}.residual`, Buffer.concat(picture.residual.map((codes) => new Uint8Array(codes.buffer))));
    const seconds = ({ user, system }) => (user + system) / 1e6;
    console.log(JSON.stringify({ width, height, segments: picture.segments, entropy: seconds(middle), all: seconds(all) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message, name: error.name }));
  }
}
