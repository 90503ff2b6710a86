"""MS-SSIM and its gradient with NumPy, for a picture that is compared many times.

The comparison is that of :mod:`beholder.metrics.ms_ssim`, in float32, channel by channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from beholder.metrics.ms_ssim import combine, pyramid, scale_weights
from beholder.metrics.similarity import WINDOW, blur, compare, mean_and_variance

Floats = NDArray[np.float32]

BORDER = WINDOW - 1
LEAST = 1e-4
"""Added to 1 - MS-SSIM, and the least that a scale's mean counts as."""


Term = tuple[float, Floats | None]
"""Mean of one scale's comparison of one channel, and its gradient by each value, (H, W)."""
_Scale = tuple[Floats, tuple[Floats, Floats]]
"""A channel at one scale, and the mean and variance of each window."""


class MsSsimDistortion:
    """log(1 - MS-SSIM) of pictures beside one original.

    Args:
        original: (3, H, W) uint8, no side shorter than the window's 11 pixels.
    """

    def __init__(self, original: NDArray[np.uint8]) -> None:
        self.weights = scale_weights(min(original.shape[1:]))
        self._kept = [[(y, mean_and_variance(y)) for y in self._pyramid(channel)] for channel in original]

    def distortion(self, decoded: NDArray[np.uint8]) -> float:
        """log(1 - MS-SSIM) of a (3, H, W) uint8 picture."""
        return self._compare(decoded, gradient=False)[0]

    def gradient(self, decoded: NDArray[np.uint8]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""
        result = self._compare(decoded, gradient=True)[1]
        assert result is not None
        return result

    def _compare(self, decoded: NDArray[np.uint8], gradient: bool) -> tuple[float, Floats | None]:
        pairs = zip(decoded, self._kept, strict=True)
        found = [self._compare_channel(plane, kept, gradient) for plane, kept in pairs]
        rest, factors = factors_of(found, self.weights)
        if not gradient:
            return math.log(rest), None
        by_channel = [collected(*each) for each in zip(found, factors, strict=True)]
        return math.log(rest), np.stack(by_channel)

    def _compare_channel(self, decoded: NDArray[np.uint8], kept: list[_Scale], gradient: bool) -> list[Term]:
        """Mean over the picture of each scale's comparison, and its gradient by each value."""
        count = len(self.weights)
        scales = zip(self._pyramid(decoded), kept, strict=True)
        return [terms(x, y, moments, n == count, gradient) for n, (x, (y, moments)) in enumerate(scales, 1)]

    def _pyramid(self, plane: NDArray[np.uint8]) -> Iterator[Floats]:
        """A channel at each scale."""
        return pyramid(plane, len(self.weights), np.float32)


def factors_of(found: Sequence[Sequence[Term]], weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """1 - MS-SSIM + ``LEAST``, and the derivative of its logarithm by each mean, (channels, scales).

    Args:
        found: by channel and scale, finest first.
        weights: of the scales, (scales,).
    """
    means = np.array([[mean for mean, _ in scales] for scales in found])
    by_channel = np.array([combine(mean, weights) for mean in means])
    rest = 1 - float(by_channel.mean()) + LEAST
    return rest, by_channel[:, None] * weights / means / (-rest * len(means))


def collected(scales: Sequence[Term], factors: NDArray[np.float64]) -> Floats:
    """Gradient by the values of the first of some scales, (H, W); the slopes are overwritten.

    Args:
        scales: of one channel, finest first.
        factors: of each scale, (scales,).
    """
    total: Floats | None = None
    for factor, (_, slope) in reversed(list(zip(factors, scales, strict=True))):
        assert slope is not None
        slope *= np.float32(factor)
        if total is not None:
            _add_unhalved(slope, total)
        total = slope
    assert total is not None
    return total


def terms(x: Floats, y: Floats, moments: tuple[Floats, Floats] | None, last: bool, gradient: bool) -> Term:
    """Compare one scale of one channel, whose mean counts as ``LEAST`` at least.

    Args:
        x, y: (H, W) decoded and original.
        moments: mean and variance of each window of ``y``; None computes them.
        last: compare luminance, too.
        gradient: whether to compute it.
    """
    count = (x.shape[0] - BORDER) * (x.shape[1] - BORDER)
    total = 0.0
    slope = np.empty_like(x) if gradient else None
    # Gradients by the windows' statistics, after a border of zeros, or after those of the strip above.
    around = np.zeros((3, BORDER, x.shape[1] + BORDER), np.float32)
    for strip in compare(x, y, luminance_too=last, moments=moments):
        total += strip.total()
        if slope is None:
            continue
        mean_x, mean_y, contrast = strip.mean_x, strip.mean_y, strip.contrast
        here = np.zeros((3, len(mean_x) + BORDER, around.shape[2]), np.float32)
        here[:, :BORDER] = around
        around = here[:, -BORDER:]
        by_mean, by_square, by_product = here[:, BORDER:, BORDER:-BORDER]
        np.divide(np.float32(2) if strip.luminance is None else 2 * strip.luminance, strip.sums, out=by_product)
        np.multiply(by_product, contrast, out=by_square)
        by_square *= np.float32(-0.5)
        np.multiply(by_product, mean_y, out=by_mean)
        by_mean += 2 * by_square * mean_x
        np.negative(by_mean, out=by_mean)
        if strip.luminance is not None:
            by_mean += contrast * 2 * (mean_y - mean_x * strip.luminance) / strip.energy
        _slope(here, x[strip.rows], y[strip.rows], count, slope[strip.rows])
    if slope is not None:
        below = np.concatenate([around, np.zeros_like(around)], 1)
        _slope(below, x[-BORDER:], y[-BORDER:], count, slope[-BORDER:])
    return max(total / count, LEAST), slope


def _slope(by_statistics: Floats, x: Floats, y: Floats, count: int, out: Floats) -> None:
    """Gradient of a mean of ``count`` terms by some rows of ``x``, from that by the statistics of the windows there."""
    by_mean, by_square, by_product = blur(by_statistics)
    by_square *= 2
    by_square *= x
    by_mean += by_square
    by_product *= y
    by_mean += by_product
    np.divide(by_mean, np.float32(count), out=out)


def _add_unhalved(total: Floats, x: Floats) -> None:
    """Add the adjoint of halving, applied to ``x``, to ``total`` in place."""
    x *= np.float32(0.25)
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        for columns in (slice(0, None, 2), slice(1, None, 2)):
            part = total[rows, columns]
            part += x[-part.shape[0] :, -part.shape[1] :]  # an odd side's first row has one of zeros before it
