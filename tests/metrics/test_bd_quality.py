"""BD differences of quality at equal rate: closed forms and SciPy's interpolation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.errors import BadOptionError
from beholder.metrics import bd_quality

CURVE = [(0.1, 0.28), (0.2, 0.45), (0.45, 0.43), (0.9, 0.80), (1.4, 0.81)]


@given(offset=st.floats(-1, 1), order=st.permutations(CURVE))
def test_a_constant_offset_is_found_exactly(offset: float, order: list[tuple[float, float]]) -> None:
    test = [(rate, quality + offset) for rate, quality in order]
    assert bd_quality(CURVE, test) == pytest.approx(offset, abs=1e-12)
    assert bd_quality(test, CURVE) == pytest.approx(-offset, abs=1e-12)


def test_lines_in_log_rate() -> None:
    # Over the common rates 1 to 4 the test rises from 0.5 to 1 in equal steps per octave, the anchor stays at 0.5.
    anchor = [(1, 0.5), (2, 0.5), (4, 0.5), (8, 0.5)]
    assert bd_quality(anchor, [(0.25, 0.0), (0.5, 0.25), (1, 0.5), (4, 1.0)]) == pytest.approx(0.25)


def test_only_common_rates_count() -> None:
    flat = [(rate, 1.0) for rate in (1, 1.2, 1.5, 2)]
    assert bd_quality(flat, [*((rate, 3.0) for rate, _ in flat), (400, 99)]) == pytest.approx(2.0)


def test_agrees_with_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    test = [(0.08, 0.2), (0.13, 0.5), (0.31, 0.4), (0.5, 0.9), (1.2, 0.95)]
    low, high = math.log(0.1), math.log(1.2)
    areas = [
        interpolate.PchipInterpolator(np.log([r for r, _ in c]), [q for _, q in c]).integrate(low, high)
        for c in (CURVE, test)
    ]
    assert bd_quality(CURVE, test) == pytest.approx((areas[1] - areas[0]) / (high - low), rel=1e-9)


def test_the_best_of_one_rate_counts() -> None:
    assert bd_quality(CURVE, [*CURVE, (0.2, 0.1)]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ([(5, 0.1), (6, 0.2), (7, 0.3), (8, 0.4)], "have 0 % of their rates in common"),
        ([(1, 0.1), (2, 0.2), (7, 0.3), (8, 0.4)], "have 16 % of their rates in common"),
        ([(0.1, 0.3)], "has 1 point .* needs 4"),
        ([(0.1, 0.3), (0.2, 0.4), (0.3, 0.4), (0.3, 0.5)], "has 3 points .* needs 4"),
        ([], "pairs of a positive rate"),
        ([(0.0, 0.3), (0.2, 0.3)], "pairs of a positive rate"),
        ([(0.1, 0.3), (0.2, math.nan)], "pairs of a positive rate"),
    ],
)
def test_unusable_curves(test: list[tuple[float, ...]], words: str) -> None:
    with pytest.raises(BadOptionError, match=words):
        bd_quality(CURVE, test)
