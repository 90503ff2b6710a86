// The page: options, requests, figures.  The photo stays in this tab; every request sends it anew.

import * as compare from "./compare.js";
import * as curve from "./curve.js";

const $ = (id) => document.getElementById(id);
const MARK = { true: "same", false: "other" };

let known = { codecs: [], observers: [], targets: [], limits: {} };
let photo = null;
let running = null;
let drawing = null;

/** POST the photo; the parsed answer, or an Error with the server's sentence. */
async function ask(path, query, signal) {
  const answer = await fetch(`api/${path}?${new URLSearchParams(query)}`, { method: "POST", body: photo, signal });
  if (answer.ok) return answer;
  throw new Error((await answer.json().catch(() => ({}))).error ?? `The server answered ${answer.status}.`);
}

function fail(error) {
  if (error.name === "AbortError") return;
  const lost = error instanceof TypeError;
  $("error").textContent = lost ? "The server does not answer: start `beholder serve` again." : error.message;
  $("error").hidden = false;
}

function blob(text, type = "image/png") {
  return new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type });
}

async function open(file) {
  drawing?.abort();
  running?.abort();
  $("error").hidden = true;
  photo = file;
  curve.mark(null);
  curve.clear();
  for (const id of ["download", "result", "facts", "compare", "curves"]) $(id).hidden = true;
  $("go").disabled = true;
  if (file.size > known.limits.bytes) {
    fail(new Error(`The file is larger than ${known.limits.bytes / 2 ** 20} MiB: choose a smaller one.`));
    return;
  }
  try {
    await look(file);
  } catch (error) {
    photo = null;
    $("drop").hidden = false;
    fail(error);
  }
}

async function look(file) {
  const found = await (await ask("look", {})).json();
  if (photo !== file) return;
  $("drop").hidden = true;
  $("compare").hidden = false;
  $("curves").hidden = false;
  $("facts").hidden = false;
  const parts = [file.name, `${found.width} × ${found.height} pixels`, `${found.bytes.toLocaleString("en")} bytes`, `${found.bpp.toFixed(3)} bpp`];
  if (found.header.qualities) {
    const { qualities, complete_qualities: whole, alpha } = found.header;
    parts.push(`rnn, quality ${whole === qualities ? qualities : `${whole} of ${qualities}`}, alpha ${alpha}`);
  }
  $("facts").textContent = parts.join(" · ");
  await compare.show("after", null);
  await compare.show("before", blob(found.picture));
  compare.fit();
  compare.label("original", "");
  $("go").disabled = false;
}

function query() {
  const asked = { codec: $("codec").value, effort: "0" };
  const codec = known.codecs.find((c) => c.name === asked.codec);
  if (!codec || codec.takes_alpha) Object.assign(asked, { alpha: $("alpha").value, effort: $("effort").value });
  if (asked.codec === "auto") asked.effort = "0";
  if (aim() === "quality") asked.quality = $("quality").value;
  else {
    asked.target = $("target").value;
    asked.value = asked.target === "keep-label" ? $("classifier").value : $("value").value;
  }
  return asked;
}

async function compress() {
  running?.abort();
  running = new AbortController();
  const mine = photo;
  $("error").hidden = true;
  $("go").disabled = true;
  $("go").textContent = "Compressing …";
  try {
    const result = await (await ask("evaluate", query(), running.signal)).json();
    if (photo === mine) await present(result);
  } catch (error) {
    if (photo === mine) fail(error);
  } finally {
    $("go").textContent = "Compress";
    $("go").disabled = !photo;
  }
}

async function present(result) {
  const f = result.figures;
  await compare.show("before", blob(result.original));
  await compare.show("after", blob(result.decompressed));
  const alpha = known.codecs.find((c) => c.name === f.codec)?.takes_alpha ? `, alpha ${f.alpha}` : "";
  compare.label("original", `${f.codec}, quality ${f.quality}${alpha}`);
  $("note").textContent = result.note;
  $("note").hidden = !result.note;
  const rows = {
    codec: `${f.codec}, quality ${f.quality}${alpha}`,
    bytes: f.bytes.toLocaleString("en"),
    bpp: f.bpp.toFixed(4),
    "MS-SSIM": f.ms_ssim.toFixed(5),
    PSNR: f.psnr === null ? "∞" : `${f.psnr.toFixed(2)} dB`,
    time: `${f.encode_seconds.toFixed(2)} s, decoded in ${f.decode_seconds.toFixed(2)} s`,
  };
  $("figures").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    text.dataset.figure = name;
    return [term, text];
  }));
  $("seen").tBodies[0].replaceChildren(...result.seen.map(seenRow));
  const file = blob(result.file, "application/octet-stream");
  URL.revokeObjectURL($("download").href);
  $("download").href = URL.createObjectURL(file);
  $("download").download = `${photo.name.replace(/\.[^.]*$/, "")}${result.suffix}`;
  $("download").textContent = `Download ${result.suffix}`;
  $("download").hidden = false;
  $("result").hidden = false;
  curve.mark(f);
}

function seenRow({ classifier, original, compressed }) {
  const row = document.createElement("tr");
  const same = original[0].index === compressed[0].index;
  const cells = [[classifier, null], [original[0], null], [compressed[0], MARK[same]]].map(([what, mark]) => {
    const cell = document.createElement("td");
    if (typeof what === "string") cell.textContent = what;
    else {
      const share = document.createElement("span");
      share.className = "p";
      share.textContent = ` ${(100 * what.probability).toFixed(1)} %`;
      cell.append(what.label, share);
    }
    if (mark) cell.className = mark;
    return cell;
  });
  const list = (predictions) => predictions.map((p) => `${p.label} ${(100 * p.probability).toFixed(1)} %`).join("\n");
  cells[1].title = list(original);
  cells[2].title = list(compressed);
  row.append(...cells);
  return row;
}

async function drawCurves() {
  drawing?.abort();
  const own = (drawing = new AbortController());
  curve.clear();
  $("error").hidden = true;
  $("curve-state").textContent = "computing …";
  try {
    const answer = await ask("curve", { alpha: $("alpha").value }, own.signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let count = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.map(JSON.parse)) {
        if (line.error) throw new Error(line.error);
        if (line.done) $("curve-state").textContent = `${count} files, rnn at alpha ${$("alpha").value}`;
        else {
          curve.add(line);
          $("curve-state").textContent = `computing … ${++count} files`;
        }
      }
    }
  } catch (error) {
    $("curve-state").textContent = "";
    fail(error);
  }
}

const aim = () => document.querySelector("input[name=aim]:checked").value;

function adapt() {
  const byTarget = aim() === "target";
  const auto = [...$("codec").options].find((o) => o.value === "auto");
  if (auto) auto.hidden = auto.disabled = !byTarget;
  if (auto && !byTarget && $("codec").value === "auto") $("codec").selectedIndex = 0;
  const codec = known.codecs.find((c) => c.name === $("codec").value);
  $("alpha-row").hidden = $("effort-row").hidden = Boolean(codec && !codec.takes_alpha);
  if (!codec) $("effort-row").hidden = true;
  $("quality-row").hidden = byTarget;
  $("target-row").hidden = !byTarget;
  const label = $("target").value === "keep-label";
  $("value").hidden = label;
  $("classifier").hidden = !label;
  if (codec && $("quality").dataset.codec !== codec.name) {
    const { lowest, highest, default: usual, unit, higher_is_better: up } = codec.scale;
    Object.assign($("quality"), { min: lowest, max: highest, value: usual });
    $("quality").dataset.codec = codec.name;
    $("quality-name").textContent = up ? "Quality" : `${unit}, lower is better:`;
  }
  $("quality-shown").textContent = $("quality").value;
  $("alpha-shown").textContent = $("alpha").value;
}

function listen() {
  $("form").addEventListener("input", adapt);
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (photo) compress();
  });
  $("file").addEventListener("change", () => $("file").files[0] && open($("file").files[0]));
  $("draw").addEventListener("click", drawCurves);
  $("metric").addEventListener("change", () => curve.choose($("metric").value));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", () => document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => event.clipboardData.files[0] && open(event.clipboardData.files[0]));
}

async function start() {
  known = await (await fetch("api/options")).json();
  const option = (value, text) => new Option(text, value);
  $("codec").append(...known.codecs.map((c) => option(c.name, c.name)));
  $("classifier").append(...known.observers.map((o) => option(o.name, o.name)));
  $("target").append(...known.targets.map((t) => option(t.name, t.text)));
  if (known.targets.length) $("codec").append(option("auto", "auto: the smallest file"));
  else document.querySelector("input[value=target]").disabled = true;
  adapt();
  listen();
  document.body.dataset.ready = "yes";
}

start().catch(fail);
