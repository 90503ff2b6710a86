"""Seconds to encode and to decode a photograph: `rnn`, other codecs and the `weber2020` architecture, as a table.

    python benchmarks/speed.py --data FOLDER [--images 5] [--codecs rnn bpg ...] [--quality 4] [--alpha 0] [--effort 0]
                               [--neighbours 0 1 2]

Medians over the images.  Other codecs have their own default quality.  `weber2020` has weights drawn at random, which
take as long as trained ones, and as many iterations as `rnn`.  `rnn, command` is the whole process of `beholder
compress` and `decompress`.  Neighbours are processes that keep one processor busy each.  Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from beholder import codecs
from beholder.errors import NotAvailableError
from beholder.evaluation.sweep.provenance import processor
from beholder.reading import load
from beholder.threads import threads

CODECS = ("rnn", "rnn, command", "jpeg", "webp", "bpg", "avif", "jxl", "weber2020")
WHAT = ("encode", "decode")
Photograph = tuple[Path, Image.Image]
Coder = tuple[Callable[[Photograph], Any], Callable[[Any], object]]
"""Functions that encode a picture and decode what that gives."""


def coder(name: str, quality: int, alpha: float, effort: int, folder: Path) -> Coder:
    """The codec called ``name``; NotAvailableError if it cannot run here."""
    if name == "weber2020":
        return weber2020(quality)
    if name == "rnn, command":
        return command(quality, alpha, effort, folder)
    codec = codecs.open_codec(name, effort=effort if name == "rnn" else 0)
    reason = codec.unavailable()
    if reason is not None:
        raise NotAvailableError(reason)
    own = (quality, alpha) if name == "rnn" else (None, 0.0)
    return (lambda photo: codec.encode(photo[1], own[0], alpha=own[1])), codec.decode


def command(quality: int, alpha: float, effort: int, folder: Path) -> Coder:
    """`rnn` through the command line."""
    file, decoded = folder / "picture.bhd", folder / "picture.png"
    options = ["-q", str(quality), "--alpha", str(alpha), "--effort", str(effort), "-o", str(file)]

    def run(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "beholder", *words, "--force", "--quiet"], check=True)

    def encode(photo: Photograph) -> None:
        run("compress", str(photo[0]), *options)

    return encode, lambda _: run("decompress", str(file), "-o", str(decoded))


def weber2020(iterations: int) -> Coder:
    """The recurrent codec of Weber et al. at full width."""
    import numpy as np
    import torch

    from beholder.training.weber2020.model import Weber2020

    torch.set_num_threads(threads())
    model = Weber2020().eval()

    @torch.no_grad()
    def encode(photo: Photograph) -> tuple[list[torch.Tensor], int, int]:
        picture = photo[1]
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        return model(pixels, iterations)[1], picture.height, picture.width

    @torch.no_grad()
    def decode(coded: tuple[list[torch.Tensor], int, int]) -> torch.Tensor:
        return model.decode(*coded)

    return encode, decode


def medians(coder: Coder, photos: list[Photograph]) -> tuple[float, float]:
    """Median seconds to encode and to decode; the first one comes once more before, for what is loaded once."""
    encode, decode = coder
    times = []
    for photo in [photos[0], *photos]:
        start = time.perf_counter()
        coded = encode(photo)
        middle = time.perf_counter()
        decode(coded)
        times.append((middle - start, time.perf_counter() - middle))
    return median(e for e, _ in times[1:]), median(d for _, d in times[1:])


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that keep a processor busy."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, such as Kodak's")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--codecs", nargs="+", default=CODECS, metavar="C", help=f"among {', '.join(CODECS)}")
    parser.add_argument("--quality", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.0)
    parser.add_argument("--effort", type=int, default=0)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    paths = [path for path in sorted(options.data.iterdir()) if path.is_file()][: options.images]
    photos = [(path, load(path).convert("RGB")) for path in paths]
    size = "{} x {}".format(*photos[0][1].size)
    print(
        f"{processor()}, {threads()} threads; rnn: quality {options.quality}, alpha {options.alpha:g}, effort "
        f"{options.effort}; medians of {len(photos)} photographs, the first of {size}.\n"
    )
    columns = [f"{what} beside {count}" if count else what for count in options.neighbours for what in WHAT]
    print("| codec | " + " | ".join(f"{column}, s" for column in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name in options.codecs:
        cells = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                one = coder(name, options.quality, options.alpha, options.effort, Path(folder))
            except (NotAvailableError, ImportError) as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            for count in options.neighbours:
                with neighbours(count):
                    cells += [f"{seconds:.3f}" for seconds in medians(one, photos)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
