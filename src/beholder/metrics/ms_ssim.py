"""Multi-scale structural similarity.

Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image quality assessment",
Asilomar Conference on Signals, Systems and Computers 2003.  Conventions follow pytorch_msssim, which CompressAI and
published learned-compression results use:

- an 11 x 11 Gaussian window of sigma 1.5, only where it lies inside the picture,
- K1 = 0.01, K2 = 0.03, range 255,
- 2 x 2 averaging between scales, where an odd side gets one row or column of zeros in front,
- negative terms count as 0,
- each RGB channel by itself, then their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from beholder.metrics.pixels import Picture, planes
from beholder.metrics.similarity import WINDOW, similarity, window_size

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first."""


def ms_ssim(a: Picture, b: Picture) -> float:
    """MS-SSIM of two pictures, 0 to 1; 1 for identical ones.

    All five scales need a short side of 161 pixels.  A smaller picture is measured at as many scales as
    the window fits into (from 81 pixels four, 41 three, 21 two, else one), their exponents scaled up to
    the same sum; below 11 pixels the window is cut to the largest odd size that fits.

    Args:
        a: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W), RGB.
        b: the other picture, of the same size; the order does not matter.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
    """
    pictures = planes(a, b)
    short = min(pictures[0].shape[1:])
    exponents = scale_weights(short) * sum(WEIGHTS)
    by_channel = []
    for x, y in zip(*pictures, strict=True):
        scales = zip(pyramid(x, len(exponents), np.float64), pyramid(y, len(exponents), np.float64), strict=True)
        means = [
            similarity(p, q, luminance_too=scale == len(exponents), size=window_size(short))
            for scale, (p, q) in enumerate(scales, 1)
        ]
        by_channel.append(combine(np.maximum(means, 0.0), exponents))
    return float(np.mean(by_channel))


def scale_weights(short_side: int) -> NDArray[np.float64]:
    """Relative weights of as many scales as the window fits into, finest first: (1 to 5,), their sum is 1."""
    scales = max(1, sum(short_side > (WINDOW - 1) << k for k in range(len(WEIGHTS))))
    return np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])


def ms_ssim_db(value: float) -> float:
    """MS-SSIM in decibels, -10 log10(1 - value), the scale of published curves; infinity for 1."""
    return math.inf if value >= 1.0 else -10.0 * math.log10(1.0 - value)


def combine(means: NDArray[np.float64], exponents: NDArray[np.float64]) -> float:
    """MS-SSIM of a channel from the means of its scales, finest first: (scales,) each, ``means`` 0 to 1."""
    return float(np.prod(means**exponents))


def pyramid(plane: NDArray[np.uint8], scales: int, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """A plane (H, W) at each scale, finest first: means of 2 x 2 values of the scale before, as ``dtype``.

    An odd side gets one row or column of zeros in front.
    """
    x: NDArray[Any] = plane.astype(dtype)
    yield x
    for _ in range(scales - 1):
        height, width = x.shape
        if height % 2 or width % 2:
            x = np.pad(x, ((height % 2, 0), (width % 2, 0)))
        x = x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]
        x *= 0.25
        yield x
