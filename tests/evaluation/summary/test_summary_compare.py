"""BD values of known curves, their replicates, and curves that cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.fake_results import row, table

from beholder.errors import BadOptionError
from beholder.evaluation.summary.compare import at_rate
from beholder.evaluation.summary.curves import Series
from beholder.evaluation.summary.summarise import Summary, summarise
from beholder.metrics import bd_quality, bd_rate, ms_ssim_db


def curves_of(points: dict[Series, list[tuple[float, float, float]]]) -> Summary:
    """A summary of curves (bpp, MS-SSIM, preserved accuracy), the same for each of two images."""
    rows = []
    for series, curve in points.items():
        for quality, (bpp, ms_ssim, preserved) in enumerate(curve, 1):
            for i in range(100):
                seen = i < round(100 * preserved)
                rows.append(
                    row(
                        image=str(i),
                        codec=series.codec,
                        alpha=series.alpha,
                        quality=quality,
                        bpp=bpp,
                        ms_ssim=ms_ssim,
                        correct=seen,
                        agrees=seen,
                    )
                )
    return summarise(table(rows), replicates=20)


def test_bd_values_of_known_curves() -> None:
    """The test codec needs half of the rate for the same MS-SSIM and sees ten points more at equal rate."""
    jpeg = [(0.2, 0.90, 0.5), (0.4, 0.95, 0.5), (0.8, 0.98, 0.5), (1.6, 0.99, 0.5)]
    rnn = [(rate / 2, quality, 0.6) for rate, quality, _ in jpeg]
    result = curves_of({Series("jpeg"): jpeg, Series("rnn", 1.0): rnn})
    there, back = (
        next(c for c in result.comparisons if (c.anchor.codec, c.test.codec) == pair)
        for pair in (("jpeg", "rnn"), ("rnn", "jpeg"))
    )
    assert there.bd_rate is not None
    assert there.bd_rate.value == pytest.approx(-50)
    assert there.bd_preserved is not None
    assert there.bd_preserved.value == pytest.approx(10)
    assert there.bpp == pytest.approx((0.2, 0.8))
    assert back.bd_rate is not None
    assert back.bd_rate.value == pytest.approx(100)
    assert back.bd_preserved is not None
    assert back.bd_preserved.value == pytest.approx(-10)


def test_curves_without_overlap_are_not_compared() -> None:
    result = curves_of(
        {Series("jpeg"): [(1, 0.9, 0.5), (2, 0.91, 0.5)], Series("bpg"): [(4, 0.95, 0.5), (8, 0.96, 0.5)]}
    )
    for comparison in result.comparisons:
        assert (comparison.bd_rate, comparison.bd_preserved, comparison.bpp) == (None, None, None)
    single = curves_of({Series("jpeg"): [(1, 0.9, 0.5)], Series("bpg"): [(4, 0.95, 0.5), (8, 0.96, 0.5)]})
    assert single.comparisons[0].bd_rate is None


@pytest.mark.parametrize(
    ("others", "share", "known"),
    [
        ([0.5, 0.7, 0.8, 0.9], 0.0, False),
        ([0.8, 0.85, 0.88, 0.9, 0.92], 0.24, False),
        ([0.85, 0.9, 0.93, 0.96], 0.69, True),
        ([0.90, 0.95, 0.98], 1.0, False),
        ([0.91, 0.94, 0.95, 0.96], 1.0, True),
    ],
)
def test_too_little_in_common_makes_no_number(others: list[float], share: float, known: bool) -> None:
    """Four points and half of the shorter curve's range are needed; the share is told in any case."""
    points = [0.90, 0.95, 0.98, 0.99]
    curves = {
        Series("jpeg"): [(0.1 * 2**i, quality, 0.5) for i, quality in enumerate(points)],
        Series("bpg"): [(0.1 * 2**i, quality, 0.6) for i, quality in enumerate(others)],
    }
    comparison = curves_of(curves).comparisons[0]
    assert comparison.quality_overlap == pytest.approx(share, abs=0.01)
    assert (comparison.bd_rate is not None) == known
    assert comparison.points == min(4, len(others))
    assert (comparison.bd_preserved is not None) == (len(others) >= 4)
    bd = [[(bpp, ms_ssim_db(quality)) for bpp, quality, _ in curve] for curve in curves.values()]
    if known:
        assert comparison.bd_rate is not None
        assert comparison.bd_rate.value == pytest.approx(bd_rate(*bd))
    else:
        with pytest.raises(BadOptionError, match=r"needs (4|50 %)"):
            bd_rate(*bd)


def test_every_replicate_has_the_bd_value_of_the_metrics_package() -> None:
    """Computed all at once here, one by one there; with detours: worse points at higher rates, curves that cross."""
    rng = np.random.default_rng(3)
    rows = []
    for image in range(5):
        for codec in ("jpeg", "bpg", "webp"):
            for quality in range(1, 7):
                rows.append(
                    row(
                        image=str(image),
                        codec=codec,
                        quality=quality,
                        bpp=quality * float(rng.uniform(0.05, 0.2)),
                        ms_ssim=1 - 0.2 / quality * float(rng.uniform(0.5, 1.5)),
                        correct=bool(rng.random() < quality / 8),
                        agrees=bool(rng.random() < quality / 8),
                    )
                )
    result = summarise(table(rows), replicates=60)
    a, b = (result.curve("lite0", Series(codec)) for codec in ("jpeg", "webp"))
    rates, shares = [], []
    for i in range(61):
        curves = [
            [(p.samples["bpp"][i], p.samples["ms_ssim"][i], p.samples["agreement"][i]) for p in c] for c in (a, b)
        ]
        try:
            rates.append(bd_rate(*([(bpp, ms_ssim_db(m)) for bpp, m, _ in curve] for curve in curves)))
        except BadOptionError:  # too few points are left without the worse ones
            rates.append(math.nan)
        shares.append(100 * bd_quality(*([(bpp, s) for bpp, _, s in curve] for curve in curves)))
    assert np.isfinite(rates).sum() > 40
    comparison = next(c for c in result.comparisons if (c.anchor.codec, c.test.codec) == ("jpeg", "webp"))
    for estimate, values in ((comparison.bd_rate, rates), (comparison.bd_agreement, shares)):
        assert estimate is not None
        expected = (values[0], *np.nanpercentile(values[1:], (2.5, 97.5)))
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, rel=1e-9)


def test_a_curve_is_read_at_a_rate(found: Summary) -> None:
    curve = found.curve("lite0", Series("bpg"))
    rate, share = curve[2].value("bpp"), curve[2].value("preserved")
    assert rate is not None
    at_point = at_rate(curve, "preserved", rate)
    assert at_point is not None
    assert at_point.value == pytest.approx(share)
    between = at_rate(curve, "ms_ssim", 1.05 * rate)
    assert between is not None
    assert (curve[2].value("ms_ssim") or 1) < between.value < (curve[3].value("ms_ssim") or 0)
    assert at_rate(curve, "preserved", 1e-6) is None
    assert at_rate(curve, "preserved", 1e6) is None
    assert at_rate(curve[:1], "preserved", rate) is None
    assert at_rate([], "preserved", rate) is None
