"""The figure of the trade-off: at a fixed rate, what people and what machines get."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from beholder.evaluation.plots.curves import SIZES, name_by_ms_ssim, new_figure
from beholder.evaluation.plots.style import styles, title
from beholder.evaluation.summary.compare import at_rate
from beholder.evaluation.summary.curves import Estimate, Series
from beholder.evaluation.summary.summarise import Summary
from beholder.metrics import ms_ssim_db

RATES = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Round numbers of bits per pixel to choose from."""

_PANELS = 4
_STEP = 1.39  # one rate to the next at least
_LEAST_SPAN = (2.0, 10.0)  # dB and points, so that noise does not fill a panel
_PANEL = (3.7, 3.1)

Point = tuple[Estimate, Estimate]
"""MS-SSIM and the machine's measure."""


def trade_off(summary: Summary) -> Any | None:
    """MS-SSIM against preserved accuracy (or agreement) at up to four rates; None if nothing can be compared."""
    view = summary.views[0]
    measure = summary.machine(view)
    panels = choose(summary, view)
    if measure is None or not panels:
        return None
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    figure, grid = new_figure((_PANEL[0] * columns + 0.3, _PANEL[1] * rows + 0.8), (rows, columns), squeeze=False)
    for axes, (bpp, points) in zip(grid.flat, panels.items(), strict=False):
        _draw(axes, points, summary)
        axes.set_title(f"{bpp:g} bpp")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("people: MS-SSIM  \u2192")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"machines: {title(measure).lower()} (%)  \u2192")
    handles = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    ordered = [style.label for style in styles(summary.series).values() if style.label in handles]
    figure.legend([handles[name] for name in ordered], ordered, loc="outside lower center", ncols=min(len(ordered), 4))
    return figure


def choose(summary: Summary, view: str | None) -> dict[float, dict[Series, Point]]:
    """Up to four rates, low ones first, that as many curves as possible reach, and the curves there."""
    measure = summary.machine(view)
    if measure is None:
        return {}
    found: dict[float, dict[Series, Point]] = {}
    for bpp in RATES:
        points = {}
        for series in summary.series:
            curve = summary.curve(view, series)
            human, machine = at_rate(curve, "ms_ssim", bpp), at_rate(curve, measure, bpp)
            if human is not None and machine is not None:
                points[series] = human, machine
        if points:
            found[bpp] = points
    most = max(map(len, found.values()), default=0)
    rates: list[float] = []
    for bpp, points in found.items():
        # At high rates there is little to trade.
        if len(points) == most and len(rates) < _PANELS and (not rates or bpp > _STEP * rates[-1]):
            rates.append(bpp)
    return {bpp: found[bpp] for bpp in rates}


def _draw(axes: Any, points: dict[Series, Point], summary: Summary) -> None:
    looks = styles(summary.series)
    paths: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for series, (human, machine) in points.items():
        style = looks[series]
        x, y = ms_ssim_db(human.value), 100 * machine.value
        across = [[x - ms_ssim_db(human.low)], [ms_ssim_db(human.high) - x]]
        up = [[y - 100 * machine.low], [100 * machine.high - y]]
        across, up = ([[max(0.0, side[0])] for side in sides] for sides in (across, up))  # 0 where it is not known
        axes.errorbar(x, y, up, across, color=style.colour, alpha=0.35, elinewidth=1.1, zorder=2)
        size = 8.5 if style.main else 7
        axes.plot(
            x,
            y,
            style.marker,
            color=style.colour,
            markersize=size * SIZES.get(style.marker, 1.0),
            markeredgecolor="white",
            markeredgewidth=0.8,
            label=style.label,
            zorder=4,
        )
        if series.alpha is not None:
            paths[series.codec].append((series.alpha, x, y))
    for path in paths.values():
        _, xs, ys = zip(*sorted(path), strict=True)
        colour = looks[next(series for series in points if series.alpha is not None)].colour
        axes.plot(xs, ys, color=colour, linewidth=1.3, alpha=0.7, zorder=3)
        ends = (min(path), max(path)) if len(path) > 1 else ()
        for alpha, x, y in ends:
            above = (y, alpha) == max((end[2], end[0]) for end in ends)
            axes.annotate(
                f"\u03b1 = {alpha:g}",
                (x, y),
                (0, 8 if above else -8),
                textcoords="offset points",
                fontsize=8,
                color="#555555",
                ha="center",
                va="bottom" if above else "top",
            )
    axes.margins(0.16)
    for (low, high), least, limit in zip(
        (axes.get_xlim(), axes.get_ylim()), _LEAST_SPAN, (axes.set_xlim, axes.set_ylim), strict=True
    ):
        lack = max(least - (high - low), 0) / 2
        limit(low - lack, high + lack)
    left, right = axes.get_xlim()
    name_by_ms_ssim(axes.xaxis, left, right, count=5)
