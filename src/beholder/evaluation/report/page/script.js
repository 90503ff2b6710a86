"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const shown = data.series.map(() => true);
  const M = { left: 58, right: 14, top: 12, bottom: 44 };
  let W, H;  // pixels of the plot that is being drawn
  // The namespace of SVG is asked of the parser, so that no address stands in this page.
  const NS = (() => { const box = document.createElement("div"); box.innerHTML = "<svg></svg>"; return box.firstChild.namespaceURI; })();

  const element = (name, attributes, parent, text) => {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const decibels = (value) => -10 * Math.log10(Math.max(1 - value, 1e-12));
  const plain = (value) => String(Number(value.toPrecision(6)));
  const colour = (series) => `var(--s${series})`;

  const POLYGONS = {
    s: [[-1, -1], [1, -1], [1, 1], [-1, 1]], D: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
    "^": [[0, -1.25], [1.2, 1], [-1.2, 1]], v: [[0, 1.25], [1.2, -1], [-1.2, -1]],
    "<": [[-1.25, 0], [1, -1.2], [1, 1.2]], ">": [[1.25, 0], [-1, -1.2], [-1, 1.2]],
    P: [[-.4, -1.2], [.4, -1.2], [.4, -.4], [1.2, -.4], [1.2, .4], [.4, .4], [.4, 1.2], [-.4, 1.2], [-.4, .4], [-1.2, .4], [-1.2, -.4], [-.4, -.4]],
    d: [[0, -1.4], [.8, 0], [0, 1.4], [-.8, 0]],
  };
  const corners = (count) => Array.from({ length: count }, (_, i) => [1.2 * Math.sin(2 * Math.PI * i / count), -1.2 * Math.cos(2 * Math.PI * i / count)]);
  const star = corners(10).map(([x, y], i) => i % 2 ? [x / 2, y / 2] : [1.2 * x, 1.2 * y]);
  Object.assign(POLYGONS, { p: corners(5), h: corners(6), H: corners(6), "*": star, X: POLYGONS.P.map(([x, y]) => [(x - y) * .75, (x + y) * .75]) });
  const marker = (parent, kind, x, y, r, fill) => {
    const polygon = POLYGONS[kind];
    if (!polygon) return element("circle", { cx: x, cy: y, r, fill, class: "halo" }, parent);
    return element("polygon", { points: polygon.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" "), fill, class: "halo" }, parent);
  };
  const dash = (series, width) => data.series[series].dash.map((length) => length * width).join(" ");

  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * .999) || 10 * power;
    const result = [];
    for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-6; tick += step) result.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
    return result;
  }
  // Round values of MS-SSIM, about equally far apart in dB, as [place in dB, name].
  function similarityTicks(low, high, count) {
    const found = [];
    for (const digits of [[1], [2, 5], [3, 7], [4, 6, 8, 9], [1.5, 2.5], [1.2, 1.7, 3.5, 4.5, 5.5]]) for (let power = 1; power < 8; power++) for (const digit of digits) {
      const value = Number((1 - digit * 10 ** -power).toFixed(power + 1)), place = decibels(value);
      if (place >= low && place <= high && found.every(([other]) => Math.abs(place - other) >= (high - low) / count)) found.push([place, String(value)]);
    }
    if (found.length > 2) return found;
    const ends = [low, high].map((place) => 1 - 10 ** (-place / 10));
    return ticks(...ends, count - 2).map((value) => [decibels(value), plain(value)]).filter(([place]) => place >= low && place <= high);
  }
  function rateTicks(low, high) {
    const result = [];
    for (let power = -4; power < 3; power++) for (const m of [1, 2, 5]) {
      const tick = m * 10 ** power;
      if (tick >= low && tick <= high) result.push(tick);
    }
    return result;
  }
  const scale = (low, high, from, to, logarithmic) => {
    const f = logarithmic ? Math.log : (x) => x;
    return (x) => from + (f(x) - f(low)) / (f(high) - f(low) || 1) * (to - from);
  };

  // How a measure is drawn and told.
  const view = () => Number($("view").value || 0);
  const height = (name) => data.measures[name].fraction ? (v) => 100 * v : data.measures[name].decibels ? decibels : (v) => v;
  const axisName = (name) => data.measures[name].title + (data.measures[name].fraction ? " (%)" : "");
  const told = (name, v) => data.measures[name].fraction ? (100 * v).toFixed(1) + " %" : data.measures[name].decibels ? v.toFixed(4) : Math.abs(v) >= 10 ? v.toFixed(2) : v.toFixed(4);

  function sizeTo(box) {
    W = Math.max(box.clientWidth, 280);
    H = Math.round(Math.min(Math.max(W * .68, 260), 430));
  }
  function frame(box, label, xName, yName, x, y, xTicks, yTicks) {
    box.replaceChildren();
    const svg = element("svg", { width: W, height: H, role: "application", tabindex: 0, "aria-label": label + ". Arrow keys step through the points." }, box);
    const named = (tick) => Array.isArray(tick) ? tick : [tick, plain(tick)];
    for (const [tick, name] of yTicks.map(named)) {
      element("line", { x1: M.left, x2: W - M.right, y1: y(tick), y2: y(tick), class: "grid" }, svg);
      element("text", { x: M.left - 7, y: y(tick) + 4, "text-anchor": "end" }, svg, name);
    }
    for (const [tick, name] of xTicks.map(named)) {
      element("line", { x1: x(tick), x2: x(tick), y1: M.top, y2: H - M.bottom, class: "grid" }, svg);
      element("text", { x: x(tick), y: H - M.bottom + 17, "text-anchor": "middle" }, svg, name);
    }
    element("line", { x1: M.left, x2: W - M.right, y1: H - M.bottom, y2: H - M.bottom, class: "axis" }, svg);
    element("text", { x: (M.left + W - M.right) / 2, y: H - 8, "text-anchor": "middle", class: "name" }, svg, xName);
    element("text", { transform: `translate(14 ${(M.top + H - M.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "name" }, svg, yName);
    return svg;
  }

  // Points: {x, y, series, text}, in the order of the arrow keys.
  function explore(svg, points) {
    const ring = element("circle", { r: 8, class: "chosen", visibility: "hidden" }, svg);
    let current = -1;
    const choose = (index) => {
      current = index;
      const point = points[index], tip = $("tip");
      if (!point) { ring.setAttribute("visibility", "hidden"); tip.hidden = true; return; }
      ring.setAttribute("cx", point.x); ring.setAttribute("cy", point.y); ring.setAttribute("visibility", "visible");
      tip.textContent = point.text; tip.hidden = false;
      const area = svg.getBoundingClientRect(), left = area.left + point.x, top = area.top + point.y;
      const size = tip.getBoundingClientRect();
      tip.style.left = Math.max(6, left + 16 + size.width < innerWidth ? left + 16 : left - 16 - size.width) + "px";
      tip.style.top = Math.max(6, Math.min(innerHeight - size.height - 6, top - size.height / 2)) + "px";
    };
    svg.addEventListener("pointermove", (event) => {
      const area = svg.getBoundingClientRect(), x = event.clientX - area.left, y = event.clientY - area.top;
      let best = -1, distance = 45 ** 2;
      points.forEach((point, index) => {
        const d = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (d < distance) { distance = d; best = index; }
      });
      choose(best);
    });
    svg.addEventListener("pointerleave", () => choose(-1));
    svg.addEventListener("blur", () => choose(-1));
    svg.addEventListener("keydown", (event) => {
      if (!points.length) return;
      const series = [...new Set(points.map((point) => point.series))];
      let index = Math.max(current, 0);
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        if (current >= 0) index = (index + (event.key === "ArrowRight" ? 1 : points.length - 1)) % points.length;
      } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        const step = event.key === "ArrowDown" ? 1 : series.length - 1;
        const next = series[(series.indexOf(points[index].series) + step) % series.length];
        const near = points.map((point, i) => [point.series === next ? Math.abs(point.x - points[index].x) : Infinity, i]);
        index = near.reduce((a, b) => b[0] < a[0] ? b : a)[1];
      } else if (event.key === "Escape") { choose(-1); return; } else return;
      event.preventDefault();
      choose(index);
      $("told").textContent = points[index].text;
    });
  }

  function drawCurves(box, name) {
    const all = data.points[view()], logarithmic = $("logarithmic").checked, plainly = height(name);
    // Identical pictures, infinitely good in dB, are drawn a little above all others.
    const known = all.flat().flatMap((point) => name in point[3] ? point[3][name].filter((v) => v !== null && v < 1) : []);
    const f = data.measures[name].decibels ? (v) => v < 1 ? decibels(v) : decibels(Math.max(...known, 0)) + 3 : plainly;
    const curves = all.map((points) => points.filter((point) => point[0] > 0 && name in point[3] && Number.isFinite(f(point[3][name][0]))));
    const visible = curves.flatMap((points, series) => shown[series] ? points : []);
    if (!visible.length) { box.replaceChildren("Nothing is known of this."); return; }
    sizeTo(box);
    const rates = visible.map((point) => point[0]), values = visible.flatMap((point) => point[3][name].filter((v) => v !== null).map(f));
    let low = Math.min(...values), high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * .05;
    low -= room;
    if (name === "preserved") high = Math.max(high, 100);  // all that there is, or where the highest interval ends
    else high = data.measures[name].fraction ? Math.min(high + room, Math.max(high, 100)) : high + room;
    if (data.measures[name].fraction) low = Math.max(low, -1);
    const left = logarithmic ? Math.min(...rates) / 1.1 : 0, right = Math.max(...rates) * (logarithmic ? 1.1 : 1.03);
    const x = scale(left, right, M.left, W - M.right, logarithmic), y = scale(low, high, H - M.bottom, M.top, false);
    const svg = frame(box, `${data.measures[name].title} over bits per pixel, ${data.views[view()]}`, "bits per pixel", axisName(name), x, y,
      logarithmic ? rateTicks(left, right) : ticks(left, right, 6), data.measures[name].decibels ? similarityTicks(low, high, 7) : ticks(low, high, 6));
    if (name === "preserved") element("line", { x1: M.left, x2: W - M.right, y1: y(100), y2: y(100), class: "whole" }, svg);
    const points = [];
    for (const pass of ["band", "line"]) curves.forEach((curve, series) => {
      if (!shown[series] || !curve.length) return;
      if (pass === "band") {
        const edge = (side) => curve.map((point) => [x(point[0]), y(f(point[3][name][side] ?? point[3][name][0]))]);
        element("polygon", { points: [...edge(2), ...edge(1).reverse()].map((pair) => pair.join(",")).join(" "), fill: colour(series), opacity: .14 }, svg);
        return;
      }
      const width = data.series[series].main ? 2.6 : 1.8;
      element("polyline", { points: curve.map((point) => `${x(point[0])},${y(f(point[3][name][0]))}`).join(" "), fill: "none", stroke: colour(series),
        "stroke-width": width, "stroke-dasharray": dash(series, width), "stroke-linejoin": "round" }, svg);
      for (const point of curve) {
        const [value, from, to] = point[3][name], at = { x: x(point[0]), y: y(f(value)) };
        marker(svg, data.series[series].marker, at.x, at.y, 4, colour(series));
        const interval = from === null ? "" : `\n95 %: ${told(name, from)} to ${told(name, to)}`;
        points.push({ ...at, series, text: `${data.series[series].label}, quality ${point[1]}\n${point[0].toFixed(3)} bpp\n${data.measures[name].title} ${told(name, value)}${interval}` });
      }
    });
    explore(svg, points);
  }

  function drawTradeoff() {
    const step = Number($("slider").value), rates = data.tradeoff.bpp, at = data.tradeoff.at[view()], measure = data.tradeoff.measure[view()];
    const found = at.map((points, series) => shown[series] && points[step] ? { series, human: points[step][0], machine: 100 * points[step][1] } : null).filter(Boolean);
    $("rate").textContent = rates.length ? rates[step].toPrecision(2) : "";
    if (!found.length || !measure) { $("tradeoff-plot").replaceChildren(measure ? "No curve reaches this rate with both measures." : "No classifier looked."); return; }
    sizeTo($("tradeoff-plot"));
    // Not so close that noise fills the plot.
    const range = (values, least) => {
      const low = Math.min(...values), high = Math.max(...values), room = Math.max((high - low) * .15, (least - (high - low)) / 2);
      return [low - room, high + room];
    };
    const [left, right] = range(found.map((p) => p.human), 2), [low, high] = range(found.map((p) => p.machine), 10);
    const x = scale(left, right, M.left, W - M.right, false), y = scale(low, high, H - M.bottom, M.top, false);
    const title = data.measures[measure].title;
    const svg = frame($("tradeoff-plot"), `MS-SSIM against ${title} at ${$("rate").textContent} bits per pixel`, "people: MS-SSIM \u2192", `machines: ${title} (%) \u2192`,
      x, y, similarityTicks(left, right, 6), ticks(low, high, 6));
    const paths = {};
    for (const p of found) if (data.series[p.series].main) (paths[data.series[p.series].codec] ??= []).push(p);
    for (const path of Object.values(paths)) element("polyline", { points: path.map((p) => `${x(p.human)},${y(p.machine)}`).join(" "), fill: "none", stroke: colour(path[0].series), "stroke-width": 1.8 }, svg);
    explore(svg, found.map((p) => {
      const spot = { x: x(p.human), y: y(p.machine) }, label = data.series[p.series].label;
      marker(svg, data.series[p.series].marker, spot.x, spot.y, 6.5, colour(p.series));
      const path = paths[data.series[p.series].codec];
      if (!data.series[p.series].main) {
        const end = spot.x > W - 70;
        element("text", { x: spot.x + (end ? -11 : 11), y: spot.y + 4, "text-anchor": end ? "end" : "start" }, svg, label);
      } else if (p === path[0] || p === path[path.length - 1]) {  // of a path only the ends are named
        const other = p === path[0] ? path[path.length - 1] : path[0], above = p.machine > other.machine || (p.machine === other.machine && p !== path[0]);
        element("text", { x: spot.x, y: spot.y + (above ? -12 : 21), "text-anchor": "middle" }, svg, label.split(", ").pop());
      }
      const similarity = 1 - 10 ** (-p.human / 10);
      return { ...spot, series: p.series, text: `${label} at ${$("rate").textContent} bpp\nMS-SSIM ${similarity.toFixed(4)}\n${title} ${p.machine.toFixed(1)} %` };
    }));
  }

  function fill(select, names) {
    const before = select.value;
    const known = names.filter((name) => data.points[view()].some((points) => points.some((point) => name in point[3])));
    select.replaceChildren(...known.map((name) => new Option(data.measures[name].title, name)));
    if (known.includes(before)) select.value = before;
    select.hidden = known.length < 2;
    return known.length > 0;
  }
  function draw() {
    for (const which of ["machine", "human"]) {
      const some = fill($(which), data[which]);
      $(`${which}-figure`).hidden = !some;
      if (some) drawCurves($(`${which}-plot`), $(which).value);
    }
    $("tradeoff-figure").hidden = !data.tradeoff.bpp.length || !data.tradeoff.measure[view()] || !data.human.includes("ms_ssim");
    if (!$("tradeoff-figure").hidden) drawTradeoff();
  }

  // Tables.
  function filter() {
    for (const row of document.querySelectorAll("tbody tr")) {
      row.hidden = Number(row.dataset.view) !== view() || (row.dataset.anchor !== undefined && row.dataset.anchor !== $("anchor").value);
    }
  }
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort;
      const rows = [...table.tBodies[0].rows];
      // What is not known comes last either way.
      rows.sort((a, b) => key(a) === undefined ? (key(b) === undefined ? 0 : 1) : key(b) === undefined ? -1 : down * (key(a) - key(b)));
      table.tBodies[0].append(...rows);
    }));
  }

  // Pictures: hold one to see the original in its place.
  for (const button of document.querySelectorAll(".hold")) {
    const image = button.firstElementChild, own = image.src;
    const original = button.closest(".row").querySelector(".original img").src;
    const swap = (on) => { image.src = on ? original : own; };
    button.addEventListener("pointerdown", () => swap(true));
    for (const kind of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) button.addEventListener(kind, () => swap(false));
    button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); swap(true); } });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // Controls.
  data.series.forEach((series, number) => {
    const button = document.createElement("button");
    button.type = "button"; button.setAttribute("aria-pressed", "true");
    const key = element("svg", { viewBox: "0 0 34 12", "aria-hidden": "true" }, button);
    element("line", { x1: 0, x2: 34, y1: 6, y2: 6, stroke: colour(number), "stroke-width": 2.4, "stroke-dasharray": dash(number, 1.6) }, key);
    marker(key, series.marker, 17, 6, 4, colour(number));
    button.append(series.label);
    button.addEventListener("click", () => { shown[number] = !shown[number]; button.setAttribute("aria-pressed", shown[number]); draw(); });
    $("legend").append(button);
  });
  const selects = [$("view"), ...document.querySelectorAll("select.view")];
  for (const select of selects) {
    select.parentElement.hidden = data.views.length < 2;
    select.addEventListener("change", () => { for (const other of selects) other.value = select.value; draw(); filter(); });
  }
  const rates = data.points.flat(2).map((point) => point[0]).filter((rate) => rate > 0);
  $("logarithmic").checked = Math.max(...rates) / Math.min(...rates) >= 6;
  $("slider").max = Math.max(data.tradeoff.bpp.length - 1, 0);
  // Begin where most curves are.
  const reached = data.tradeoff.bpp.map((_, step) => data.tradeoff.at[0].filter((points) => points[step]).length);
  const most = reached.map((count, step) => [count, step]).filter(([count]) => count === Math.max(...reached));
  $("slider").value = most.length ? most[Math.floor(most.length / 3)][1] : 0;
  $("slider").addEventListener("input", drawTradeoff);
  for (const id of ["machine", "human", "logarithmic"]) $(id).addEventListener("change", draw);
  $("anchor").addEventListener("change", filter);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
  addEventListener("scroll", () => { $("tip").hidden = true; }, { passive: true });
  draw();
  filter();
})();
