"""MS-SSIM and its gradient with NumPy, for a picture that is compared many times.

MS-SSIM as in :mod:`beholder.metrics.ms_ssim`, in float32.  The window's filter runs as products of matrices that hold
it on each row, strip by strip: as fast as a library's convolution.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from beholder.metrics.ms_ssim import WEIGHTS, halve
from beholder.metrics.similarity import C1, C2, WINDOW, gaussian

Floats = NDArray[np.float32]

STRIP = 54
"""Rows that one product filters; with the window's margin, 64 are read."""
LEAST = 1e-4
"""Added to 1 - MS-SSIM, and the least that a scale's mean counts as."""


class MsSsimDistortion:
    """log(1 - MS-SSIM) of pictures beside one original.

    Args:
        original: (3, h, w) uint8, no side shorter than the window's 11 pixels.
    """

    def __init__(self, original: NDArray[np.uint8]) -> None:
        short = min(original.shape[1:])
        scales = sum(short > (WINDOW - 1) << k for k in range(len(WEIGHTS)))
        self.weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
        # The interpreter is released nearly all the time; one channel is a task, for they need nothing of each other.
        self._pool = ThreadPoolExecutor(len(original))
        self.scales = []
        y = original.astype(np.float32)
        for scale in range(scales):
            if scale:
                y = halve(y)
            mean = _filter(y)
            self.scales.append((y, mean, _filter(y * y) - mean * mean))

    def distortion(self, decoded: NDArray[np.uint8]) -> float:
        """log(1 - MS-SSIM) of a (3, h, w) uint8 picture."""
        return self._compare(decoded, gradient=False)[0]

    def gradient(self, decoded: NDArray[np.uint8]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, h, w)."""
        result = self._compare(decoded, gradient=True)[1]
        assert result is not None
        return result

    def _compare(self, decoded: NDArray[np.uint8], gradient: bool) -> tuple[float, Floats | None]:
        work = functools.partial(self._compare_channel, decoded, gradient)
        means, slopes = zip(*self._pool.map(work, range(len(decoded))), strict=True)
        by_channel = [float(np.prod(mean**self.weights)) for mean in means]
        rest = 1 - sum(by_channel) / len(by_channel) + LEAST
        if not gradient:
            return math.log(rest), None
        result = np.empty(decoded.shape, np.float32)
        for channel, (whole, mean) in enumerate(zip(by_channel, means, strict=True)):
            total: Floats | None = None
            for factor, slope in reversed(list(zip(whole * self.weights / mean, slopes[channel], strict=True))):
                here = slope * np.float32(factor / (-rest * len(by_channel)))
                total = here if total is None else here + _unhalve(total, here.shape)
            result[channel] = total
        return math.log(rest), result

    def _compare_channel(
        self, decoded: NDArray[np.uint8], gradient: bool, channel: int
    ) -> tuple[NDArray[np.float64], list[Floats]]:
        """Mean over the picture of each scale's comparison, and its gradient by each value."""
        x = decoded[channel].astype(np.float32)
        means, slopes = [], []
        for scale in range(len(self.scales)):
            if scale:
                x = halve(x[None])[0]
            mean, slope = self._terms(x, scale, channel, gradient)
            means.append(max(mean, LEAST))
            slopes.append(slope)
        return np.array(means), slopes

    def _terms(self, x: Floats, scale: int, channel: int, gradient: bool) -> tuple[float, Floats]:
        """One scale of :meth:`_compare_channel`."""
        y, mean_y, variance_y = (part[channel] for part in self.scales[scale])
        mean_x, square, product = _filter(np.stack([x, x * x, x * y]))
        sums = square - mean_x * mean_x + variance_y
        sums += np.float32(C2)
        contrast = product - mean_x * mean_y
        contrast *= 2
        contrast += np.float32(C2)
        contrast /= sums
        last = scale == len(self.scales) - 1
        if last:
            energy = mean_x * mean_x + mean_y * mean_y + np.float32(C1)
            luminance = (2 * mean_x * mean_y + np.float32(C1)) / energy
            terms = luminance * contrast
        else:
            terms = contrast
        mean = float(terms.mean(dtype=np.float64))
        if not gradient:
            return mean, terms
        by_product = (2 * luminance if last else np.float32(2)) / sums
        by_square = by_product * contrast
        by_square *= np.float32(-0.5)
        by_mean = -(by_product * mean_y + 2 * by_square * mean_x)
        if last:
            by_mean += contrast * 2 * (mean_y - mean_x * luminance) / energy
        by_mean, by_square, by_product = _unfilter(np.stack([by_mean, by_square, by_product]))
        slope: Floats = by_mean + 2 * by_square * x + by_product * y
        slope /= np.float32(terms.size)
        return mean, slope


def _filter(x: Floats) -> Floats:
    """The window on the last two axes, only where it lies inside."""
    return _filter_columns(_filter_rows(x))


def _unfilter(x: Floats) -> Floats:
    """Its adjoint."""
    border = [(0, 0)] * (x.ndim - 2) + [(WINDOW - 1, WINDOW - 1)] * 2
    return _filter(np.pad(x, border))


def _filter_rows(x: Floats) -> Floats:
    height = x.shape[-2] - WINDOW + 1
    result = np.empty((*x.shape[:-2], height, x.shape[-1]), np.float32)
    for start in range(0, height, STRIP):
        rows = min(STRIP, height - start)
        np.matmul(_band(rows), x[..., start : start + rows + WINDOW - 1, :], result[..., start : start + rows, :])
    return result


def _filter_columns(x: Floats) -> Floats:
    width = x.shape[-1] - WINDOW + 1
    result = np.empty((*x.shape[:-1], width), np.float32)
    for start in range(0, width, STRIP):
        count = min(STRIP, width - start)
        np.matmul(x[..., start : start + count + WINDOW - 1], _band(count).T, result[..., start : start + count])
    return result


@functools.cache
def _band(rows: int) -> Floats:
    """(rows, rows + 10): the window, one to the right in each row."""
    band = np.zeros((rows, rows + WINDOW - 1), np.float32)
    for row in range(rows):
        band[row, row : row + WINDOW] = gaussian(WINDOW)
    return band


def _unhalve(x: Floats, size: tuple[int, ...]) -> Floats:
    """Adjoint of halving a picture of ``size``."""
    height, width = size
    result: Floats = np.repeat(np.repeat(x * np.float32(0.25), 2, -2), 2, -1)[..., height % 2 :, width % 2 :]
    return result
