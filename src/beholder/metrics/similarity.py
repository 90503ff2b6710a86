"""The local comparison behind SSIM, MS-SSIM and the encoder's gradient of MS-SSIM: Gaussian windows and their moments.

Windows count only where they lie inside the picture.  All is computed in strips that fit into the processor's cache,
in the type of the planes: float64 for a metric, float32 for the encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
"""float64 or float32."""

WINDOW = 11
"""Pixels of a window's side."""
_SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
"""Constants of luminance and contrast, for values up to 255."""
STRIP = 1 << 16
"""Values of a strip: 256 KiB as float32."""
BAND = 22
"""Values that one product filters; with the margin of the largest window, 32 are read."""


@dataclass
class Strip:
    """The windows that begin in some rows of two planes x and y: (rows, columns) each."""

    rows: slice
    mean_x: Floats
    mean_y: Floats
    sums: Floats
    """The two variances and C2."""
    contrast: Floats
    """The contrast-structure map, -1 to 1."""
    energy: Floats | None = None
    """The squares of the means and C1, where luminance is compared too."""
    luminance: Floats | None = None
    """The luminance map, 0 to 1."""

    def total(self) -> float:
        """Sum of the contrast-structure map, times the luminance map if there is one (then it is SSIM)."""
        terms = self.contrast if self.luminance is None else self.luminance * self.contrast
        return float(terms.sum(dtype=np.float64))


def similarity(x: Floats, y: Floats, luminance_too: bool, size: int = WINDOW) -> float:
    """Mean of the contrast-structure map of two planes, times the luminance map if asked for (then it is SSIM).

    Args:
        x, y: (H, W), values up to 255.
        luminance_too: compare luminance, too.
        size: pixels of the window's side, see :func:`window_size`.
    """
    total = sum(strip.total() for strip in compare(x, y, luminance_too, size=size))
    return total / ((x.shape[0] - size + 1) * (x.shape[1] - size + 1))


def compare(
    x: Floats,
    y: Floats,
    luminance_too: bool,
    moments: tuple[Floats, Floats] | None = None,
    size: int = WINDOW,
) -> Iterator[Strip]:
    """Compare all windows of two planes, strip by strip.

    Args:
        x, y: (H, W), values up to 255.
        luminance_too: compare luminance, too.
        moments: :func:`mean_and_variance` of ``y``; None computes them, a strip at a time.
        size: pixels of the window's side.
    """
    for rows in _strips(x.shape, size):
        read = slice(rows.start, rows.stop + size - 1)
        mean_y, variance_y = _moments(y[read], size) if moments is None else (part[rows] for part in moments)
        mean_x, square, product = blur(np.stack([x[read], x[read] * x[read], x[read] * y[read]]), size)
        sums = square
        sums -= mean_x * mean_x
        sums += variance_y
        sums += C2
        contrast = product
        contrast -= mean_x * mean_y
        contrast *= 2
        contrast += C2
        contrast /= sums
        strip = Strip(rows, mean_x, mean_y, sums, contrast)
        if luminance_too:
            strip.energy = mean_x * mean_x + mean_y * mean_y + C1
            strip.luminance = (2 * mean_x * mean_y + C1) / strip.energy
        yield strip


def mean_and_variance(y: Floats, size: int = WINDOW) -> tuple[Floats, Floats]:
    """Mean and variance of each window in a plane (H, W): (H - size + 1, W - size + 1) each."""
    result = np.empty((2, y.shape[0] - size + 1, y.shape[1] - size + 1), y.dtype)
    for rows in _strips(y.shape, size):
        result[:, rows] = _moments(y[rows.start : rows.stop + size - 1], size)
    return result[0], result[1]


def blur(x: Floats, size: int = WINDOW) -> Floats:
    """Filter the last two axes of (..., H, W) with the window: (..., H - size + 1, W - size + 1).

    It runs as products of matrices that hold the window on each row.
    """
    border = size - 1
    height, width = x.shape[-2] - border, x.shape[-1] - border
    between = np.empty((*x.shape[:-2], height, x.shape[-1]), x.dtype)
    for start in range(0, height, BAND):
        rows = min(BAND, height - start)
        matrix = _band(rows, size, x.dtype)
        np.matmul(matrix, x[..., start : start + rows + border, :], between[..., start : start + rows, :])
    result = np.empty((*x.shape[:-2], height, width), x.dtype)
    for start in range(0, width, BAND):
        count = min(BAND, width - start)
        matrix = _band(count, size, x.dtype).T
        np.matmul(between[..., start : start + count + border], matrix, result[..., start : start + count])
    return result


def window_size(short_side: int) -> int:
    """Pixels of the window's side: 11, or the largest odd number that fits into a shorter side."""
    return min(WINDOW, short_side - 1 + short_side % 2)


def band(rows: int, size: int = WINDOW) -> NDArray[np.float64]:
    """(rows, rows + size - 1): the window, one to the right in each row; a product with it filters columns."""
    offsets = np.arange(size) - size // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    result = np.zeros((rows, rows + size - 1))
    for row in range(rows):
        result[row, row : row + size] = weights
    return result


@functools.cache
def _band(rows: int, size: int, dtype: np.dtype[Any]) -> Floats:
    return band(rows, size).astype(dtype)


def _moments(y: Floats, size: int) -> tuple[Floats, Floats]:
    mean, square = blur(np.stack([y, y * y]), size)
    return mean, square - mean * mean


def _strips(shape: tuple[int, ...], size: int) -> Iterator[slice]:
    """Rows of windows, at least as many as a window's margin so that a strip needs no more than its neighbours."""
    height, width = (side - size + 1 for side in shape)
    rows = max(STRIP // width, WINDOW - 1)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))
