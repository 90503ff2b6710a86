"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from beholder.metrics.pixels import Picture, planes

ROWS = 64


def psnr(a: Picture, b: Picture) -> float:
    """PSNR in dB for a peak of 255; the mean squared error is taken over all channels together.

    Args:
        a: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W).
        b: the other picture, of the same size; the order does not matter.

    Returns:
        0 for black against white up to infinity for identical pictures.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
    """
    first, second = planes(a, b)
    total = 0
    for top in range(0, first.shape[1], ROWS):  # whole differences would take much memory
        rows = slice(top, top + ROWS)
        difference = first[:, rows].astype(np.int32) - second[:, rows]
        total += int(np.square(difference).sum(dtype=np.int64))
    if total == 0:
        return math.inf
    return 10.0 * math.log10(255.0**2 * first.size / total)
