"""The Bjontegaard rate difference between two rate-distortion curves."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from beholder.errors import BadOptionError

Array = NDArray[np.float64]


def bd_rate(anchor: ArrayLike, test: ArrayLike, *, anchor_rates: tuple[float, float] | None = None) -> float:
    """How many per cent more rate ``test`` needs than ``anchor`` for the same quality, on average.

    The logarithm of the rate is interpolated over quality and averaged over the qualities that both curves
    reach (G. Bjontegaard, VCEG-M33, 2001), with monotone piecewise cubics (Fritsch-Carlson "pchip", as in
    JCTVC-L1100 and later common test conditions) in place of one cubic polynomial.  Points
    that cost more rate than another one without being better are left out.

    Args:
        anchor: points (rate, quality), shape (n, 2), in any order; rate in bits per pixel or any other unit.
            Quality on a scale where equal steps mean about the same: PSNR in dB,
            or MS-SSIM through :func:`beholder.metrics.ms_ssim_db`.
        test: the other curve's points.
        anchor_rates: use only qualities that the anchor has between these two rates.

    Returns:
        Per cent; negative where ``test`` is better.

    Raises:
        BadOptionError: fewer than two usable points, values that are not finite and (rates) positive, or
            no common qualities.
    """
    curves = [_curve(anchor, "anchor"), _curve(test, "test")]
    low = max(quality[0] for quality, _ in curves)
    high = min(quality[-1] for quality, _ in curves)
    if anchor_rates is not None:
        quality, log_rate = curves[0]
        # Both are increasing, so the curve can be read the other way round.
        limits = _Pchip(log_rate, quality)(np.clip(np.log(anchor_rates), log_rate[0], log_rate[-1]))
        low, high = max(low, limits[0]), min(high, limits[1])
    if not low < high:
        raise BadOptionError("The two curves have no qualities in common: a BD-rate needs an overlap.")
    means = [_Pchip(quality, log_rate).mean(low, high) for quality, log_rate in curves]
    return 100.0 * math.expm1(means[1] - means[0])


def _curve(points: ArrayLike, name: str) -> tuple[Array, Array]:
    """Qualities and natural logarithms of the rates, both strictly increasing."""
    array = np.asarray(list(points) if isinstance(points, Iterable) else points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all() or (array[:, 0] <= 0).any():
        raise BadOptionError(f"The {name} curve needs pairs of a positive rate and a finite quality.")
    # Of several points at one rate the best comes first and hides the others.
    array = array[np.lexsort((-array[:, 1], array[:, 0]))]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(array[:, 1])[:-1]])
    array = array[array[:, 1] > best_before]
    if len(array) < 2:
        raise BadOptionError(f"The {name} curve has fewer than two points of rising quality: add some.")
    return array[:, 1], np.log(array[:, 0])


class _Pchip:
    """Monotone piecewise cubic Hermite interpolation.

    F. N. Fritsch, J. Butland, "A method for constructing local monotone piecewise cubic interpolants",
    SIAM J. Sci. Stat. Comput. 5, 1984; end slopes by C. Moler's three-point formula, as in MATLAB and SciPy.
    """

    def __init__(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y
        step = np.diff(x)
        secant = np.diff(y) / step
        if len(x) == 2:
            self.slope = np.repeat(secant, 2)
            return
        slope = np.zeros_like(y)
        w1, w2 = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
        same_sign = secant[:-1] * secant[1:] > 0
        harmonic = w1[same_sign] / secant[:-1][same_sign] + w2[same_sign] / secant[1:][same_sign]
        slope[1:-1][same_sign] = (w1 + w2)[same_sign] / harmonic
        slope[0] = _end_slope(step[0], step[1], secant[0], secant[1])
        slope[-1] = _end_slope(step[-1], step[-2], secant[-1], secant[-2])
        self.slope = slope

    def __call__(self, at: ArrayLike) -> Array:
        at = np.asarray(at, dtype=np.float64)
        i = np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, len(self.x) - 2)
        step = self.x[i + 1] - self.x[i]
        t = (at - self.x[i]) / step
        result: Array = (
            (1 + 2 * t) * (1 - t) ** 2 * self.y[i]
            + t * (1 - t) ** 2 * step * self.slope[i]
            + t**2 * (3 - 2 * t) * self.y[i + 1]
            + t**2 * (t - 1) * step * self.slope[i + 1]
        )
        return result

    def mean(self, low: float, high: float) -> float:
        """The exact mean over [low, high]: Simpson's rule, which is exact for cubics, between the knots."""
        inside = self.x[(self.x > low) & (self.x < high)]
        edges = np.concatenate([[low], inside, [high]])
        width = np.diff(edges)
        middle = self(edges[:-1] + 0.5 * width)
        ends = self(edges)
        return float((width * (ends[:-1] + 4 * middle + ends[1:])).sum() / 6 / (high - low))


def _end_slope(near_step: float, far_step: float, near: float, far: float) -> float:
    slope = ((2 * near_step + far_step) * near - near_step * far) / (near_step + far_step)
    if slope * near <= 0:
        return 0.0
    if near * far <= 0 and abs(slope) > 3 * abs(near):
        return 3 * near
    return slope
