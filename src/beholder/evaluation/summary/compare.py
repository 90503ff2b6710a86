"""Codec against codec: BD-rate, BD-accuracy, and curves read at a fixed rate, with intervals from joint resampling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.evaluation.summary.curves import Curves, Estimate, Row, Series, interval
from beholder.metrics.overlap import LEAST_OVERLAP, LEAST_POINTS, overlap
from beholder.metrics.pchip import Pchip

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Points = tuple[Array, Array, Mask]
"""x and y, sorted, and which of them count; shape (1 + replicates, points)."""

_PER_CENT = 100.0
_NOTHING = np.full(1, np.nan)


@dataclass(frozen=True)
class Comparison:
    """Difference of ``test`` from ``anchor`` for one classifier (or of all: ``(mean)``)."""

    classifier: str | None
    anchor: Series
    test: Series
    bd_rate: Estimate | None
    """Per cent of rate at equal MS-SSIM; negative if ``test`` needs less."""
    bd_preserved: Estimate | None
    """Percentage points of preserved accuracy at equal rate, the mean over log bpp; positive if ``test`` is better."""
    bd_agreement: Estimate | None
    """Percentage points of agreement with the original's top-1."""
    bpp: tuple[float, float] | None
    """The rates that both curves reach."""
    quality_overlap: float | None
    """Fraction of the shorter curve's MS-SSIM range, in dB, that both reach; None where a curve has no range."""
    rate_overlap: float | None
    """Fraction of the shorter curve's range of rates, on a logarithmic scale, that both reach."""
    points: int
    """Usable points of the curve that has fewer.

    Differences are None below :data:`~beholder.metrics.overlap.LEAST_POINTS` points, or below
    :data:`~beholder.metrics.overlap.LEAST_OVERLAP` of overlap.
    """


def compare(summary: Curves) -> list[Comparison]:
    """Every ordered pair of curves, for every view; None where they have too little in common for a difference."""
    result = []
    for view in summary.views:
        curves = {series: _points(summary.curve(view, series)) for series in summary.series}
        found: dict[tuple[Series, Series], Comparison] = {}
        for anchor, test in combinations(curves, 2):
            a, b = curves[anchor], curves[test]
            rate = _PER_CENT * np.expm1(_mean_difference(a["ms_ssim"], b["ms_ssim"]))
            # Differences are antisymmetric, those of rates in their logarithm.
            back = _PER_CENT * (1 / (1 + rate / _PER_CENT) - 1)
            fractions = {name: _PER_CENT * _mean_difference(a[name], b[name]) for name in ("preserved", "agreement")}
            for pair, rates, sign in (((anchor, test), rate, 1), ((test, anchor), back, -1)):
                found[pair] = Comparison(
                    classifier=view,
                    anchor=pair[0],
                    test=pair[1],
                    bd_rate=_known(rates),
                    bd_preserved=_known(sign * fractions["preserved"]),
                    bd_agreement=_known(sign * fractions["agreement"]),
                    bpp=_common(*(summary.curve(view, series) for series in pair)),
                    quality_overlap=_overlap(a["ms_ssim"], b["ms_ssim"]),
                    rate_overlap=_overlap(a["bpp"], b["bpp"]),
                    points=min(int(keep[0].sum()) for points in (a, b) for _, _, keep in (points["bpp"],)),
                )
        result += [found[a, b] for a in curves for b in curves if a != b]
    return result


def records(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The lines of ``comparisons.csv``."""
    return [
        {
            "classifier": c.classifier,
            "anchor": c.anchor.codec,
            "anchor_alpha": c.anchor.alpha,
            "test": c.test.codec,
            "test_alpha": c.test.alpha,
            **_columns("bd_rate_ms_ssim_percent", c.bd_rate),
            **_columns("bd_preserved_points", c.bd_preserved),
            **_columns("bd_agreement_points", c.bd_agreement),
            "bpp_from": None if c.bpp is None else c.bpp[0],
            "bpp_to": None if c.bpp is None else c.bpp[1],
            "ms_ssim_overlap": c.quality_overlap,
            "bpp_overlap": c.rate_overlap,
            "points": c.points,
        }
        for c in comparisons
    ]


def at_rate(rows: Sequence[Row], name: str, bpp: float) -> Estimate | None:
    """The curve of ``name`` at ``bpp``, interpolated over log bpp; None outside the curve.

    Args:
        rows: the points of one curve.
        name: a value of :class:`~beholder.evaluation.summary.curves.Row`; MS-SSIM is interpolated in dB.
    """
    x, y, keep = _by_rate(_Curve(rows), name)
    samples = np.full(len(keep), np.nan)
    for mask, chosen in _patterns(keep):
        if mask.sum() >= 2:
            curve = Pchip(x[chosen][:, mask], y[chosen][:, mask])
            inside = (curve.x[:, 0] <= np.log(bpp)) & (np.log(bpp) <= curve.x[:, -1])
            samples[chosen] = np.where(inside, curve(np.full((len(chosen), 1), np.log(bpp)))[:, 0], np.nan)
    return _known(1 - 10 ** (-samples / 10) if name == "ms_ssim" else samples)


def at_rates(rows: Sequence[Row], name: str, bpps: Sequence[float]) -> list[float | None]:
    """The values of :func:`at_rate` at many rates, without intervals; MS-SSIM in dB."""
    x, y, keep = (part[0] for part in _by_rate(_Curve(rows), name))
    if keep.sum() < 2:
        return [None] * len(bpps)
    curve = Pchip(x[keep], y[keep])
    rates = np.log(np.asarray(bpps, dtype=np.float64))
    inside = (curve.x[0] <= rates) & (rates <= curve.x[-1])
    return [float(value) if known else None for value, known in zip(curve(rates), inside, strict=True)]


class _Curve:
    """The points of one curve; arrays have shape (1 + replicates, points)."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.bpp = self.values("bpp")

    def values(self, name: str) -> Array:
        """NaN where a point does not know ``name``; MS-SSIM in dB."""
        if not self._rows:
            return np.full((1, 0), np.nan)
        found = np.broadcast_arrays(*(row.samples.get(name, _NOTHING) for row in self._rows))
        values = np.stack(found, axis=-1)
        return decibels(values) if name == "ms_ssim" else values


def decibels(values: Array) -> Array:
    """MS-SSIM in dB, as :func:`beholder.metrics.ms_ssim_db`; infinite for 1."""
    with np.errstate(divide="ignore"):
        result: Array = -10 * np.log10(np.maximum(1 - values, 0.0))
    return result


def _points(rows: Sequence[Row]) -> dict[str, _Points]:
    """Quantities to compare, for every replicate at once: log rate over MS-SSIM as in :func:`beholder.metrics.bd_rate`,
    fractions over log rate as in :func:`beholder.metrics.bd_quality`.
    """
    curve = _Curve(rows)
    return {"ms_ssim": _by_quality(curve, "ms_ssim")} | {
        name: _by_rate(curve, name) for name in ("bpp", "preserved", "agreement")
    }


def _by_rate(curve: _Curve, name: str) -> _Points:
    """Quality over log rate; of equal rates the best."""
    x, y = _sorted(curve.bpp, curve.values(name))
    keep = np.isfinite(x) & np.isfinite(y) & (x > 0)
    keep[:, 1:] &= ~((x[:, 1:] == x[:, :-1]) & keep[:, :-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x), y, keep


def _by_quality(curve: _Curve, name: str) -> _Points:
    """Log rate over quality; without points that cost more than others and are no better."""
    rate, quality = _sorted(curve.bpp, curve.values(name))
    keep = np.isfinite(rate) & np.isfinite(quality) & (rate > 0)
    best = np.maximum.accumulate(np.where(keep, quality, -np.inf), axis=1)
    keep[:, 1:] &= quality[:, 1:] > best[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return quality, np.log(rate), keep


def _sorted(rate: Array, quality: Array) -> tuple[Array, Array]:
    rate, quality = np.broadcast_arrays(rate, quality)
    order = np.lexsort((-quality, rate), axis=1)
    return np.take_along_axis(rate, order, axis=1), np.take_along_axis(quality, order, axis=1)


def _mean_difference(anchor: _Points, test: _Points) -> Array:
    """Mean of y(test) - y(anchor) over the x that both reach, for every replicate; NaN where that is too little."""
    replicates = max(len(anchor[2]), len(test[2]))
    result = np.full(replicates, np.nan)
    masks = [np.broadcast_to(keep, (replicates, keep.shape[1])) for *_, keep in (anchor, test)]
    # Nearly all replicates keep the same points, and are computed together.
    for a, b, chosen in _patterns(*masks):
        if min(a.sum(), b.sum()) < LEAST_POINTS:
            continue
        curves = [Pchip(x[chosen][:, mask], y[chosen][:, mask]) for (x, y, _), mask in ((anchor, a), (test, b))]
        low = np.maximum(*(curve.x[:, 0] for curve in curves))
        high = np.minimum(*(curve.x[:, -1] for curve in curves))
        shorter = np.minimum(*(curve.x[:, -1] - curve.x[:, 0] for curve in curves))
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [curve.mean(low, np.maximum(low, high)) for curve in curves]
            result[chosen] = np.where(high - low >= LEAST_OVERLAP * shorter, means[1] - means[0], np.nan)
    return result


def _overlap(a: _Points, b: _Points) -> float | None:
    """Fraction of the shorter curve's x that both reach; None where a curve has fewer than two points."""
    known = [x[0][keep[0]] for x, _, keep in (a, b)]
    if min(map(len, known)) < 2:
        return None
    first, second = ((float(x[0]), float(x[-1])) for x in known)
    return overlap(first, second)


def _patterns(*masks: Mask) -> Iterator[tuple[Any, ...]]:
    """Each combination of kept points, and which replicates have it."""
    widths = np.cumsum([mask.shape[1] for mask in masks])[:-1]
    joined = np.concatenate(masks, axis=1)
    found: dict[bytes, list[int]] = defaultdict(list)
    for number, pattern in enumerate(joined):
        found[pattern.tobytes()].append(number)
    for chosen in found.values():
        yield *np.split(joined[chosen[0]], widths), np.array(chosen)


def _common(a: Sequence[Row], b: Sequence[Row]) -> tuple[float, float] | None:
    rates = [[row.value("bpp") or 0.0 for row in rows] for rows in (a, b)]
    if not all(rates):
        return None
    low, high = max(map(min, rates)), min(map(max, rates))
    return (low, high) if low < high else None


def _known(samples: Array) -> Estimate | None:
    return interval(samples) if np.isfinite(samples[0]) else None


def _columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    low_high = (None, None) if estimate is None else (estimate.low, estimate.high)
    return {name: None if estimate is None else estimate.value, f"{name}_low": low_high[0], f"{name}_high": low_high[1]}
