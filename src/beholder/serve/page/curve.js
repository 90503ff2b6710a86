// The rate-distortion curves of one photo, drawn point by point.

const COLOURS = ["#d1495b", "#30638e", "#edae49", "#00798c", "#7b5ea7", "#66a182", "#8d5524", "#5c677d"];
const SIZE = { width: 900, height: 420, left: 56, right: 16, top: 14, bottom: 40 };
const chart = document.getElementById("chart");
const legend = document.getElementById("legend");
const METRICS = {
  // Differences near 1 are what matters: the axis is in decibels, the labels are MS-SSIM.
  ms_ssim: { name: "MS-SSIM", axis: (v) => -10 * Math.log10(Math.max(1 - v, 1e-5)),
    ticks: [0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999] },
  psnr: { name: "PSNR, dB", axis: (v) => v, ticks: [15, 20, 25, 30, 35, 40, 45, 50] },
};

let points = [];
let here = null;
let metric = "ms_ssim";

/** Forget all points. */
export function clear() {
  points = [];
  draw();
}

/** Add one point of one codec: {codec, quality, bytes, bpp, ms_ssim, psnr}. */
export function add(point) {
  points.push(point);
  draw();
}

/** Ring the point of the file that is shown, or none. */
export function mark(figures) {
  here = figures;
  draw();
}

/** Choose what the vertical axis shows. */
export function choose(name) {
  metric = name;
  draw();
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw() {
  chart.replaceChildren();
  legend.replaceChildren();
  const { axis, ticks, name } = METRICS[metric];
  const all = points.filter((p) => p[metric] !== null);
  if (!all.length) return;
  const most = Math.min(Math.max(...all.map((p) => p.bpp)) * 1.03, 1.8);
  const shown = all.filter((p) => p.bpp <= most);
  const heights = shown.map((p) => axis(p[metric]));
  const [low, high] = [Math.min(...heights) - 0.5, Math.max(...heights) + 0.5];
  const x = (bpp) => SIZE.left + (bpp / most) * (SIZE.width - SIZE.left - SIZE.right);
  const y = (v) => SIZE.height - SIZE.bottom - ((axis(v) - low) / (high - low)) * (SIZE.height - SIZE.top - SIZE.bottom);
  const svg = element("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": `${name} over bits a pixel` });
  for (const tick of ticks.filter((t) => axis(t) >= low && axis(t) <= high)) {
    svg.append(element("line", { class: "grid", x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y(tick), y2: y(tick) }));
    svg.append(element("text", { x: SIZE.left - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  const step = most > 1 ? 0.25 : most > 0.4 ? 0.1 : 0.05;
  for (let bpp = 0; bpp <= most; bpp += step) {
    svg.append(element("line", { class: "grid", x1: x(bpp), x2: x(bpp), y1: SIZE.top, y2: SIZE.height - SIZE.bottom }));
    svg.append(element("text", { x: x(bpp), y: SIZE.height - SIZE.bottom + 17, "text-anchor": "middle" }, bpp.toFixed(2)));
  }
  svg.append(element("text", { x: SIZE.width / 2, y: SIZE.height - 6, "text-anchor": "middle" }, "bits a pixel"));
  svg.append(element("text", { x: SIZE.left + 6, y: SIZE.top + 12 }, name));
  [...new Set(points.map((p) => p.codec))].forEach((codec, number) => {
    const colour = COLOURS[number % COLOURS.length];
    const own = shown.filter((p) => p.codec === codec).sort((a, b) => a.bpp - b.bpp);
    const path = own.map((p, i) => `${i ? "L" : "M"}${x(p.bpp).toFixed(1)} ${y(p[metric]).toFixed(1)}`).join("");
    svg.append(element("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const p of own) {
      const dot = element("circle", { cx: x(p.bpp), cy: y(p[metric]), r: 3.5, fill: colour, "data-codec": codec });
      const value = p[metric].toFixed(metric === "psnr" ? 2 : 4);
      dot.append(element("title", {}, `${codec}, quality ${p.quality}: ${p.bytes.toLocaleString("en")} bytes, ${p.bpp.toFixed(3)} bpp, ${name} ${value}`));
      svg.append(dot);
    }
    const entry = document.createElement("span");
    const line = document.createElement("i");
    line.style.background = colour;
    entry.append(line, codec);
    legend.append(entry);
  });
  if (here && here[metric] !== null && here.bpp <= most && axis(here[metric]) >= low && axis(here[metric]) <= high) {
    svg.append(element("circle", { class: "here", cx: x(here.bpp), cy: y(here[metric]), r: 8 }));
  }
  chart.append(svg);
}
