"""Figures with bits per pixel to the right: what a classifier recognises, and picture quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from beholder.evaluation.plots.style import Style, styles, title, view_title
from beholder.evaluation.summary.summarise import MEAN, Row, Summary
from beholder.metrics import higher_is_better, ms_ssim_db

RATE = "bits per pixel (whole files)"

_RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_LOG_FROM = 6  # largest rate / smallest
_MS_SSIM_TICKS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
_GREY = "#8a8a8a"
_PANEL = (3.1, 2.5)

Scale = Callable[[float], float]


def accuracy(summary: Summary, view: str | None) -> Any:
    """The accuracy of one classifier, or the mean preserved accuracy."""
    figure, axes = new_figure((6.6, 4.4))
    draw_accuracy(axes, summary, view)
    axes.set_xlabel(RATE)
    _legend(axes, True)
    return figure


def all_accuracies(summary: Summary, views: Sequence[str | None]) -> Any:
    """The accuracies of all classifiers, small, on common axes."""
    columns = min(len(views), 4 if len(views) > 6 else 3)
    rows = -(-len(views) // columns)
    figure, grid = new_figure(
        (_PANEL[0] * columns, _PANEL[1] * rows + 0.7), (rows, columns), sharex=True, sharey=True, squeeze=False
    )
    for axes, view in zip(grid.flat, views, strict=False):
        draw_accuracy(axes, summary, view, small=True)
    for axes in grid.flat[len(views) :]:
        axes.set_visible(False)
        # The panel above keeps its scale.
        grid.flat[len(views) - columns].tick_params(labelbottom=True)
    for column in range(columns):
        lowest = max(place for place in range(len(views)) if place % columns == column)
        grid.flat[lowest].set_xlabel("bits per pixel")
        grid.flat[lowest].tick_params(labelbottom=True)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    return figure


def metric(summary: Summary, name: str) -> Any:
    """Picture quality over rate."""
    figure, axes = new_figure((6.6, 4.4))
    view = summary.views[0]
    decibels = name == "ms_ssim"
    draw_curves(axes, summary, view, name, ms_ssim_db if decibels else float)
    axes.set(xlabel=RATE, ylabel=f"{title(name)} (dB)" if decibels else title(name))
    axes.set_title(title(name).removesuffix(" (dB)"))
    if decibels:
        low, high = axes.get_ylim()
        known = [value for value in _MS_SSIM_TICKS if low <= ms_ssim_db(value) <= high]
        right = axes.secondary_yaxis("right")
        right.set_yticks([ms_ssim_db(value) for value in known], labels=[f"{value:g}" for value in known])
        right.spines["right"].set_visible(False)
        right.set_ylabel("MS-SSIM", color=_GREY)
        right.tick_params(colors=_GREY)
    _legend(axes, higher_is_better(name))
    return figure


def draw_accuracy(axes: Any, summary: Summary, view: str | None, small: bool = False) -> None:
    """One classifier's curves, in per cent; of a single figure with scales for top-1 and preserved accuracy."""
    name = summary.machine(view)
    assert name is not None
    original = next((row.value("top1_original") for row in summary.rows if row.classifier == view), None)
    # Top-1 is drawn as preserved accuracy times that of originals: the same values, but a band without the
    # uncertainty that all codecs share, which images were drawn.
    both = name == "preserved" and view != MEAN and not small and bool(original)
    scale = 100 * (original or 1.0) if both else 100.0
    draw_curves(axes, summary, view, name, lambda share: scale * share, small)
    if not small or axes.get_subplotspec().is_first_col():
        axes.set_ylabel(f"{title('top1' if both else name)} (%)")
    axes.set_title(view_title(view), fontsize=9 if small else None)
    _per_cent_limits(axes)
    if not both or original is None:
        if name == "preserved":
            axes.axhline(100, color=_GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
        return
    axes.axhline(100 * original, color=_GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
    axes.text(
        0.01,
        100 * original,
        f"originals {100 * original:.1f} %",
        transform=axes.get_yaxis_transform(),
        color=_GREY,
        fontsize=8,
        va="bottom",
    )
    right = axes.secondary_yaxis("right", functions=(lambda y: y / original, lambda y: y * original))
    right.set_ylabel("Preserved accuracy (%)", color=_GREY)
    right.tick_params(colors=_GREY)
    right.spines["right"].set_visible(False)


def draw_curves(axes: Any, summary: Summary, view: str | None, name: str, scale: Scale, small: bool = False) -> None:
    """A line with markers and a band for every codec."""
    looks = styles(summary.series)
    rates: list[float] = []
    for series, style in looks.items():
        points = _points([row for row in summary.curve(view, series) if name in row], name, scale)
        if not points:
            continue
        bpp, value, low, high = zip(*points, strict=True)
        rates += bpp
        axes.fill_between(bpp, low, high, color=style.colour, alpha=0.13, linewidth=0, zorder=2)
        axes.plot(bpp, value, zorder=4 if style.main else 3, **line(style, small))
    if rates:
        rate_axis(axes, min(rates), max(rates))


def line(style: Style, small: bool = False) -> dict[str, Any]:
    """The look of a line, in matplotlib's words."""
    size = (1.9 if style.main else 1.4) * (0.75 if small else 1)
    return {
        "label": style.label,
        "color": style.colour,
        "linewidth": size,
        "linestyle": (0, style.dash) if style.dash else "solid",
        "marker": style.marker,
        "markersize": 2.4 if small else 4.2,
        "markeredgecolor": "white",
        "markeredgewidth": 0.3 if small else 0.6,
    }


def rate_axis(axes: Any, low: float, high: float) -> None:
    """A logarithmic axis for a wide range of rates, else a linear one that begins at 0."""
    if high / low < _LOG_FROM:
        axes.set_xlim(0, 1.04 * high)
        return
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low / 1.12, high * 1.12)
    ticks = [tick for tick in _RATE_TICKS if low / 1.12 <= tick <= high * 1.12]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda tick, _place: f"{tick:g}")


def new_figure(size: tuple[float, float], grid: tuple[int, int] = (1, 1), **options: Any) -> tuple[Any, Any]:
    """A figure of ``size`` inches without pyplot's global state, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(*grid, **options)


def _points(rows: Sequence[Row], name: str, scale: Scale) -> list[tuple[float, float, float, float]]:
    """(bpp, value, low, high); an interval that is not known has no width."""
    result = []
    for row in rows:
        bpp, estimate = row.value("bpp"), row.estimate(name)
        if bpp is None or bpp <= 0 or estimate is None:
            continue
        value, low, high = (scale(value) for value in (estimate.value, estimate.low, estimate.high))
        if math.isfinite(value):
            result.append((bpp, value, low if math.isfinite(low) else value, high if math.isfinite(high) else value))
    return result


def _per_cent_limits(axes: Any) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), max(high, min(101.5, high + 4)))


def _legend(axes: Any, rising: bool) -> None:
    """In the corner where curves leave room: below those that rise."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right" if rising else "upper right", handlelength=3.2, labelspacing=0.35)
