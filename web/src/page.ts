// The page: a file dropped, chosen, or named in the address (?file=photo.bhd), painted as its segments arrive.

import type { Reply } from "./worker.js";

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const canvas = byId<HTMLCanvasElement>("picture");
const status = byId("status");
const problem = byId("error");
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
let id = 0;
let name = "";

function open(file: Blob | string): void {
  id++;
  name = typeof file === "string" ? file.split("/").pop()! : (file as File).name;
  problem.hidden = true;
  canvas.hidden = true;
  canvas.dataset.paints = "0";
  status.textContent = `${name}: waiting for the first segment …`;
  worker.postMessage({ id, file });
}

worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  if (data.id !== id) return;
  if (data.kind === "paint") paint(data);
  else if (data.kind === "done") finish(data);
  else {
    problem.textContent = data.sentence;
    problem.hidden = false;
    status.textContent = name;
  }
};
worker.onerror = () => {
  problem.textContent = "The decoder cannot be started: this browser needs WebAssembly with SIMD.";
  problem.hidden = false;
};

function paint(found: Reply & { kind: "paint" }): void {
  if (canvas.width !== found.width || canvas.height !== found.height || canvas.hidden) {
    canvas.width = found.width;
    canvas.height = found.height;
    canvas.hidden = false;
  }
  canvas.getContext("2d")!.putImageData(new ImageData(new Uint8ClampedArray(found.data), found.width, found.height), 0, 0);
  canvas.dataset.paints = String(Number(canvas.dataset.paints) + 1);
  canvas.dataset.segments = String(found.segments);
  status.textContent = `${name}: segment ${found.segments} of ${found.quality}, ${found.seconds.toFixed(2)} s`;
}

function finish({ segments, quality, bytes, seconds, profile }: Reply & { kind: "done" }): void {
  const parts = [`${name}: ${canvas.width} × ${canvas.height} pixels, ${bytes.toLocaleString("en")} bytes, ${seconds.toFixed(2)} s`];
  if (segments < quality) parts.push(`the file ends after segment ${segments} of ${quality}`);
  else parts.push(`quality ${segments}`);
  if (profile) parts.push("its colour profile is not applied here");
  status.textContent = parts.join(", ");
  canvas.dataset.done = String(id);
}

byId<HTMLInputElement>("file").addEventListener("change", (event) => {
  const file = (event.target as HTMLInputElement).files?.[0];
  if (file) open(file);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) open(file);
});
const asked = new URLSearchParams(location.search).get("file");
if (asked) open(new URL(asked, location.href).href);
