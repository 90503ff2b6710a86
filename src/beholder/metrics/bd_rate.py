"""The Bjontegaard rate difference between two rate-distortion curves."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from beholder.errors import BadOptionError
from beholder.metrics.overlap import check_overlap, check_points
from beholder.metrics.pchip import Pchip

Array = NDArray[np.float64]


def bd_rate(anchor: ArrayLike, test: ArrayLike, *, anchor_rates: tuple[float, float] | None = None) -> float:
    """Per cent of rate that ``test`` needs more than ``anchor`` for the same quality, on average.

    The logarithm of the rate is interpolated over quality and averaged over the qualities that both curves
    reach (G. Bjontegaard, VCEG-M33, 2001), with monotone piecewise cubics (Fritsch-Carlson "pchip", as in
    JCTVC-L1100 and later common test conditions) in place of one cubic polynomial.  Points
    that cost more rate than another one without being better are left out.

    Args:
        anchor: points (rate, quality), shape (N, 2), in any order; rate in bits per pixel or any other unit.
            Quality on a scale where equal steps mean about the same: PSNR in dB,
            or MS-SSIM through :func:`beholder.metrics.ms_ssim_db`.
        test: the other curve's points.
        anchor_rates: use only qualities that the anchor has between these two rates.

    Returns:
        Per cent; negative where ``test`` is better.

    Raises:
        BadOptionError: fewer than :data:`~beholder.metrics.overlap.LEAST_POINTS` usable points, values that are
            not finite and (rates) positive, or less than half of the shorter curve's qualities in common.
    """
    curves = [_curve(anchor, "anchor"), _curve(test, "test")]
    first, second = ((float(quality[0]), float(quality[-1])) for quality, _ in curves)
    if anchor_rates is not None:
        quality, log_rate = curves[0]
        # Both are increasing, so the curve can be read the other way round.
        limits = Pchip(log_rate, quality)(np.clip(np.log(anchor_rates), log_rate[0], log_rate[-1]))
        first = float(limits[0]), float(limits[1])
    check_overlap(first, second, "qualities")
    low, high = max(first[0], second[0]), min(first[1], second[1])
    means = [Pchip(quality, log_rate).mean(low, high) for quality, log_rate in curves]
    return 100.0 * math.expm1(float(means[1] - means[0]))


def _curve(points: ArrayLike, name: str) -> tuple[Array, Array]:
    """Qualities and natural logarithms of the rates, both strictly increasing."""
    array = np.asarray(list(points) if isinstance(points, Iterable) else points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all() or (array[:, 0] <= 0).any():
        raise BadOptionError(f"The {name} curve needs pairs of a positive rate and a finite quality.")
    # Of several points at one rate the best comes first and hides the others.
    array = array[np.lexsort((-array[:, 1], array[:, 0]))]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(array[:, 1])[:-1]])
    array = array[array[:, 1] > best_before]
    check_points(len(array), name)
    return array[:, 1], np.log(array[:, 0])
