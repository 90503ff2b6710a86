"""The Bjontegaard quality difference between two rate-quality curves: BD-PSNR, or BD-accuracy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from beholder.errors import BadOptionError
from beholder.metrics.overlap import check_overlap, check_points
from beholder.metrics.pchip import Pchip

Array = NDArray[np.float64]


def bd_quality(anchor: ArrayLike, test: ArrayLike) -> float:
    """Gain of ``test`` over ``anchor`` at the same rate, on average, in the unit of the quality.

    Quality is interpolated over the logarithm of the rate (monotone piecewise cubics, as in
    :func:`beholder.metrics.bd_rate`) and averaged over the rates that both curves reach (G. Bjontegaard, VCEG-M33,
    2001).  Quality need not rise with the rate, so it may be an accuracy.  Of several points at one rate the best
    counts.

    Args:
        anchor: points (rate, quality), shape (N, 2), in any order; rate in bits per pixel or any other unit.
        test: the other curve's points.

    Returns:
        Positive where ``test`` is better, if more quality is better.

    Raises:
        BadOptionError: fewer than :data:`~beholder.metrics.overlap.LEAST_POINTS` rates, values that are not finite
            and (rates) positive, or less than half of the shorter curve's rates (on a logarithmic scale) in common.
    """
    curves = [_curve(anchor, "anchor"), _curve(test, "test")]
    first, second = ((float(rate[0]), float(rate[-1])) for rate, _ in curves)
    check_overlap(first, second, "rates")
    low, high = max(first[0], second[0]), min(first[1], second[1])
    means = [Pchip(rate, quality).mean(low, high) for rate, quality in curves]
    return float(means[1] - means[0])


def _curve(points: ArrayLike, name: str) -> tuple[Array, Array]:
    """Natural logarithms of the rates, strictly increasing, and qualities."""
    array = np.asarray(list(points) if isinstance(points, Iterable) else points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all() or (array[:, 0] <= 0).any():
        raise BadOptionError(f"The {name} curve needs pairs of a positive rate and a finite quality.")
    array = array[np.lexsort((-array[:, 1], array[:, 0]))]
    _, first = np.unique(array[:, 0], return_index=True)
    array = array[first]
    check_points(len(array), name)
    return np.log(array[:, 0]), array[:, 1]
