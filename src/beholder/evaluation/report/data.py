"""Data of the report's curves: a summary as plain numbers for the script in the page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from beholder.evaluation.plots.style import styles, title, view_title
from beholder.evaluation.report.gallery import Exhibit, Seen
from beholder.evaluation.summary.compare import at_rates
from beholder.evaluation.summary.curves import Row, Series
from beholder.evaluation.summary.summarise import FRACTIONS, Summary
from beholder.metrics import higher_is_better

_STEPS = 49
_DIGITS = 5


def payload(summary: Summary, exhibits: Sequence[Exhibit] = ()) -> dict[str, Any]:
    """All curves of all classifiers, and the pictures of the gallery.

    ``points[view][series]`` is a list of ``[bpp, quality, images, {name: [value, low, high]}]``;
    ``gallery[image]`` is a list of ``{series, shown, steps}``, a step being ``[facts, what was seen, data URI]``; the
    URI is empty where the picture stands in the page already.
    ``tradeoff.at[view][series]`` one of ``[MS-SSIM in dB, machine's measure]`` for each rate of ``tradeoff.bpp``.
    """
    looks = styles(summary.series)
    names = [name for name in summary.columns() if name not in ("bpp", "bytes", "metadata_bytes", "top1_original")]
    human = [name for name in names if name in summary.metrics]
    machine = [name for name in ("preserved", "top1", "top5", "agreement") if name in names]
    rates = _rates(summary)
    return {
        "views": [view_title(view) for view in summary.views],
        "series": [
            {"label": s.label, "marker": s.marker, "dash": list(s.dash), "main": s.main, "codec": series.codec}
            for series, s in looks.items()
        ],
        "measures": {name: _measure(name) for name in (*machine, *human)},
        "machine": machine,
        "human": human,
        "points": [
            [[_point(row, (*machine, *human)) for row in summary.curve(view, series)] for series in looks]
            for view in summary.views
        ],
        "gallery": [_exhibit(exhibit, list(looks)) for exhibit in exhibits],
        "tradeoff": {
            "bpp": [_round(rate) for rate in rates],
            "measure": [summary.machine(view) for view in summary.views],
            "at": [
                [_pairs(summary.curve(view, series), summary.machine(view), rates) for series in looks]
                for view in summary.views
            ],
        },
    }


def embed(data: dict[str, Any]) -> str:
    """JSON that may stand inside a ``script`` element, whatever the strings hold."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _exhibit(exhibit: Exhibit, series: list[Series]) -> list[dict[str, Any]]:
    return [
        {
            "series": series.index(one),
            "shown": exhibit.chosen[one],
            "steps": [
                [shot.facts, [_seen(seen) for seen in shot.seen], "" if place == exhibit.chosen[one] else shot.data]
                for place, shot in enumerate(shots)
            ],
        }
        for one, shots in exhibit.curves.items()
    ]


def _seen(seen: Seen) -> str:
    mark = "\u2713" if seen.agrees else "\u2717"
    probability = "" if seen.probability is None else f" {100 * seen.probability:.0f} %"
    return f"{mark} {seen.label}{probability} ({seen.classifier})"


def _measure(name: str) -> dict[str, Any]:
    return {
        "title": title(name),
        "fraction": name in FRACTIONS,
        "decibels": name == "ms_ssim",
        "rising": higher_is_better(name),
    }


def _point(row: Row, names: tuple[str, ...]) -> list[Any]:
    values = {}
    for name in names:
        estimate = row.estimate(name)
        if estimate is not None and math.isfinite(estimate.value):
            values[name] = [_round(estimate.value), _round(estimate.low), _round(estimate.high)]
    return [_round(row.value("bpp")), row.quality, row.images, values]


def _rates(summary: Summary) -> list[float]:
    """Rates to step through, equally far apart in logarithm, between those that at least two points reach."""
    found = [rate for row in summary.rows if (rate := row.value("bpp"))]
    if not found or min(found) == max(found):
        return []
    return [float(rate) for rate in np.geomspace(min(found), max(found), _STEPS)]


def _pairs(rows: list[Row], measure: str | None, rates: list[float]) -> list[list[float | None] | None]:
    if measure is None or not rows or not rates:
        return []
    both = zip(at_rates(rows, "ms_ssim", rates), at_rates(rows, measure, rates), strict=True)
    return [None if a is None or b is None else [_round(a), _round(b)] for a, b in both]


def _round(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{_DIGITS}g}")
