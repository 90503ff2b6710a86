"""Seconds that Chromium takes to decode a photograph with the decoder for browsers, as a table.

    python benchmarks/browser.py --photo /path/to/kodim05.webp [--quality 4] [--runs 3]

The static page of `beholder export-web` is served from this machine.  In a fresh page for each run, the module loads
the model, then decodes a `.bhd` file (alpha 0) segment by segment.  Prints medians: seconds by the clock until the
first segment's linear picture and until the whole file's corrected picture, and
CPU seconds of Chromium's processes for that.
Needs Playwright and a Chromium.  Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import tempfile
import threading
from pathlib import Path
from statistics import median
from typing import Any

from beholder import codecs
from beholder.reading import load
from beholder.serve.static_site import write_site

FILE = "photo.bhd"
DECODE = """async () => {
  const { Decoder } = await import("./index.js");
  const before = performance.now();
  const decoder = await Decoder.load(new URL("model.bin", location.href));
  const bytes = new Uint8Array(await (await fetch("photo.bhd")).arrayBuffer());
  const start = performance.now();
  globalThis.decode = () => {
    const start = performance.now();
    const picture = decoder.open();
    picture.push(bytes);
    let first = 0;
    while (picture.step()) {
      picture.render(picture.waiting === 0);
      first ||= performance.now() - start;
    }
    picture.finish();
    return [first / 1000, (performance.now() - start) / 1000];
  };
  return (start - before) / 1000;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--quality", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    image = load(options.photo).convert("RGB")
    data = codecs.get("rnn").encode(image, options.quality)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        write_site(site, force=True)
        (site / FILE).write_bytes(data)
        sizes = {kind: sum(f.stat().st_size for f in site.glob(f"*.{kind}")) for kind in ("js", "wasm", "bin")}
        rows = measure(site, options.runs)
    print(f"{image.width} x {image.height}, quality {options.quality}, {len(data):,} bytes, {options.runs} runs;")
    print(", ".join(f"{size:,} bytes of .{kind}" for kind, size in sizes.items()) + ".\n")
    print("| load, s | first picture, s | whole file, s | CPU, s |")
    print("| ---: | ---: | ---: | ---: |")
    print("| " + " | ".join(f"{median(column):.2f}" for column in zip(*rows, strict=True)) + " |")


def measure(site: Path, runs: int) -> list[tuple[float, float, float, float]]:
    """For each run seconds to load, to the first picture, to the whole picture, and of CPU."""
    from playwright.sync_api import sync_playwright

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    rows = []
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        session = browser.new_browser_cdp_session()

        def cpu() -> float:
            processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
            return sum(float(process["cpuTime"]) for process in processes)

        for _ in range(runs):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            loaded = page.evaluate(DECODE)
            before = cpu()
            first, whole = page.evaluate("decode()")
            rows.append((loaded, first, whole, cpu() - before))
            page.close()
        browser.close()
    server.shutdown()
    server.server_close()
    return rows


if __name__ == "__main__":
    main()
