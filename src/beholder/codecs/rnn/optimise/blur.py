"""The Gaussian window of MS-SSIM and SSIMULACRA2 (11 pixels, sigma 1.5) on the last two axes of float32 arrays.

It runs as products of matrices that hold it on each row.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from beholder.metrics.similarity import WINDOW, band

Floats = NDArray[np.float32]

BAND = 22
"""Values that one product filters; with the window's margin, 32 are read."""
BORDER = WINDOW - 1


def blur(x: Floats) -> Floats:
    """Filtered (..., H, W), only where the window lies inside: (..., H - 10, W - 10)."""
    height, width = x.shape[-2] - BORDER, x.shape[-1] - BORDER
    between = np.empty((*x.shape[:-2], height, x.shape[-1]), np.float32)
    for start in range(0, height, BAND):
        rows = min(BAND, height - start)
        np.matmul(_band(rows), x[..., start : start + rows + BORDER, :], between[..., start : start + rows, :])
    result = np.empty((*x.shape[:-2], height, width), np.float32)
    for start in range(0, width, BAND):
        count = min(BAND, width - start)
        np.matmul(between[..., start : start + count + BORDER], _band(count).T, result[..., start : start + count])
    return result


@functools.cache
def _band(rows: int) -> Floats:
    return band(rows).astype(np.float32)
