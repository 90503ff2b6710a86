"""The local statistics that SSIM and MS-SSIM share: Gaussian windows, only where they lie inside the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 11
_SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
"""Constants of luminance and contrast, for values up to 255."""

Planes = NDArray[np.float64]


def similarity(x: Planes, y: Planes, window: Planes, luminance_too: bool) -> float:
    """Mean of the contrast-structure map of two planes, times the luminance map if asked for (then it is SSIM)."""
    mean_x, mean_y = _filter(x, window), _filter(y, window)
    # SSIM needs only var(x) + var(y) and cov(x, y): two filtered maps of sum and difference, not three.
    sum_square, difference_square = _filter((x + y) ** 2, window), _filter((x - y) ** 2, window)
    squares, product = mean_x**2 + mean_y**2, mean_x * mean_y
    variances = 0.5 * (sum_square + difference_square) - squares
    covariance = 0.25 * (sum_square - difference_square) - product
    contrast = (2 * covariance + C2) / (variances + C2)
    if luminance_too:
        contrast *= (2 * product + C1) / (squares + C1)
    return float(contrast.mean())


def gaussian(short_side: int) -> Planes:
    """Weights of the window, shape (11,); a picture with a shorter side gets the largest odd size that fits."""
    size = min(WINDOW, short_side - 1 + short_side % 2)
    offsets = np.arange(size) - size // 2
    weights: Planes = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    return weights


def band(rows: int) -> Planes:
    """(rows, rows + 10): the window, one to the right in each row.  A product with it filters ``rows + 10`` rows."""
    result = np.zeros((rows, rows + WINDOW - 1))
    for row in range(rows):
        result[row, row : row + WINDOW] = gaussian(WINDOW)
    return result


def _filter(plane: Planes, window: Planes) -> Planes:
    """Correlate the rows, then the columns of ``plane`` with a symmetric window, inside the plane only."""
    return _filter_rows(_filter_rows(plane, window).T, window).T


def _filter_rows(plane: Planes, window: Planes) -> Planes:
    size = len(window)
    height = plane.shape[0] - size + 1
    result: Planes = plane[size // 2 : size // 2 + height] * window[size // 2]
    for k in range(size // 2):
        pair = plane[k : k + height] + plane[size - 1 - k : size - 1 - k + height]
        pair *= window[k]
        result += pair
    return result
