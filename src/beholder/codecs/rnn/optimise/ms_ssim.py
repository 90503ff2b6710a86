"""MS-SSIM and its gradient with NumPy, for a picture that is compared many times.

MS-SSIM as in :mod:`beholder.metrics.ms_ssim`, in float32.  All is computed in strips that fit into
the processor's cache, channel by channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.optimise.blur import BORDER, blur
from beholder.codecs.rnn.threads import for_each
from beholder.metrics.ms_ssim import halve, scale_weights
from beholder.metrics.similarity import C1, C2

Floats = NDArray[np.float32]

STRIP = 1 << 16
"""Values of a strip: 256 KiB as float32."""
LEAST = 1e-4
"""Added to 1 - MS-SSIM, and the least that a scale's mean counts as."""


_Scale = tuple[Floats, Floats | None, Floats | None]
"""A channel at one scale, and the mean and variance of each window, unless they are not kept."""


class MsSsimDistortion:
    """log(1 - MS-SSIM) of pictures beside one original.

    Args:
        original: (3, H, W) uint8, no side shorter than the window's 11 pixels.
        keep: keep the original's statistics, 48 bytes a pixel: one comparison alone takes as long without.
    """

    def __init__(self, original: NDArray[np.uint8], keep: bool = True) -> None:
        self.weights = scale_weights(min(original.shape[1:]))
        self._original = original
        self._kept: dict[int, list[_Scale]] = {}

        def measure(channel: int) -> None:
            self._kept[channel] = [(y, *_mean_and_variance(y)) for y in self._pyramid(original[channel])]

        if keep:
            for_each(measure, range(len(original)))

    def distortion(self, decoded: NDArray[np.uint8]) -> float:
        """log(1 - MS-SSIM) of a (3, H, W) uint8 picture."""
        return self._compare(decoded, gradient=False)[0]

    def gradient(self, decoded: NDArray[np.uint8]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""
        result = self._compare(decoded, gradient=True)[1]
        assert result is not None
        return result

    def _compare(self, decoded: NDArray[np.uint8], gradient: bool) -> tuple[float, Floats | None]:
        # One channel is a task, for they need nothing of each other; the interpreter is released nearly all the time.
        found: dict[int, list[tuple[float, Floats | None]]] = {}

        def compare(channel: int) -> None:
            found[channel] = self._compare_channel(decoded[channel], channel, gradient)

        for_each(compare, range(len(decoded)))
        means = [np.array([mean for mean, _ in found[channel]]) for channel in range(len(decoded))]
        by_channel = [float(np.prod(mean**self.weights)) for mean in means]
        rest = 1 - sum(by_channel) / len(by_channel) + LEAST
        if not gradient:
            return math.log(rest), None
        result = np.empty(decoded.shape, np.float32)

        def collect(channel: int) -> None:
            factors = by_channel[channel] * self.weights / means[channel] / (-rest * len(by_channel))
            total: Floats | None = None
            for factor, (_, slope) in reversed(list(zip(factors, found.pop(channel), strict=True))):
                assert slope is not None
                slope *= np.float32(factor)
                if total is not None:
                    _add_unhalved(slope, total)
                total = slope
            result[channel] = total

        for_each(collect, range(len(decoded)))
        return math.log(rest), result

    def _compare_channel(
        self, decoded: NDArray[np.uint8], channel: int, gradient: bool
    ) -> list[tuple[float, Floats | None]]:
        """Mean over the picture of each scale's comparison, and its gradient by each value."""
        originals: Iterable[_Scale] = self._kept.get(channel, ())
        if not self._kept:
            originals = ((y, None, None) for y in self._pyramid(self._original[channel]))
        found = []
        for scale, (x, original) in enumerate(zip(self._pyramid(decoded), originals, strict=True), 1):
            mean, slope = _terms(x, *original, last=scale == len(self.weights), gradient=gradient)
            found.append((max(mean, LEAST), slope))
        return found

    def _pyramid(self, plane: NDArray[np.uint8]) -> Iterator[Floats]:
        """A channel at each scale."""
        x = plane.astype(np.float32)
        yield x
        for _ in self.weights[1:]:
            x = halve(x[None])[0]
            yield x


def _terms(
    x: Floats, y: Floats, mean_y: Floats | None, variance_y: Floats | None, last: bool, gradient: bool
) -> tuple[float, Floats | None]:
    """Mean of one scale's comparison of one channel, and its gradient by each of ``x``, (H, W).

    The original's statistics are computed where they are None.
    """
    height, width = x.shape[0] - BORDER, x.shape[1] - BORDER
    total = 0.0
    slope = np.empty_like(x) if gradient else None
    # Gradients by the windows' statistics, after a border of zeros, or after those of the strip above.
    around = np.zeros((3, BORDER, x.shape[1] + BORDER), np.float32)
    for rows in _strips(height, width):
        read = slice(rows.start, rows.stop + BORDER)
        if mean_y is None or variance_y is None:
            near, variance = _mean_and_variance(y[read])
        else:
            near, variance = mean_y[rows], variance_y[rows]
        mean_x, square, product = blur(np.stack([x[read], x[read] * x[read], x[read] * y[read]]))
        sums = square
        sums -= mean_x * mean_x
        sums += variance
        sums += np.float32(C2)
        contrast = product
        contrast -= mean_x * near
        contrast *= 2
        contrast += np.float32(C2)
        contrast /= sums
        terms = contrast
        if last:
            energy = mean_x * mean_x + near * near + np.float32(C1)
            luminance = (2 * mean_x * near + np.float32(C1)) / energy
            terms = luminance * contrast
        total += float(terms.sum(dtype=np.float64))
        if slope is None:
            continue
        here = np.zeros((3, len(near) + BORDER, around.shape[2]), np.float32)
        here[:, :BORDER] = around
        around = here[:, -BORDER:]
        by_mean, by_square, by_product = here[:, BORDER:, BORDER:-BORDER]
        np.divide(2 * luminance if last else np.float32(2), sums, out=by_product)
        np.multiply(by_product, contrast, out=by_square)
        by_square *= np.float32(-0.5)
        np.multiply(by_product, near, out=by_mean)
        by_mean += 2 * by_square * mean_x
        np.negative(by_mean, out=by_mean)
        if last:
            by_mean += contrast * 2 * (near - mean_x * luminance) / energy
        _slope(here, x[rows], y[rows], height * width, slope[rows])
    if slope is not None:
        below = np.concatenate([around, np.zeros_like(around)], 1)
        _slope(below, x[-BORDER:], y[-BORDER:], height * width, slope[-BORDER:])
    return total / (height * width), slope


def _slope(by_statistics: Floats, x: Floats, y: Floats, count: int, out: Floats) -> None:
    """Gradient of a mean of ``count`` terms by some rows of ``x``, from that by the statistics of the windows there."""
    by_mean, by_square, by_product = blur(by_statistics)
    by_square *= 2
    by_square *= x
    by_mean += by_square
    by_product *= y
    by_mean += by_product
    np.divide(by_mean, np.float32(count), out=out)


def _mean_and_variance(y: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of each window in a channel (H, W): (H - 10, W - 10) each."""
    result = np.empty((2, y.shape[0] - BORDER, y.shape[1] - BORDER), np.float32)
    for rows in _strips(*result.shape[1:]):
        read = y[rows.start : rows.stop + BORDER]
        mean, square = blur(np.stack([read, read * read]))
        result[0, rows] = mean
        np.subtract(square, mean * mean, out=result[1, rows])
    return result[0], result[1]


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(STRIP // width, BORDER)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _add_unhalved(total: Floats, x: Floats) -> None:
    """Add the adjoint of halving, applied to ``x``, to ``total`` in place."""
    x *= np.float32(0.25)
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        for columns in (slice(0, None, 2), slice(1, None, 2)):
            part = total[rows, columns]
            part += x[-part.shape[0] :, -part.shape[1] :]  # an odd side's first row has one of zeros before it
