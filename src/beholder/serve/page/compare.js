// Two pictures of the same size, one over the other, with a line between them, zoom and movement.

const view = document.getElementById("view");
const before = document.getElementById("before");
const after = document.getElementById("after");
const divider = document.getElementById("divider");
const zoomShown = document.getElementById("zoom");

const state = { scale: 1, x: 0, y: 0, split: 0.5, fitted: true };
const urls = new Map();

/** Show a picture (a Blob) in one of the two places; resolves when it can be seen. */
export async function show(place, blob) {
  const image = place === "before" ? before : after;
  const old = urls.get(place);
  const url = blob ? URL.createObjectURL(blob) : "";
  urls.set(place, url);
  image.hidden = !blob;
  if (blob) {
    image.src = url;
    await image.decode();
  }
  if (old) URL.revokeObjectURL(old);
  divider.hidden = before.hidden || after.hidden;
  if (state.fitted) fit();
  else draw();
}

/** Write what is shown on either side. */
export function label(left, right) {
  document.getElementById("tag-before").textContent = left;
  document.getElementById("tag-after").textContent = right;
}

/** Scale the pictures so that all of them is seen. */
export function fit() {
  if (!before.naturalWidth) return;
  const scale = Math.min(view.clientWidth / before.naturalWidth, view.clientHeight / before.naturalHeight);
  state.scale = Math.min(scale, 4);
  state.x = (view.clientWidth - before.naturalWidth * state.scale) / 2;
  state.y = (view.clientHeight - before.naturalHeight * state.scale) / 2;
  state.fitted = true;
  draw();
}

function draw() {
  const place = `translate(${state.x}px, ${state.y}px) scale(${state.scale})`;
  before.style.transform = after.style.transform = place;
  view.classList.toggle("large", state.scale >= 2);
  const line = state.split * view.clientWidth;
  divider.style.left = `${line}px`;
  // The line is at a place of the view; what lies left of it is cut from the picture on top.
  const cut = before.hidden ? 0 : (line - state.x) / state.scale;
  after.style.clipPath = `inset(0 0 0 ${Math.max(0, cut)}px)`;
  zoomShown.textContent = `${Math.round(100 * state.scale)} %`;
  view.setAttribute("aria-valuenow", String(Math.round(100 * state.split)));
}

function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.min(Math.max(state.scale * factor, 0.05), 32);
  const ratio = scale / state.scale;
  state.x = x - (x - state.x) * ratio;
  state.y = y - (y - state.y) * ratio;
  state.scale = scale;
  state.fitted = false;
  draw();
}

function split(value) {
  state.split = Math.min(Math.max(value, 0), 1);
  draw();
}

const fingers = new Map();

view.addEventListener("pointerdown", (event) => {
  view.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (!event.shiftKey && fingers.size === 1) split((event.clientX - view.getBoundingClientRect().left) / view.clientWidth);
});
view.addEventListener("pointermove", (event) => {
  const old = fingers.get(event.pointerId);
  if (!old) return;
  const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const box = view.getBoundingClientRect();
  if (other) {
    const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    const [x, y] = [(event.clientX + other.x) / 2 - box.left, (event.clientY + other.y) / 2 - box.top];
    zoom(distance({ x: event.clientX, y: event.clientY }) / distance(old), x, y);
  } else if (event.shiftKey) {
    state.x += event.clientX - old.x;
    state.y += event.clientY - old.y;
    state.fitted = false;
    draw();
  } else split((event.clientX - box.left) / view.clientWidth);
});
for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => fingers.delete(event.pointerId));
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = view.getBoundingClientRect();
  zoom(2 ** (-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
view.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 };
  if (event.key in steps) split(state.split + steps[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else return;
  event.preventDefault();
});
document.getElementById("zoom-in").addEventListener("click", () => zoom(1.5));
document.getElementById("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
document.getElementById("zoom-fit").addEventListener("click", fit);
new ResizeObserver(() => (state.fitted ? fit() : draw())).observe(view);
