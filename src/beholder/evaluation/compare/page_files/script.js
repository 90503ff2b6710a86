"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const pictures = JSON.parse($("pictures").textContent);
  const original = $("over").src;
  const source = (choice) => (choice < 0 ? original : pictures[choice]);

  const show = () => {
    $("over").src = source(Number($("left").value));
    $("under").src = source(Number($("right").value));
    const zoom = Number($("zoom").value);
    for (const picture of [$("over"), $("under")]) {
      picture.style.width = zoom ? `${zoom * picture.naturalWidth}px` : "min(100%, 96vw)";
    }
    const share = Number($("slider").value) / 10;
    $("over").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    $("bar").style.left = `${share}%`;
  };
  const drag = (event) => {
    if (event.pointerType === "mouse" && event.buttons !== 1 && event.type !== "pointerdown") return;
    const box = $("stage").getBoundingClientRect();
    $("slider").value = Math.round(1000 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    show();
  };
  for (const name of ["left", "right", "zoom", "slider"]) $(name).addEventListener("input", show);
  $("stage").addEventListener("pointerdown", drag);
  $("stage").addEventListener("pointermove", drag);
  for (const name of ["over", "under"]) $(name).addEventListener("load", () => { if (!Number($("zoom").value)) return; $(name).style.width = `${Number($("zoom").value) * $(name).naturalWidth}px`; });
  show();
})();
