"""Rate and quality of the codecs on photographs by MS-SSIM, PSNR and SSIMULACRA2.

    python benchmarks/metrics.py --limit 8 --output docs/results/metrics
    python benchmarks/metrics.py --high --codecs rnn,avif,jxl,jpeg --limit 8 --output docs/results/high

``--high`` takes qualities from SSIMULACRA2 70 on, where the residual layer of ``rnn`` works.

Files are made and decoded as by ``kodak.py``: whole files, decoded by another process.  Names of codecs are its, too:
"rnn effort 1 psnr" is ``--effort 1 --human psnr``.  A run that was stopped goes on with ``--resume``, one photograph
after the other, so that an early stop leaves whole photographs.

Written to the output folder: ``metrics.csv`` (one row a file), ``summary.csv`` (means over the photographs that all
codecs have), ``bd_rates.csv``, ``table.md`` and ``metrics.png``.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kodak
import numpy as np
from kodak_figure import series

from beholder.errors import BadOptionError, BeholderError
from beholder.evaluation.plots.style import codec_look
from beholder.metrics import bd_rate, ms_ssim_db
from beholder.metrics import get as metric

CODECS = "rnn,rnn effort 1,rnn effort 1 ssimulacra2,rnn effort 1 psnr,rnn effort 1 blend,bpg,avif,webp,jpeg"
GRIDS = {
    "rnn": (2, 4, 6, 8),
    "bpg": (23, 29, 35, 41, 47),
    "avif": (10, 30, 50, 70, 85),
    "webp": (1, 20, 50, 75, 90),
    "jpeg": (10, 30, 50, 70, 90),
}
"""Qualities by codec, of ``rnn`` whatever its effort; each covers .1 to 1.5 bits a pixel or what it reaches of them."""
HIGH_GRIDS = {
    "rnn": (8, 9, 10, 11, 12),
    "bpg": (8, 11, 14, 17, 20, 23),
    "avif": (60, 70, 78, 84, 89, 93, 96),
    "jxl": (78, 84, 88, 92, 95, 97),
    "webp": (80, 90, 95, 98),
    "jpeg": (80, 90, 95, 97),
}
"""As GRIDS, from .8 to 4 bits a pixel."""
WIDEST = {False: 1.5, True: 4.0}
"""Bits a pixel at the right edge of the figure, by whether rates are high."""
ANCHORS = ("bpg", "avif")
TITLES = {"ms_ssim": "MS-SSIM (dB)", "psnr": "PSNR (dB)", "ssimulacra2": "SSIMULACRA2"}
EQUAL = {"psnr": (36, 38, 40, 42), "ssimulacra2": (80, 85, 90)}
"""Values at which ``--high`` compares rates."""
COLOURS = ("#f27191", "#c4123f", "#76122b", "#2ca02c", "#c98a00", "#7a4fbf")
"""The curves of ``rnn`` take these in their order."""


@dataclass(frozen=True)
class Row(kodak.Row):
    """One measured file."""

    ssimulacra2: float


def decode_and_measure(job: kodak.Job, data: bytes, encode_s: float) -> Row:
    """Decompress bytes that another process made, and compare; runs in a decoder process."""
    row, original, decoded = kodak.decode_and_compare(job, data, encode_s)
    return Row(**asdict(row), ssimulacra2=round(metric("ssimulacra2")(original, decoded), 4))


def choose_jobs(names: Sequence[str], images: Sequence[Path], high: bool = False) -> list[kodak.Job]:
    """Every image at every quality of every codec that runs here, image by image."""
    grids: dict[str, Sequence[int]] = {}
    for name in names:
        codec = kodak.open_codec(name)
        reason = codec.unavailable()
        if reason is not None:
            print(f"Skipping {name}: {reason}")
            continue
        scale = codec.scale
        spread = range(scale.lowest, scale.highest + 1, 1 + scale.highest // 9)
        own = HIGH_GRIDS if high else GRIDS
        grids[name] = own.get(codec.name) or kodak.GRIDS.get(codec.name, spread)
    return [kodak.Job(path, name, quality, 0.0) for path in images for name, grid in grids.items() for quality in grid]


def curve(summary: Sequence[dict[str, Any]], name: str, column: str) -> list[tuple[float, float]]:
    """Mean rate against mean quality of one codec."""
    scale = ms_ssim_db if column == "ms_ssim" else float
    return [(entry["bpp"], scale(entry[column])) for entry in summary if series(entry) == name]


def bd_rates(summary: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, float]]:
    """Anchor, codec, metric and BD-rate in per cent where the curves overlap."""
    names = list(dict.fromkeys(map(series, summary)))
    result = []
    for column in TITLES:
        for anchor in (name for name in ANCHORS if name in names):
            for name in (name for name in names if name != anchor):
                try:
                    value = bd_rate(curve(summary, anchor, column), curve(summary, name, column))
                except BadOptionError as error:
                    print(f"No BD-rate of {name} against {anchor} in {column}: {error}", file=sys.stderr)
                    continue
                result.append((anchor, name, column, round(value, 2)))
    return result


def table(rates: Sequence[tuple[str, str, str, float]]) -> str:
    """BD-rates as a table in Markdown: a row a codec, a column for each anchor and metric."""
    columns = list(dict.fromkeys((anchor, column) for anchor, _, column, _ in rates))
    values = {(anchor, name, column): value for anchor, name, column, value in rates}
    heads = [f"{TITLES[column].removesuffix(' (dB)')} against `{anchor}`" for anchor, column in columns]
    lines = ["| codec | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(name for _, name, _, _ in rates):
        cells = [values.get((anchor, name, column)) for anchor, column in columns]
        lines.append(f"| `{name}` | " + " | ".join("-" if c is None else f"{c:+.1f} %" for c in cells) + " |")
    return "\n".join(lines) + "\n"


def rates_table(summary: Sequence[dict[str, Any]]) -> str:
    """Bits a pixel of each codec at some PSNRs and SSIMULACRA2 scores, as a table in Markdown.

    Interpolated on the curves of the means, over the logarithm of the rate."""
    levels = [(column, level) for column, chosen in EQUAL.items() for level in chosen]
    lines = ["| bits a pixel at | " + " | ".join(f"{TITLES[column]} {level}" for column, level in levels) + " |"]
    lines.append("|---" * (len(levels) + 1) + "|")
    for name in dict.fromkeys(map(series, summary)):
        cells = []
        for column, level in levels:
            points = sorted((quality, math.log(rate)) for rate, quality in curve(summary, name, column))
            qualities, rates = zip(*points, strict=True)
            inside = qualities[0] <= level <= qualities[-1]
            cells.append(f"{math.exp(np.interp(level, qualities, rates)):.2f}" if inside else "-")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(summary: Sequence[dict[str, Any]], title: str, path: Path, widest: float = 1.5) -> None:
    """Draw each metric over bits per pixel, side by side."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(TITLES), figsize=(15, 5), layout="constrained")
    names = list(dict.fromkeys(map(series, summary)))
    own = dict(zip([name for name in names if name.startswith("rnn")], COLOURS, strict=False))
    for panel, (column, label) in zip(axes, TITLES.items(), strict=True):
        heights = []
        for name in names:
            points = [point for point in curve(summary, name, column) if point[0] <= widest]
            colour = own.get(name, "#444444") if name.startswith("rnn") else codec_look(name)[0]
            style = "-" if name.startswith("rnn") else "--"
            panel.plot(*zip(*points, strict=True), color=colour, ls=style, marker="o", ms=3, lw=1.5, label=name)
            heights += [quality for rate, quality in points if rate > 0.1]
        panel.set(xlabel="bits per pixel (whole files)", ylabel=label)
        panel.set(xlim=(0, widest), ylim=(min(heights), max(heights)))
        panel.grid(color="#e6e6e6")
    axes[-1].legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description="Rate and quality of codecs by several metrics.")
    parser.add_argument("--codecs", default=CODECS, help="separated by commas (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=kodak.DATA / "kodak", help="folder of photographs")
    parser.add_argument("--output", type=Path, default=kodak.ROOT / "docs" / "results" / "metrics")
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--jobs", type=int, default=1, help="encoder and decoder processes, N of each")
    parser.add_argument("--high", action="store_true", help="from SSIMULACRA2 70 on")
    parser.add_argument("--resume", action="store_true", help="keep the rows that metrics.csv has")
    args = parser.parse_args(arguments)
    images = kodak.find_images(args.data, args.limit)
    if not images:
        print(f"There are no images in {args.data}: give their folder with --data.", file=sys.stderr)
        return 2
    try:
        wanted = choose_jobs([name.strip() for name in args.codecs.split(",")], images, args.high)
    except BeholderError as error:
        print(error, file=sys.stderr)
        return 2
    args.output.mkdir(parents=True, exist_ok=True)
    file, keys = args.output / "metrics.csv", {job.key for job in wanted}
    if not args.resume:
        file.unlink(missing_ok=True)
    known = {row_key(row) for row in kodak.read_rows(file, Row)}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    failed = kodak.measure([job for job in wanted if job.key not in known], file, args.jobs, Row, decode_and_measure)
    return max(write(args.output, keys, WIDEST[args.high]), int(failed > 0))


def write(folder: Path, keys: set[tuple[str, str, int, float]], widest: float = 1.5) -> int:
    """Write means, BD-rates, table and figure of the rows in ``folder`` with these keys; return the exit code."""
    rows = [row for row in kodak.read_rows(folder / "metrics.csv", Row) if row_key(row) in keys]
    there = {row_key(row) for row in rows}
    whole = {key[0] for key in keys} - {key[0] for key in keys - there}
    rows = sorted((row for row in rows if row.image in whole), key=lambda row: (row.codec, row.quality, row.image))
    if not rows:
        print("No photograph has been measured with all codecs: go on with --resume.", file=sys.stderr)
        return 1
    summary = kodak.summarise(rows, ("bpp", "ms_ssim", "psnr", "ssimulacra2", "encode_s", "decode_s"))
    kodak.write_table(folder / "summary.csv", list(summary[0]), [list(entry.values()) for entry in summary])
    rates = bd_rates(summary)
    kodak.write_table(folder / "bd_rates.csv", ("anchor", "codec", "metric", "bd_rate_percent"), rates)
    text = table(rates) + (f"\n{rates_table(summary)}" if widest > WIDEST[False] else "")
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(f"{len(whole)} photographs\n{text}")
    draw(summary, f"{len(whole)} photographs: {', '.join(sorted(whole))}", folder / "metrics.png", widest)
    return 0


def row_key(row: Row) -> tuple[str, str, int, float]:
    """As :attr:`kodak.Job.key`."""
    return row.image, row.codec, row.quality, row.alpha


if __name__ == "__main__":
    sys.exit(main())
