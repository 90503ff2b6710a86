"""SSIMULACRA 2, the perceptual metric of JPEG XL's authors.

J. Sneyers, "SSIMULACRA 2 - Structural SIMilarity Unveiling Local And Compression Related Artifacts", Cloudinary,
2023 (version 2.1): SSIM and asymmetric error maps in the XYB colour space at six scales, weighted to fit opinions on
compressed pictures.  The tests compare it with the package ``ssimulacra2``, which takes three to twelve times as long
and 480 bytes of memory a pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.metrics.pixels import Picture, planes
from beholder.metrics.similarity import WINDOW, blur
from beholder.metrics.ssimulacra2.weights import CHANNELS, KINDS, NORMS, SCALES, score, weights
from beholder.metrics.ssimulacra2.xyb import BIAS, CONES, SHIFT, XYB, halve, linear_values, mix
from beholder.threads import for_each, one_blas_thread

Doubles = NDArray[np.float64]

SMALLEST = 8
"""Least side of a scale, in pixels."""
HALF = WINDOW // 2
C2 = 0.0009
"""Constant of the contrast term."""
STRIP = 1 << 16
"""Values of a strip of one plane: some dozens of such strips are memory enough for any picture."""


def ssimulacra2(original: Picture, decoded: Picture) -> float:
    """SSIMULACRA 2 of a picture: 100 for a perfect one, about 90 visually lossless, 70 high, 50 medium, 30 low quality.

    It can fall far below 0.

    Args:
        original: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W), sRGB.
        decoded: the compressed picture, of the same size; the order matters.

    Returns:
        NaN for pictures with a side below 8 pixels, for which it is not defined.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
    """
    pair: tuple[NDArray[Any], ...] = tuple(
        np.repeat(picture, CHANNELS // len(picture), axis=0) for picture in planes(original, decoded)
    )
    if min(pair[0].shape[1:]) < SMALLEST:
        return math.nan
    terms: list[Doubles] = []
    with one_blas_thread():
        while len(terms) < SCALES and min(pair[0].shape[1:]) >= SMALLEST:
            found, pair = _compare(*pair)
            terms.append(found)
    return score(float((np.stack(terms, 1) * weights(len(terms))).sum()))


def _compare(original: NDArray[Any], decoded: NDArray[Any]) -> tuple[Doubles, tuple[Doubles, Doubles]]:
    """The terms of one scale, (3 channels, 2 norms, 3 kinds), and both pictures at the next.

    Args:
        original, decoded: (3, H, W), sRGB as uint8 or linear RGB as float64.
    """
    height, width = original.shape[1:]
    count = max(STRIP // width // 2 * 2, 4 * HALF)
    starts = range(0, height, count)
    sums = np.zeros((len(starts), CHANNELS, NORMS, KINDS))
    coarser = tuple(np.empty((CHANNELS, -(-height // 2), -(-width // 2))) for _ in range(2))

    def compare(number: int) -> None:
        start, stop = starts[number], min(starts[number] + count, height)
        around = np.arange(start - HALF, stop + HALF)
        around = np.where(around < 0, -1 - around, np.where(around >= height, 2 * height - 1 - around, around))
        strips = [_linear(picture[:, around]) for picture in (original, decoded)]
        for smaller, strip in zip(coarser, strips, strict=True):
            smaller[:, start // 2 : -(-stop // 2)] = halve(strip[:, HALF:-HALF])
        for kind, errors in enumerate(_errors(*(_xyb(strip) for strip in strips))):
            errors = np.maximum(errors, 0, out=errors)
            sums[number, :, 0, kind] = errors.sum((1, 2))
            errors *= errors
            sums[number, :, 1, kind] = np.square(errors, out=errors).sum((1, 2))

    for_each(compare, range(len(starts)))
    means = sums.sum(0) / (height * width)
    means[:, 1] **= 0.25
    return means, (coarser[0], coarser[1])


def _errors(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Each pixel's lack of structure (1 less it), the strength of edges that were added, and of those that were lost.

    Negative values count as 0.

    Args:
        x, y: (3, h + 10, w + 10), the original and the decoded picture.
    """
    mean_x, mean_y, energy, contrast = blur(np.stack([x, y, x * x + y * y, x * y]))
    product = mean_x * mean_y
    energy -= mean_x * mean_x
    energy -= mean_y * mean_y
    energy += C2
    contrast -= product
    contrast *= 2
    contrast += C2
    contrast /= energy
    inner = (slice(None), slice(HALF, -HALF), slice(HALF, -HALF))
    edges = (1 + np.abs(y[inner] - mean_y)) / (1 + np.abs(x[inner] - mean_x)) - 1
    return 1 - (1 - np.square(mean_x - mean_y)) * contrast, edges, -edges


def _linear(strip: NDArray[Any]) -> Doubles:
    return np.take(linear_values(np.float64), strip) if strip.dtype == np.uint8 else strip


def _xyb(linear: Doubles) -> Doubles:
    """X, Y and B - Y of (3, h, w) linear RGB, with 0 beyond the left and right edge as in the authors' code."""
    cones = mix(CONES, linear)
    cones += BIAS
    np.cbrt(cones, out=cones)
    cones -= np.cbrt(BIAS)
    result = np.zeros((len(XYB), linear.shape[1], linear.shape[2] + 2 * HALF))
    np.add(mix(XYB, cones), SHIFT, out=result[..., HALF:-HALF])
    return result
