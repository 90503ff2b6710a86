"""Monotone piecewise cubic interpolation, the curve through the points of a rate-quality diagram.

F. N. Fritsch, J. Butland, "A method for constructing local monotone piecewise cubic interpolants",
SIAM J. Sci. Stat. Comput. 5, 1984; end slopes by C. Moler's three-point formula, as in MATLAB and SciPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Pchip:
    """Smooth curves through points that overshoot none of them; one curve, or many with equally many points.

    Args:
        x: shape (..., n), n >= 2, strictly increasing along the last axis.
        y: shape (..., n).
    """

    def __init__(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y
        step = np.diff(x)
        secant = np.diff(y) / step
        if x.shape[-1] == 2:
            self.slope = np.concatenate([secant, secant], axis=-1)
            return
        near, far = secant[..., :-1], secant[..., 1:]
        w1, w2 = 2 * step[..., 1:] + step[..., :-1], step[..., 1:] + 2 * step[..., :-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            harmonic = (w1 + w2) / (w1 / near + w2 / far)
        inner = np.where(near * far > 0, harmonic, 0.0)
        first = _end_slope(step[..., 0], step[..., 1], secant[..., 0], secant[..., 1])
        last = _end_slope(step[..., -1], step[..., -2], secant[..., -1], secant[..., -2])
        self.slope = np.concatenate([first[..., None], inner, last[..., None]], axis=-1)

    def __call__(self, at: ArrayLike) -> Array:
        """Values at ``at``, meaningful between the first and the last ``x``.

        Args:
            at: shape (..., m) with the curves' leading axes; for one curve any shape.
        """
        at = np.asarray(at, dtype=np.float64)
        if self.x.ndim == 1:
            i = np.searchsorted(self.x, at, side="right") - 1
        else:
            i = (self.x[..., None, :] <= at[..., :, None]).sum(axis=-1) - 1
        i = np.clip(i, 0, self.x.shape[-1] - 2)
        x0, x1, y0, y1, slope0, slope1 = (
            values[i + more] if values.ndim == 1 else np.take_along_axis(values, i + more, axis=-1)
            for values in (self.x, self.y, self.slope)
            for more in (0, 1)
        )
        step = x1 - x0
        t = (at - x0) / step
        result: Array = (
            (1 + 2 * t) * (1 - t) ** 2 * y0
            + t * (1 - t) ** 2 * step * slope0
            + t**2 * (3 - 2 * t) * y1
            + t**2 * (t - 1) * step * slope1
        )
        return result

    def mean(self, low: ArrayLike, high: ArrayLike) -> Array:
        """The exact mean over [low, high]: Simpson's rule, which is exact for cubics, between the knots.

        Args:
            low, high: shape (...,), one number for each curve, low < high.
        """
        low, high = (np.asarray(limit, dtype=np.float64)[..., None] for limit in (low, high))
        # Knots outside become intervals of no width.
        edges = np.concatenate([low, np.clip(self.x, low, high), high], axis=-1)
        width = np.diff(edges)
        middle = self(edges[..., :-1] + 0.5 * width)
        ends = self(edges)
        total: Array = (width * (ends[..., :-1] + 4 * middle + ends[..., 1:])).sum(axis=-1)
        return total / 6 / (high - low)[..., 0]


def _end_slope(near_step: Array, far_step: Array, near: Array, far: Array) -> Array:
    slope = ((2 * near_step + far_step) * near - near_step * far) / (near_step + far_step)
    steep = (near * far <= 0) & (np.abs(slope) > 3 * np.abs(near))
    return np.where(slope * near <= 0, 0.0, np.where(steep, 3 * near, slope))
