"""BD-rate: closed forms, SciPy's interpolation, and published curves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.errors import BadOptionError
from beholder.metrics import bd_rate, ms_ssim_db

CURVE = [(0.1, 28.0), (0.2, 30.5), (0.45, 33.0), (0.9, 36.5), (1.4, 38.0)]


@given(factor=st.floats(0.05, 20), order=st.permutations(CURVE))
def test_a_constant_factor_is_found_exactly(factor: float, order: list[tuple[float, float]]) -> None:
    test = [(rate * factor, quality) for rate, quality in order]
    assert bd_rate(CURVE, test) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_it_is_antisymmetric_in_the_logarithm() -> None:
    test = [(0.12, 29.0), (0.3, 33.0), (0.5, 34.0), (0.8, 36.0)]
    there, back = bd_rate(CURVE, test), bd_rate(test, CURVE)
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1.0)


def test_lines_in_log_rate() -> None:
    # ln rate differs by 0 at quality 30 and by ln 4 at 40: ln 2 on average.
    curves = [[(base ** (step / 3), 30 + 10 * step / 3) for step in range(4)] for base in (2, 8)]
    assert bd_rate(*curves) == pytest.approx(100.0)


def test_agrees_with_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    test = [(0.08, 27.0), (0.1, 29.9), (0.31, 30.4), (0.5, 35.0), (1.2, 35.1), (2.0, 41.0)]
    low, high = 28.0, 38.0
    areas = [
        interpolate.PchipInterpolator([q for _, q in c], np.log([r for r, _ in c])).integrate(low, high)
        for c in (CURVE, test)
    ]
    expected = 100 * math.expm1((areas[1] - areas[0]) / (high - low))
    assert bd_rate(CURVE, test) == pytest.approx(expected, rel=1e-9)


def test_dominated_points_are_left_out() -> None:
    worse = [*CURVE, (0.5, 29.0), (0.45, 32.0), (2.0, 38.0)]
    assert bd_rate(CURVE, worse) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ([(0.1, 10.0), (0.2, 20.0), (0.3, 25.0), (0.4, 26.0)], "have 0 % of their qualities in common"),
        ([(0.1, 10.0), (0.2, 20.0), (0.3, 25.0), (0.4, 30.0)], "have 20 % of their qualities in common"),
        ([(0.1, 30.0)], "has 1 point .* needs 4"),
        ([(0.1, 30.0), (0.2, 31.0), (0.3, 32.0), (0.4, 32.0)], "has 3 points .* needs 4"),
        ([], "pairs of a positive rate"),
        ([(0.0, 30.0), (0.2, 33.0)], "pairs of a positive rate"),
        ([(0.1, 30.0), (0.2, math.inf)], "pairs of a positive rate"),
        ([(0.1, 30.0, 1.0), (0.2, 31.0, 1.0)], "pairs of a positive rate"),
    ],
)
def test_unusable_curves(test: list[tuple[float, ...]], words: str) -> None:
    with pytest.raises(BadOptionError, match=words):
        bd_rate(CURVE, test)


def test_published_bd_rates(shared_data: Path) -> None:
    """16 published codecs against BPG 4:4:4 on Kodak, MS-SSIM in dB, over the anchor's 0.125 to 1 bpp."""
    reference = json.loads((shared_data / "kodak_reference.json").read_text())

    def curve(name: str) -> list[tuple[float, float]]:
        points = reference["codecs"][name]["points"]
        return [(p["bpp"], ms_ssim_db(p["ms_ssim"])) for p in points if p.get("ms_ssim") is not None]

    expected = reference["bd_rate_ms_ssim_vs_bpg444_pct"]
    assert len(expected) >= 16
    anchor = curve("tfc/bpg444")
    found = {name: bd_rate(anchor, curve(name), anchor_rates=(0.125, 1.0)) for name in expected}
    assert found == pytest.approx(expected, abs=0.2)
