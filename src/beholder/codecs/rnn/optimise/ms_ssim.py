"""MS-SSIM and its gradient with NumPy, for a picture that is compared many times.

The comparison is that of :mod:`beholder.metrics.ms_ssim`, in float32, channel by channel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from beholder.metrics.ms_ssim import combine, pyramid, scale_weights
from beholder.metrics.similarity import C1, C2, STRIP, WINDOW, band, blur, compare, mean_and_variance
from beholder.threads import for_each

Floats = NDArray[np.float32]

BORDER = WINDOW - 1
EARLIER = BORDER // 2
"""Windows at every second pixel that see a value and begin before it."""
SPARSE_FROM = 64
"""Least side, in pixels, of a scale whose windows may be sparse: the mean of fewer would be another one."""
SPAN = 32
"""Values of a row that sparse windows filter together."""
HEIGHT = 11
"""Rows of sparse windows that one product makes: it reads 31."""
LEAST = 1e-4
"""Added to 1 - MS-SSIM, and the least that a scale's mean counts as."""


_Scale = tuple[Floats, tuple[Floats, Floats] | None]
"""A channel at one scale, and the mean and variance of each window, unless they are not kept."""


class MsSsimDistortion:
    """log(1 - MS-SSIM) of pictures beside one original.

    Args:
        original: (3, H, W) uint8, no side shorter than the window's 11 pixels.
        keep: keep the original's statistics, 48 bytes a pixel: one comparison alone takes as long without.
        sparse: compare windows at every second pixel down and across only, without keeping anything, and at the finest
            scale one picture of grey, the mean of the channels.  It takes a quarter of the time, and codes that
            follow the gradient are no worse (docs/log/2026-11-28-large-gradient.md).
    """

    def __init__(self, original: NDArray[np.uint8], keep: bool = True, sparse: bool = False) -> None:
        self.weights = scale_weights(min(original.shape[1:]))
        self._original, self._sparse = original, sparse
        self._kept: dict[int, list[_Scale]] = {}

        def measure(channel: int) -> None:
            self._kept[channel] = [(y, mean_and_variance(y)) for y in self._pyramid(original[channel])]

        if keep and not sparse:
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
        channels = range(len(decoded))
        grey = self._sparse and min(decoded.shape[1:]) >= SPARSE_FROM and len(self.weights) > 1
        of_grey: list[tuple[float, Floats | None]] = []

        def compare(channel: int) -> None:
            if channel < 0:
                of_grey.append(_sparse_terms(_grey(decoded), _grey(self._original), last=False))
            else:
                found[channel] = self._compare_channel(decoded[channel], channel, gradient, coarser_only=grey)

        for_each(compare, [-1, *channels] if grey else channels)
        finest = [(max(mean, LEAST), slope) for mean, slope in of_grey]
        means = [np.array([mean for mean, _ in finest + found[channel]]) for channel in channels]
        by_channel = [combine(mean, self.weights) for mean in means]
        rest = 1 - sum(by_channel) / len(by_channel) + LEAST
        if not gradient:
            return math.log(rest), None
        result = np.empty(decoded.shape, np.float32)

        def collect(channel: int) -> None:
            factors = by_channel[channel] * self.weights / means[channel] / (-rest * len(by_channel))
            total: Floats | None = None
            scales = list(zip(factors, finest + found.pop(channel), strict=True))
            for number, (factor, (_, slope)) in reversed(list(enumerate(scales))):
                assert slope is not None
                own = np.multiply(slope, np.float32(factor), out=slope if number else result[channel])
                if total is not None:
                    _add_unhalved(own, total)
                total = own

        for_each(collect, channels)
        return math.log(rest), result

    def _compare_channel(
        self, decoded: NDArray[np.uint8], channel: int, gradient: bool, coarser_only: bool
    ) -> list[tuple[float, Floats | None]]:
        """Mean over the picture of each scale's comparison, and its gradient by each value."""
        originals: Iterable[_Scale] = self._kept.get(channel, ())
        if not self._kept:
            originals = ((y, None) for y in self._pyramid(self._original[channel]))
        found: list[tuple[float, Floats | None]] = []
        for scale, (x, (y, moments)) in enumerate(zip(self._pyramid(decoded), originals, strict=True), 1):
            if scale == 1 and coarser_only:
                continue
            last = scale == len(self.weights)
            sparse = self._sparse and min(x.shape) >= SPARSE_FROM
            mean, slope = _sparse_terms(x, y, last) if sparse else _terms(x, y, moments, last, gradient)
            found.append((max(mean, LEAST), slope))
        return found

    def _pyramid(self, plane: NDArray[np.uint8]) -> Iterator[Floats]:
        """A channel at each scale."""
        return pyramid(plane, len(self.weights), np.float32)


def _grey(picture: NDArray[np.uint8]) -> Floats:
    """The mean of the channels, (C, H, W) -> (H, W)."""
    total = np.add(picture[0], picture[1], dtype=np.float32)
    for channel in picture[2:]:
        total += channel
    total *= np.float32(1 / len(picture))
    return total


def _terms(
    x: Floats, y: Floats, moments: tuple[Floats, Floats] | None, last: bool, gradient: bool
) -> tuple[float, Floats | None]:
    """Mean of one scale's comparison of one channel, and its gradient by each of ``x``, (H, W)."""
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
    return total / count, slope


def _slope(by_statistics: Floats, x: Floats, y: Floats, count: int, out: Floats) -> None:
    """Gradient of a mean of ``count`` terms by some rows of ``x``, from that by the statistics of the windows there."""
    by_mean, by_square, by_product = blur(by_statistics)
    by_square *= 2
    by_square *= x
    by_mean += by_square
    by_product *= y
    by_mean += by_product
    np.divide(by_mean, np.float32(count), out=out)


def _sparse_terms(x: Floats, y: Floats, last: bool) -> tuple[float, Floats]:
    """As :func:`_terms`, of the windows at every second row and column."""
    size, wide = x.shape, -(-x.shape[1] // SPAN) * SPAN
    if wide > size[1]:
        x, y = (np.pad(plane, ((0, 0), (0, wide - size[1]))) for plane in (x, y))
    rows, columns = ((side - WINDOW) // 2 + 1 for side in size)
    # Gradients by mean, square and product of each window; around them zeros where no window is.
    by_windows = np.zeros((rows + 2 * EARLIER, 3, wide // 2 + EARLIER), np.float32)
    step = max(STRIP // (2 * wide) // HEIGHT, 1) * HEIGHT
    near = np.empty((2 * step + WINDOW - 2, wide), np.float32)
    total = 0.0
    for start in range(0, rows, step):
        count = min(step, rows - start)
        part = slice(2 * start, 2 * (start + count) + WINDOW - 2)
        a, b, product = x[part], y[part], near[: part.stop - part.start]
        between = np.empty((4, count, wide), np.float32)
        _down(a, between[0])
        _down(b, between[1])
        _down(np.multiply(a, b, out=product), between[2])
        squares = a * a
        squares += np.multiply(b, b, out=product)
        _down(squares, between[3])
        mean_x, mean_y, contrast, sums = _across(between)[..., :columns]
        products, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        sums -= squares
        sums += np.float32(C2)
        contrast -= products
        contrast *= 2
        contrast += np.float32(C2)
        contrast /= sums
        by_product = np.float32(2) / sums
        by_luminance: Floats | float = 0.0
        terms = contrast
        if last:
            squares += np.float32(C1)
            luminance = (2 * products + np.float32(C1)) / squares
            by_luminance = contrast * 2 * (mean_y - mean_x * luminance) / squares
            terms, by_product = luminance * contrast, by_product * luminance
        total += float(terms.sum(dtype=np.float64))
        twice_by_square = -by_product * contrast
        here = by_windows[start + EARLIER : start + EARLIER + count, :, EARLIER : EARLIER + columns]
        here[:, 0] = by_luminance - by_product * mean_y - twice_by_square * mean_x
        here[:, 1] = twice_by_square
        here[:, 2] = by_product
    by_windows *= np.float32(1 / (rows * columns))
    slope = np.empty(size, np.float32)
    for start in range(0, size[0], 4 * HEIGHT):
        part = slice(start, min(start + 4 * HEIGHT, size[0]))
        windows = by_windows[start // 2 : (part.stop + 1) // 2 + EARLIER]
        between = _across_adjoint(windows).reshape(len(windows), -1)
        matrix = _adjoint(len(windows) - EARLIER)[: part.stop - start]
        by_mean, by_square, by_product = (matrix @ between).reshape(-1, 3, wide).transpose(1, 0, 2)
        by_square *= x[part]
        by_product *= y[part]
        by_mean += by_square
        by_mean += by_product
        slope[part] = by_mean[:, : size[1]]
    return total / (rows * columns), slope


def _down(x: Floats, out: Floats) -> None:
    """Filter columns: windows of every second row."""
    for start in range(0, len(out), HEIGHT):
        count = min(HEIGHT, len(out) - start)
        part = slice(2 * start, 2 * (start + count) + WINDOW - 2)
        np.matmul(_sparse(count), x[part], out=out[start : start + count])


def _across(x: Floats) -> Floats:
    """Filter rows, (..., W) -> (..., W / 2): a span makes its windows with the first values of the next."""
    matrix = _sparse(SPAN // 2).T
    spans = x.reshape(-1, SPAN)
    result = spans @ matrix[:SPAN]
    result[:-1] += spans[1:, : WINDOW - 2] @ matrix[SPAN:]
    return result.reshape(*x.shape[:-1], -1)


def _across_adjoint(windows: Floats) -> Floats:
    """Adjoint of :func:`_across`, of windows with ``EARLIER`` zeros before them: (..., EARLIER + W / 2) -> (..., W)."""
    around = sliding_window_view(windows, SPAN // 2 + EARLIER, axis=-1)[..., :: SPAN // 2, :]
    rows = np.ascontiguousarray(around).reshape(-1, SPAN // 2 + EARLIER)
    return (rows @ _adjoint(SPAN // 2).T).reshape(*windows.shape[:-1], -1)


@functools.cache
def _sparse(count: int) -> Floats:
    """(count, 2 count + 9): the window, two to the right in each row."""
    return np.ascontiguousarray(band(2 * count - 1)[::2], np.float32)


@functools.cache
def _adjoint(count: int) -> Floats:
    """(2 count, count + EARLIER): to so many values from all windows that see them."""
    whole = _sparse(count + EARLIER)  # the first window begins 2 EARLIER values before the first of these
    return np.ascontiguousarray(whole[:, 2 * EARLIER : 2 * EARLIER + 2 * count].T)


def _add_unhalved(total: Floats, x: Floats) -> None:
    """Add the adjoint of halving, applied to ``x``, to ``total`` in place."""
    x *= np.float32(0.25)
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        for columns in (slice(0, None, 2), slice(1, None, 2)):
            part = total[rows, columns]
            part += x[-part.shape[0] :, -part.shape[1] :]  # an odd side's first row has one of zeros before it
