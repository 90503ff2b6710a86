"""Accuracy of classifiers at equal rate: `beholder evaluate`, and its results interpolated at one rate.

    beholder prepare efficientnet_lite1
    beholder prepare efficientnet_lite2
    python benchmarks/accuracy.py --data PHOTOS --output results [--jobs 2] [--resume] [--bpp 0.25]
    python benchmarks/accuracy.py --data PHOTOS --output results2 --effort 2 --beside results

Protocol `paper`.  EfficientNet-Lite1 and -Lite2 were never seen by the codec's training; their mean is what counts.
Photographs are named by their class (docs/data.md).  Prints a table and writes it to ``accuracy.md`` beside the sweep's
own results.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

UNSEEN = ("efficientnet_lite1", "efficientnet_lite2")
SEEN = ("efficientnet_lite0", "squeezenet")
GRID = "rnn=1,2,3,4,6;jpeg=5,10,20,40;webp=1,10,30;bpg=45,40,35,30;avif=10,25,45"
OPTIMISED = "rnn=2,3"
CODECS = "rnn,jpeg,webp,bpg,avif"

NEAR = 1.02
"""Within this factor the last measured point stands for what lies beyond."""
Point = tuple[float, float, float]
"""bpp, preserved top-1, MS-SSIM."""
Curves = dict[tuple[str, str], dict[str, list[Point]]]
"""(codec, alpha) -> classifier -> points."""


def sweep(options: argparse.Namespace) -> int:
    """Run `beholder evaluate`; its exit code."""
    command = [sys.executable, "-m", "beholder", "evaluate", "--data", str(options.data)]
    if options.effort:  # minutes of optimisation: only what the table needs
        command += ["--codecs", "rnn", "--alpha", "1", "--qualities", OPTIMISED]
    else:
        command += ["--codecs", CODECS, "--alpha", "0,0.5,1", "--qualities", GRID]
    command += ["--classifiers", ",".join((*SEEN, *UNSEEN))]
    command += ["--metrics", "ms_ssim", "--protocol", "paper", "--jobs", str(options.jobs)]
    command += ["--output", str(options.output)] + (["--resume"] if options.resume else [])
    command += ["--effort", str(options.effort)] if options.effort else []
    print(" ".join(command))
    return subprocess.run(command).returncode


def read(summary: Path, ours: str = "rnn") -> Curves:
    """The curves in a sweep's ``summary.csv``; ``ours`` is what rnn is called."""
    curves: Curves = defaultdict(lambda: defaultdict(list))
    with summary.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["preserved"]:
                point = (float(row["bpp"]), float(row["preserved"]), float(row["ms_ssim"]))
                name = ours if row["codec"] == "rnn" else row["codec"]
                curves[name, row["alpha"]][row["classifier"]].append(point)
    return curves


def at(points: Sequence[Point], bpp: float) -> tuple[float, float] | None:
    """Preserved top-1 and MS-SSIM at a rate, interpolated over its logarithm; None outside what was measured."""
    rates, preserved, quality = (np.array(x) for x in zip(*sorted(points), strict=True))
    if not rates[0] / NEAR <= bpp <= rates[-1] * NEAR:
        return None
    return tuple(float(np.interp(np.log(bpp), np.log(rates), values)) for values in (preserved, quality))  # type: ignore[return-value]


def table(curves: Curves, bpp: float) -> str:
    """Markdown: a row for each codec and alpha."""
    lines = [
        f"Preserved top-1 at {bpp:g} bpp, protocol `paper`, interpolated over the logarithm of the rate:",
        "",
        "| | Lite1, Lite2 (never seen) | Lite0 | SqueezeNet | MS-SSIM |",
        "|---|---|---|---|---|",
    ]
    best = 0.0
    ours: dict[str, float] = {}
    for (codec, alpha), by_classifier in curves.items():
        values = {name: at(points, bpp) for name, points in by_classifier.items()}
        unseen = [values.get(name) for name in UNSEEN]
        known = [value for value in unseen if value is not None]
        mean = sum(value[0] for value in known) / len(known) if len(known) == len(UNSEEN) else None
        name = f"{codec}, alpha {alpha}" if alpha else codec
        cells = [_percent(mean), *(_percent(value and value[0]) for value in (values.get(n) for n in SEEN))]
        quality = [value[1] for value in values.values() if value is not None]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {sum(quality) / len(quality):.4f} |" if quality else f"| {name} |"
        )
        if mean is not None and not alpha:
            best = max(best, mean)
        if codec.startswith("rnn") and alpha == "1" and mean is not None:
            ours[codec] = mean
    for name, mean in ours.items():
        lines += ["", f"{name} at alpha 1 against the best of the others, unseen: {100 * (mean - best):+.1f} points."]
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="photographs named by class; without it the results in --output are read"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the sweep")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--workers", dest="jobs", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--effort", type=int, default=0, help="of rnn; above 0 only rnn at alpha 1 is measured")
    parser.add_argument("--beside", type=Path, help="folder of an earlier sweep to list in the same table")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--bpp", type=float, default=0.25)
    options = parser.parse_args()
    if options.data is not None and (code := sweep(options)):
        return code
    summary = options.output / "summary.csv"
    if not summary.is_file():
        print(f"There is no {summary}: give --data to measure.", file=sys.stderr)
        return 2
    curves = read(summary, f"rnn effort {options.effort}" if options.effort else "rnn")
    if options.beside is not None:
        curves = read(options.beside / "summary.csv") | curves
    text = table(curves, options.bpp)
    (options.output / "accuracy.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
