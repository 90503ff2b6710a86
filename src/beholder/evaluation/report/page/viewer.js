
// A viewer for each image: the original against every kept quality, with a boundary to drag, zoom and a map of differences.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const GAIN = 4, MOST = 8;
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const label = (text, ...controls) => make("label", {}, text + " ", ...controls);
  const range = (max, step, value, name) => {
    const input = make("input", { type: "range", min: 0, max, step, value });
    input.setAttribute("aria-label", name);
    return input;
  };
  const pixels = (image, width, height) => {
    const canvas = make("canvas", { width, height }), context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  };

  for (const viewer of document.querySelectorAll(".viewer")) {
    const curves = data.gallery[Number(viewer.dataset.image)];
    const tiles = [...viewer.closest(".shots").querySelectorAll(".row img")], original = tiles[0];
    const width = Number(original.getAttribute("width")), height = Number(original.getAttribute("height"));
    const source = (curve, step) => curves[curve].steps[step][2] || tiles[curve + 1].getAttribute("src");

    const choice = make("select", {}, ...curves.map((curve, number) => new Option(data.series[curve.series].label, number)));
    const quality = range(0, 1, 0, "Kept quality"), split = range(100, 0.5, 50, "Boundary between original and compressed picture");
    const zoom = range(MOST, 0.5, 1, "Zoom");
    zoom.min = 1;
    const difference = make("input", { type: "checkbox" });
    const facts = make("p", { className: "facts" });
    facts.setAttribute("aria-live", "polite");
    const before = make("img", { src: original.src, alt: "Original", draggable: false });
    const after = make("img", { alt: "Compressed", draggable: false }), map = make("canvas", { width, height, hidden: true });
    map.setAttribute("aria-label", "Map of differences");
    const cover = make("div", { className: "cover" }, after), edge = make("div", { className: "edge" });
    const names = [make("span", { className: "name left", textContent: "original" }), make("span", { className: "name right" })];
    const stage = make("div", { className: "stage", tabIndex: 0 }, before, cover, map, edge, ...names);
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.setAttribute("aria-label", "Picture. Arrow keys move it when it is magnified.");
    viewer.append(
      make("div", { className: "controls" }, label("codec", choice), label("quality", quality), label("zoom", zoom), label(`difference \u00d7 ${GAIN}`, difference)),
      stage, split, facts);
    viewer.hidden = false;

    const centre = { x: 0.5, y: 0.5 };
    function place() {
      const factor = Number(zoom.value), box = stage.getBoundingClientRect();
      for (const axis of ["x", "y"]) centre[axis] = Math.min(Math.max(centre[axis], 0.5 / factor), 1 - 0.5 / factor);
      const [x, y] = [box.width * (0.5 - centre.x * factor), box.height * (0.5 - centre.y * factor)];
      for (const layer of [before, after, map]) {
        layer.style.transform = `translate(${x}px, ${y}px) scale(${factor})`;
        layer.style.imageRendering = factor > 2 ? "pixelated" : "auto";
      }
      cover.style.clipPath = `inset(0 0 0 ${split.value}%)`;
      edge.style.left = `${split.value}%`;
      for (const node of [cover, edge, ...names]) node.hidden = difference.checked;
      split.hidden = difference.checked;
      map.hidden = !difference.checked;
    }
    async function load() {
      const step = Number(quality.value), [text, seen] = curves[choice.value].steps[step];
      facts.textContent = [text, ...seen].join("  \u00b7  ");
      names[1].textContent = choice.selectedOptions[0].textContent;
      after.src = source(Number(choice.value), step);
      place();
      if (!difference.checked) return;
      await Promise.all([before.decode(), after.decode()]);
      const one = pixels(before, width, height), other = pixels(after, width, height);
      for (let i = 0; i < one.data.length; i++) one.data[i] = i % 4 === 3 ? 255 : GAIN * Math.abs(one.data[i] - other.data[i]);
      map.getContext("2d").putImageData(one, 0, 0);
    }
    function choose() {
      const curve = curves[choice.value];
      quality.max = curve.steps.length - 1;
      quality.value = curve.shown;
      load();
    }
    choice.addEventListener("change", choose);
    for (const control of [quality, difference]) control.addEventListener("input", load);
    for (const control of [zoom, split]) control.addEventListener("input", place);
    let held = null;
    stage.addEventListener("pointerdown", (event) => { held = event; stage.setPointerCapture(event.pointerId); drag(event); });
    stage.addEventListener("pointermove", (event) => { if (held) drag(event); });
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => { held = null; });
    function drag(event) {  // a whole picture's boundary, or a magnified picture itself
      const box = stage.getBoundingClientRect(), factor = Number(zoom.value);
      if (factor === 1) split.value = 100 * (event.clientX - box.left) / box.width;
      else {
        centre.x -= (event.clientX - held.clientX) / box.width / factor;
        centre.y -= (event.clientY - held.clientY) / box.height / factor;
        held = event;
      }
      place();
    }
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      centre.x += 0.1 * step[0] / zoom.value;
      centre.y += 0.1 * step[1] / zoom.value;
      place();
    });
    addEventListener("resize", place);
    choose();
  }
})();
