"""``beholder plot`` and ``beholder report``: what a sweep found, as figures, as tables and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.errors import BadFileError

if TYPE_CHECKING:
    from beholder.cli.grid import Grid
    from beholder.evaluation.summary.curves import Estimate, Series
    from beholder.evaluation.summary.summarise import Summary

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="What `beholder evaluate --output DIR` wrote.")]

_PER_CENT = {"top1": "top-1 %", "top5": "top-5 %", "preserved": "preserved %", "agreement": "agreement %"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(plot)
    app.command()(report)


def plot(folder: Folder) -> None:
    """Draw the figures of a sweep to DIR/plots, as PNG and SVG, and bring summary.csv up to date."""
    from beholder.cli import tables
    from beholder.evaluation.plots import figures as plots

    plots.require()  # before the work, not after it
    with tables.working("Reading the results ..."):
        summary = _summary(folder)
        written = plots.write(folder, summary)
    for path in written:
        if path.suffix == ".png":
            print(path)


def report(folder: Folder) -> None:
    """Write DIR/report.html, one page that needs nothing else, and bring summary.csv up to date."""
    from beholder.cli import tables
    from beholder.evaluation.report import write as pages

    with tables.working("Reading the results ..."):
        summary = _summary(folder)
        path = pages.write(folder, summary)
    show(summary)
    print(path)


def show(summary: Summary) -> None:
    """Print the means of all classifiers together, and how the codecs compare."""
    from beholder.cli import tables

    tables.show(summary_table(summary))
    comparisons = comparison_table(summary)
    if comparisons is not None:
        tables.show(comparisons)


def summary_table(summary: Summary, view: str | None = None) -> Grid:
    """The means over images of one classifier (by default of all together); preserved accuracy with its interval."""
    from beholder.cli import tables
    from beholder.evaluation.plots.style import styles, title

    view = view or summary.views[0]
    rows = [row for row in summary.rows if row.classifier == view]
    metrics = [name for name in summary.metrics if any(name in row for row in rows)]
    fractions = [name for name in _PER_CENT if any(name in row for row in rows)]
    looks = styles(summary.series)
    lines = []
    for row in rows:
        cells = [looks[row.series].label, str(row.quality), _plain(row.value("bpp"), 3)]
        cells += [_plain(row.value(name), 4 if abs(row.value(name) or 0) < 10 else 2) for name in metrics]
        for name in fractions:
            cells.append(_interval(row.estimate(name), 100) if name == "preserved" else _plain(row.value(name), 1, 100))
        lines.append(tuple(cells))
    columns = ("codec", "quality", "bpp", *map(title, metrics), *(_PER_CENT[name] for name in fractions))
    return tables.table(columns, lines, right=range(1, len(columns)), keys=2)


def comparison_table(summary: Summary) -> Grid | None:
    """Every codec against the first that knows no alpha, by all classifiers; None if there is but one."""
    from beholder.cli import tables
    from beholder.evaluation.plots.style import styles

    anchor: Series | None = next((series for series in summary.series if series.alpha is None), None)
    found = [c for c in summary.comparisons if c.anchor == anchor and c.classifier == summary.views[0]]
    if anchor is None or not found:
        return None
    looks = styles(summary.series)
    preserved = summary.knows("preserved")
    lines = [
        (
            looks[c.test].label,
            _bd(c.bd_rate, c.points),
            _plain(c.quality_overlap, 0, 100),
            _bd(c.bd_preserved if preserved else c.bd_agreement, c.points),
            _plain(c.rate_overlap, 0, 100),
        )
        for c in found
    ]
    measure = "preserved accuracy" if preserved else "agreement"
    columns = (
        f"against {looks[anchor].label}",
        "BD-rate (MS-SSIM), %",
        "overlap of MS-SSIM, %",
        f"BD-accuracy ({measure}), points",
        "overlap of rates, %",
    )
    return tables.table(columns, lines, right=range(1, len(columns)))


def _summary(folder: Path) -> Summary:
    from beholder.evaluation.summary import summarise as summary

    found = summary.load(folder)
    if not found.rows:
        raise BadFileError(f"The results in {folder} have no rows yet: let the sweep finish.")
    return summary.write(folder, found)


def _plain(value: float | None, digits: int, factor: float = 1) -> str:
    return "" if value is None else f"{factor * value:.{digits}f}"


def _bd(estimate: Estimate | None, points: int) -> str:
    """A BD difference with its interval; without one, how many points there are if these are too few."""
    from beholder.metrics.overlap import LEAST_POINTS

    if estimate is None:
        return f"none ({points} of {LEAST_POINTS} points)" if points < LEAST_POINTS else "none"
    return _interval(estimate, signed=True)


def _interval(estimate: Estimate | None, factor: float = 1, signed: bool = False) -> str:
    from beholder.evaluation.summary.curves import signed as difference

    if estimate is None:
        return ""
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (difference(factor * end) if signed else f"{factor * end:.1f}" for end in ends)
    return f"{value} ({low} to {high})" if estimate.known else value
