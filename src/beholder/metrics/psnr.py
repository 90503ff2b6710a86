"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from beholder.metrics.pixels import Picture, planes


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
    difference = first.astype(np.int16) - second
    # Integers, so that the result does not depend on the order of summation.
    total = int(np.square(difference, dtype=np.int64).sum())
    if total == 0:
        return math.inf
    return 10.0 * math.log10(255.0**2 * difference.size / total)
