"""Processor seconds, seconds and peak memory of `rnn` for pictures of 1, 12, 48 and 100 megapixels.

    python benchmarks/large.py --data FOLDER [--megapixels 1 12 48 100] [--quality 4] [--alpha 0 1] [--effort 0]

Pictures are mosaics of the photographs in FOLDER.  Each figure comes from a process of its own, so that the peak is
that of one job: opening the picture or file, and compressing or decompressing it.  Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from math import isqrt
from pathlib import Path

from PIL import Image

import beholder
from beholder.reading import load

CELL = 512
"""Side of a mosaic's cells."""


def mosaic(folder: Path, megapixels: float) -> Image.Image:
    """A picture of 4:3 from the upper left of each photograph in turn."""
    height = isqrt(int(megapixels * 1e6 * 3 / 4))
    width = int(megapixels * 1e6 / height)
    cells = [load(path).convert("RGB").crop((0, 0, CELL, CELL)) for path in sorted(folder.iterdir())]
    picture = Image.new("RGB", (width, height))
    for number, (y, x) in enumerate((y, x) for y in range(0, height, CELL) for x in range(0, width, CELL)):
        picture.paste(cells[number % len(cells)], (x, y))
    return picture


def job(what: str, source: str, output: str, quality: int, alpha: float, effort: int) -> dict[str, float]:
    """One compression or decompression in this process."""
    wall, processor = time.perf_counter(), time.process_time()
    if what == "compress":
        Path(output).write_bytes(beholder.compress(source, quality=quality, alpha=alpha, effort=effort))
    else:
        beholder.decompress(source)
    return {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images, such as Kodak's")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12, 48, 100])
    parser.add_argument("--quality", type=int, default=4)
    parser.add_argument("--alpha", type=float, nargs="+", default=[0, 1])
    parser.add_argument("--effort", type=int, default=0)
    parser.add_argument("--job", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        what, source, output, quality, alpha, effort = options.job
        print(json.dumps(job(what, source, output, int(quality), float(alpha), int(effort))))
        return
    if options.data is None:
        parser.error("--data is needed")
    print("megapixels  alpha  what        processor s  seconds  peak MB")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in options.megapixels:
            picture, file = Path(folder) / "picture.png", Path(folder) / "picture.bhd"
            mosaic(options.data, megapixels).save(picture, compress_level=1)
            for alpha in options.alpha:
                for what, source in (("compress", picture), ("decompress", file)):
                    values = [what, source, file, options.quality, alpha, options.effort]
                    command = [sys.executable, __file__, "--job", *map(str, values)]
                    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    figures = f"{found['processor']:11.1f}  {found['seconds']:7.1f}  {found['peak']:7.0f}"
                    print(f"{megapixels:10g}  {alpha:5g}  {what:10}  {figures}", flush=True)


if __name__ == "__main__":
    main()
