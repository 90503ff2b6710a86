"""The figure that `kodak.py` draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.metrics import ms_ssim_db

Curve = list[tuple[float, float]]
"""(bits per pixel, quality in dB)."""
OURS = {
    "rnn": ("Beholder", "#d1495b"),
    "rnn effort 1": ("Beholder, effort 1", "#a4243b"),
    "rnn effort 2": ("Beholder, effort 2", "#e08a96"),
    "bpg": ("BPG here", "#30638e"),
    "webp": ("WebP here", "#3c887e"),
    "jpeg": ("JPEG here", "#b0772b"),
    "avif": ("AVIF here", "#7a5195"),
    "jpeg2000": ("JPEG 2000 here", "#6b705c"),
    "jxl": ("JPEG XL here", "#1b7f5c"),
    "heic": ("HEIC here", "#4a6fa5"),
}
PUBLISHED = {
    "tfc/jpeg420": "JPEG",
    "tfc/webp": "WebP",
    "tfc/bpg444": "BPG 4:4:4",
    "tfc/toderici-2017-cvpr": "Toderici 2017",
    "tfc/johnston-2017-cvpr": "Johnston 2018",
    "compressai/compressai-bmshj2018-factorized_ms-ssim": "Factorized prior",
    "compressai/compressai-bmshj2018-hyperprior_ms-ssim": "Hyperprior",
    "compressai/compressai-cheng2020-attn_ms-ssim": "Cheng 2020",
}


def plot(ours: Mapping[str, Curve], published: Mapping[str, Curve], title: str, stem: Path) -> None:
    """Draw MS-SSIM in dB over bits per pixel, our codec emphasised, to ``stem``.png and .svg.

    Args:
        ours: what was measured, by codec.
        published: by the keys of :data:`PUBLISHED`; may be empty.
    """
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "beholder"})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    right = 1.2
    labels = []
    for name, points in published.items():
        points = _clip(points, right)
        axes.plot(*zip(*points, strict=True), color="#9aa0a6", linewidth=1.1, linestyle=(0, (4, 2)), zorder=2)
        labels.append((points[-1], PUBLISHED[name], "#6b7075", "normal"))
    for name, points in ours.items():
        points = _clip(points, right)
        if not points:
            continue
        label, colour = OURS.get(name, (name, "#444444"))
        main = name in ("rnn", "rnn effort 1")
        axes.plot(
            *zip(*points, strict=True),
            color=colour,
            linewidth=2.8 if main else 1.8,
            marker="o",
            markersize=5.5 if main else 3.5,
            zorder=4 if main else 3,
        )
        labels.append((points[-1], label, colour, "bold"))
    axes.set(xlim=(0, right), ylim=(6, 24), xlabel="bits per pixel (whole files)", ylabel="MS-SSIM (dB)")
    axes.set_title(title, loc="left", fontweight="bold")
    if published:
        axes.set_title("dashed: published curves", loc="right", fontsize=9, color="#6b7075")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    _label_right(axes, labels, right)
    for value in (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995):  # few people think in dB
        axes.text(0.006, ms_ssim_db(value), f"{value:g}", color="#9aa0a6", fontsize=8, va="bottom", zorder=1)
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        figure.savefig(stem.with_suffix(suffix), dpi=160, metadata=metadata)
    plt.close(figure)


def _clip(points: Curve, right: float) -> Curve:
    """The curve up to ``right``, with a last point interpolated there."""
    points = sorted(points)
    inside = [p for p in points if p[0] <= right]
    beyond = [p for p in points if p[0] > right]
    if inside and beyond:
        (x0, y0), (x1, y1) = inside[-1], beyond[0]
        inside.append((right, y0 + (y1 - y0) * (right - x0) / (x1 - x0)))
    return inside


def _label_right(axes: Any, labels: list[tuple[tuple[float, float], str, str, str]], right: float) -> None:
    """Write each curve's name beside its end in the right margin, apart from one another."""
    style = {"va": "center", "clip_on": False}
    early = [label for label in labels if label[0][0] < 0.7 * right]
    for (x, y), text, colour, weight in early:
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5}
        axes.text(x, y + 0.35, text, color=colour, fontweight=weight, ha="right", bbox=box, **style)
    labels = sorted((label for label in labels if label not in early), key=lambda label: label[0][1])
    heights = [end[1] for end, *_ in labels]
    # Push neighbours apart, a little each time, so that the group stays centred on its curves.
    for _ in range(400):
        for i in range(len(heights) - 1):
            lack = 0.55 - (heights[i + 1] - heights[i])
            if lack > 1e-3:
                heights[i] -= lack / 2
                heights[i + 1] += lack / 2
    for (end, text, colour, weight), height in zip(labels, heights, strict=True):
        axes.plot((end[0], 1.02 * right), (end[1], height), color=colour, lw=0.5, alpha=0.6, clip_on=False)
        axes.text(1.025 * right, height, text, color=colour, fontweight=weight, **style)
