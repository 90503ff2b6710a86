"""Figures with bits per pixel to the right: what a classifier recognises, and picture quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from beholder.evaluation.plots.style import Style, styles, title, view_title
from beholder.evaluation.summary.curves import MEAN, Row
from beholder.evaluation.summary.summarise import Summary
from beholder.metrics import higher_is_better, ms_ssim_db

RATE = "bits per pixel (whole files)"

_RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_LOG_FROM = 6  # largest rate / smallest
_ABOVE = 3.0  # dB above all others at which identical pictures are drawn, whose MS-SSIM is infinite in dB
_BELOW = 0.05  # fraction of the axis that is left below the lowest curve
_LEAST_SPAN = 0.1  # fraction of what can be preserved that an axis shows at least, so that noise does not fill it
_GREY = "#8a8a8a"
_PANEL = (3.1, 2.5)

SIZES = {"D": 0.85, "*": 1.45, "P": 1.15, "X": 1.15, "^": 1.1, "v": 1.1, "<": 1.1, ">": 1.1, "p": 1.15}
"""Markers that look larger or smaller than a circle."""

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
    limits = [draw_accuracy(axes, summary, view, small=True) for axes, view in zip(grid.flat, views, strict=False)]
    grid.flat[0].set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
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
    """Picture quality over rate; MS-SSIM in steps of dB, named by its value."""
    figure, axes = new_figure((6.6, 4.4))
    decibels = name == "ms_ssim"
    draw_curves(axes, summary, summary.views[0], name, ms_ssim_db if decibels else float)
    axes.set(xlabel=RATE, ylabel=title(name))
    axes.set_title(title(name).removesuffix(" (dB)"))
    if decibels:
        name_by_ms_ssim(axes.yaxis, *axes.get_ylim())
    _legend(axes, higher_is_better(name))
    return figure


def draw_accuracy(axes: Any, summary: Summary, view: str | None, small: bool = False) -> tuple[float, float]:
    """One classifier's curves, in per cent; of a single figure with scales for top-1 and preserved accuracy.

    Returns:
        The limits of the axis: it ends at all that can be preserved, or where the highest interval does.
    """
    name = summary.machine(view)
    assert name is not None
    original = next((row.value("top1_original") for row in summary.rows if row.classifier == view), None)
    # Top-1 is drawn as preserved accuracy times that of originals: the same values, but a band without the
    # uncertainty that all codecs share, which images were drawn.
    both = name == "preserved" and view != MEAN and not small and bool(original)
    whole = 100 * (original or 1.0) if both else 100.0
    ends = draw_curves(axes, summary, view, name, lambda fraction: whole * fraction, small)
    lowest, highest = (min(ends), max(ends)) if ends else (0.0, whole)
    top = max(whole, highest) or 1.0  # nothing is preserved where originals are not recognised
    bottom = max(lowest - _BELOW * (top - lowest), -_BELOW * whole)
    limits = min(bottom, top - _LEAST_SPAN * whole), top
    axes.set_ylim(*limits)
    if not small or axes.get_subplotspec().is_first_col():
        axes.set_ylabel(f"{title('top1' if both else name)} (%)")
    axes.set_title(view_title(view), fontsize=9 if small else None)
    if name == "preserved":
        axes.axhline(whole, color=_GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1, clip_on=False)
    if not both or original is None:
        return limits
    axes.text(
        0.01,
        whole - 0.01 * (top - limits[0]),
        f"originals {whole:.1f} %",
        transform=axes.get_yaxis_transform(),
        color=_GREY,
        fontsize=8,
        va="top",
    )
    right = axes.secondary_yaxis("right", functions=(lambda y: y / original, lambda y: y * original))
    right.set_ylabel("Preserved accuracy (%)", color=_GREY)
    right.tick_params(colors=_GREY)
    right.spines["right"].set_visible(False)
    return limits


def draw_curves(
    axes: Any, summary: Summary, view: str | None, name: str, scale: Scale, small: bool = False
) -> list[float]:
    """A line with markers and a band for every codec; the ends of all intervals, as they are drawn."""
    looks = styles(summary.series)
    curves = {series: [row for row in summary.curve(view, series) if name in row] for series in looks}
    finite = [y for rows in curves.values() for row in rows if math.isfinite(y := scale(row.value(name) or 0.0))]
    highest = max(finite, default=0.0) + _ABOVE
    rates: list[float] = []
    ends: list[float] = []
    for series, style in looks.items():
        points = _points(curves[series], name, lambda value: min(scale(value), highest) if value == 1 else scale(value))
        if not points:
            continue
        bpp, value, low, high = zip(*points, strict=True)
        rates += bpp
        ends += [*low, *high]
        axes.fill_between(bpp, low, high, color=style.colour, alpha=0.13, linewidth=0, zorder=2)
        # The highest points lie on the frame.
        axes.plot(bpp, value, zorder=4 if style.main else 3, clip_on=False, **line(style, small))
    if rates:
        rate_axis(axes, min(rates), max(rates))
    return ends


def line(style: Style, small: bool = False) -> dict[str, Any]:
    """The look of a line, in matplotlib's words."""
    size = (1.9 if style.main else 1.4) * (0.75 if small else 1)
    return {
        "label": style.label,
        "color": style.colour,
        "linewidth": size,
        "linestyle": (0, style.dash) if style.dash else "solid",
        "marker": style.marker,
        "markersize": SIZES.get(style.marker, 1.0) * (2.6 if small else 4.6),
        "markeredgecolor": "white",
        "markeredgewidth": 0.3 if small else 0.6,
    }


def name_by_ms_ssim(axis: Any, low: float, high: float, count: int = 8) -> None:
    """Name the places of an axis in dB from ``low`` to ``high`` by the values of MS-SSIM, the unit of every table."""
    values = ms_ssim_ticks(low, high, count)
    axis.set_ticks([ms_ssim_db(value) for value in values], labels=[f"{value:g}" for value in values])


def ms_ssim_ticks(low: float, high: float, count: int = 8) -> list[float]:
    """Round values of MS-SSIM between two in dB, about equally far apart in dB: 0.9, 0.95, 0.98, 0.99 and so on."""
    found: dict[float, float] = {}
    for digits in ((1,), (2, 5), (3, 7), (4, 6, 8, 9), (1.5, 2.5), (1.2, 1.7, 3.5, 4.5, 5.5)):
        for power in range(1, 8):
            for digit in digits:
                value = round(1 - digit * 10.0**-power, power + 1)
                place = ms_ssim_db(value)
                if low <= place <= high and all(abs(place - other) >= (high - low) / count for other in found.values()):
                    found[value] = place
    if len(found) > 2:
        return sorted(found)
    from matplotlib.ticker import MaxNLocator

    ends = (1 - 10 ** (-place / 10) for place in (low, high))
    return [float(value) for value in MaxNLocator(count - 2).tick_values(*ends) if low <= ms_ssim_db(value) <= high]


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


def _legend(axes: Any, rising: bool) -> None:
    """In the corner where curves leave room: below those that rise."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right" if rising else "upper right", handlelength=3.2, labelspacing=0.35)
