"""The figure of rate and MS-SSIM on Kodak, ours beside published curves.

    python benchmarks/kodak_figure.py docs/results/kodak

Draws ``kodak.png`` and ``kodak.svg`` from ``summary.csv``, which ``kodak.py`` wrote, and from the published numbers in
``kodak_published.csv``, whose column ``source`` says where each stands (repository@commit:file).
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.evaluation.plots.curves import name_by_ms_ssim
from beholder.evaluation.plots.style import codec_look
from beholder.metrics import ms_ssim_db

Curve = list[tuple[float, float]]
"""(bits per pixel, quality in dB)."""

PUBLISHED = Path(__file__).parent / "kodak_published.csv"
STANDARD = "standard"
"""The kind of published curves that are no neural networks'."""
RIGHT = 1.2  # bpp

_OURS = {
    # name -> label, dash
    "rnn": ("Beholder", ()),
    "rnn effort 1": ("Beholder, effort 1", ()),
    "rnn effort 2": ("Beholder, effort 2", (2, 1.2)),
    "bpg": ("BPG here", (6, 2)),
    "webp": ("WebP here", (1.4, 1.4)),
    "jpeg": ("JPEG here", (7, 2, 1.5, 2)),
    "avif": ("AVIF here", (3.2, 1.6)),
    "jpeg2000": ("JPEG 2000 here", (6, 2)),
    "jxl": ("JPEG XL here", (1.4, 1.4)),
    "heic": ("HEIC here", (7, 2, 1.5, 2)),
}
_RNN = {"rnn": ("#f27191", "<"), "rnn effort 1": ("#c4123f", "o"), "rnn effort 2": ("#76122b", ">")}
_GREY, _PALE, _FAINT = "#5f6066", "#9aa0a6", "#e6e6e6"
_APART = 0.62  # dB from one label to the next
_EARLY = 0.7  # curves that end before this fraction of the axis are named within it
_EARLY_LABELS = 0.3  # where, in bpp
_MARGIN = 0.6  # dB above and below all curves

Label = tuple[tuple[float, float], str, str, str]
"""End of the curve, text, colour and weight."""


def read_published(path: Path = PUBLISHED) -> dict[str, list[dict[str, str]]]:
    """The published points of each curve: columns ``kind``, ``bpp``, ``ms_ssim``, ``psnr`` and ``source``."""
    curves: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            curves[line.pop("curve")].append(line)
    return dict(curves)


def published_curve(points: Sequence[Mapping[str, str]], metric: str) -> Curve:
    """Rate against quality in dB, where the metric is known."""
    scale = ms_ssim_db if metric == "ms_ssim" else float
    return sorted((float(point["bpp"]), scale(float(point[metric]))) for point in points if point[metric])


def series(entry: Mapping[str, Any]) -> str:
    """The name of an entry's curve: the codec, and its alpha unless that is 0."""
    alpha = float(entry["alpha"])
    return str(entry["codec"]) + (f" alpha {alpha:g}" if alpha else "")


def curve(summary: Sequence[Mapping[str, Any]], name: str, metric: str) -> Curve:
    """Mean rate against mean quality in dB of one of the curves in a summary."""
    scale = ms_ssim_db if metric == "ms_ssim" else float
    points = [(float(entry["bpp"]), scale(float(entry[metric]))) for entry in summary if series(entry) == name]
    return [(rate, quality) for rate, quality in points if math.isfinite(quality)]


def draw(summary: Sequence[Mapping[str, Any]], title: str, stem: Path) -> None:
    """Draw MS-SSIM over bits per pixel, our codec emphasised, to ``stem``.png and .svg.

    Args:
        summary: lines of ``summary.csv``.
        title: of the figure.
        stem: path of the files without suffix.
    """
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "beholder"})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9.6, 6.6), layout="constrained")
    labels: list[Label] = []
    for name, published in read_published().items():
        points = _clip(published_curve(published, "ms_ssim"))
        standard = published[0]["kind"] == STANDARD
        colour = _GREY if standard else _PALE
        axes.plot(
            *zip(*points, strict=True), color=colour, lw=1.1, ls=(0, (4, 2) if standard else (1.2, 1.6)), zorder=2
        )
        labels.append((points[-1], name, colour, "normal"))
    for name in dict.fromkeys(map(series, summary)):
        points = _clip(curve(summary, name, "ms_ssim"))
        if points:
            label, dash = _OURS.get(name, (name, (6, 2)))
            colour, marker = _look(name)
            main = name.startswith("rnn")
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linewidth=2.6 if main else 1.8,
                linestyle=(0, dash) if dash else "solid",
                marker=marker,
                markersize=7 if main else 5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                zorder=4 if main else 3,
            )
            labels.append((points[-1], label, colour, "bold"))
    heights = [height for line in axes.lines for height in line.get_ydata()]
    axes.set(xlim=(0, RIGHT), ylim=(min(heights) - _MARGIN, max(heights) + _MARGIN))
    axes.set(xlabel="bits per pixel (whole files)", ylabel="MS-SSIM")
    bottom, top = axes.get_ylim()
    name_by_ms_ssim(axes.yaxis, bottom, top, 12)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_title("grey: published (dashed: standards, dotted: networks)", loc="right", fontsize=9, color=_GREY)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    early = [label for label in labels if label[0][0] < _EARLY * RIGHT]
    _name(axes, early, _EARLY_LABELS, "right")
    _name(axes, [label for label in labels if label not in early], 1.025 * RIGHT, "left")
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        figure.savefig(stem.with_suffix(suffix), dpi=140, metadata=metadata)
    plt.close(figure)


def _look(name: str) -> tuple[str, str]:
    if name in _RNN:
        return _RNN[name]
    try:
        return codec_look(name)
    except KeyError:
        return "#444444", "d"


def _clip(points: Curve) -> Curve:
    """The curve up to :data:`RIGHT`, with a last point interpolated there."""
    points = sorted(points)
    inside = [p for p in points if p[0] <= RIGHT]
    beyond = [p for p in points if p[0] > RIGHT]
    if inside and beyond:
        (x0, y0), (x1, y1) = inside[-1], beyond[0]
        inside.append((RIGHT, y0 + (y1 - y0) * (RIGHT - x0) / (x1 - x0)))
    return inside


def _name(axes: Any, labels: list[Label], place: float, side: str) -> None:
    """Write the names of curves one below another at ``place``, each with a line to the end of its curve."""
    labels = sorted(labels, key=lambda label: label[0][1])
    heights = [end[1] for end, *_ in labels]
    ceiling = axes.get_ylim()[1] - 0.4 * _APART
    # Push neighbours apart, a little each time, so that the group stays centred on its curves.
    for _ in range(600):
        for i in range(len(heights) - 1):
            lack = _APART - (heights[i + 1] - heights[i])
            if lack > 1e-3:
                heights[i] -= lack / 2
                heights[i + 1] += lack / 2
        if heights:
            heights[-1] = min(heights[-1], ceiling)
    gap = -0.008 * RIGHT if side == "left" else 0.008 * RIGHT
    for (end, text, colour, weight), height in zip(labels, heights, strict=True):
        axes.plot((end[0], place + gap), (end[1], height), color=colour, lw=0.5, alpha=0.6, clip_on=False, zorder=1)
        axes.text(place, height, text, color=colour, fontweight=weight, va="center", ha=side, clip_on=False, zorder=5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figure of one folder; return the exit code."""
    parser = argparse.ArgumentParser(description="Draw the figure of rate and MS-SSIM on Kodak.")
    parser.add_argument("folder", type=Path, help="folder with the summary.csv that kodak.py wrote")
    args = parser.parse_args(arguments)
    try:
        with (args.folder / "summary.csv").open(newline="", encoding="utf-8") as file:
            summary = list(csv.DictReader(file))
    except OSError as error:
        print(f"{args.folder / 'summary.csv'} cannot be read ({error.strerror}): run kodak.py first.", file=sys.stderr)
        return 2
    draw(summary, "Kodak", args.folder / "kodak")
    print(f"Written to {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
