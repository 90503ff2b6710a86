"""MS-SSIM and its gradient for a picture that is compared once: fewer windows, and of grey where colours tell little.

Windows lie at every second pixel down and across, for neighbours see nearly the same.  At the finest scale the mean of
the colours is compared instead of each.  The gradient takes a quarter of the time, and its codes are no worse
(docs/log/2026-11-28-large-gradient.md).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from beholder.codecs.rnn.optimise.ms_ssim import LEAST, Term, collected, factors_of, terms
from beholder.metrics.ms_ssim import pyramid, scale_weights
from beholder.metrics.similarity import C1, C2, STRIP, WINDOW, band

Floats = NDArray[np.float32]
Quads = NDArray[np.uint16]
"""Sums of 2 x 2 pixels, (3, H / 2, W / 2), 0 to 1020."""

EARLIER = (WINDOW - 1) // 2
"""Windows at every second pixel that see a value and begin before it."""
SPARSE_FROM = 64
"""Least side, in pixels, of a scale whose windows may be sparse: the mean of fewer would be another one."""
SPAN = 32
"""Values of a row that sparse windows filter together."""
HEIGHT = 11
"""Rows of sparse windows that one product makes: it reads 31."""


class SparseMsSsim:
    """log(1 - MS-SSIM) of pictures beside one original, from sparse windows and grey.

    Args:
        original: (3, H, W) uint8, both sides even and no shorter than the window's 11 pixels.
    """

    def __init__(self, original: NDArray[np.uint8]) -> None:
        self.weights = scale_weights(min(original.shape[1:]))
        self._original, self._quads = original, _quads_of(original)

    def distortion(self, decoded: NDArray[np.uint8]) -> float:
        """log(1 - MS-SSIM) of a (3, H, W) uint8 picture."""
        return math.log(factors_of(self._compare(decoded), self.weights)[0])

    def gradient(self, decoded: NDArray[np.uint8]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""
        found = self._compare(decoded)
        _, factors = factors_of(found, self.weights)
        grey = found[0][0][1]
        assert grey is not None
        grey *= np.float32(factors[:, 0].mean())
        pairs = grey.reshape(-1, 2, grey.shape[1])
        result = np.empty(decoded.shape, np.float32)
        for plane, scales, factor in zip(result, found, factors, strict=True):
            out = plane.reshape(pairs.shape)
            if len(scales) == 1:
                out[:] = pairs
            else:
                by_quads = collected(scales[1:], factor[1:] / 4)
                np.add(pairs, np.repeat(by_quads, 2, 1)[:, None], out=out)
        return result

    def _compare(self, decoded: NDArray[np.uint8]) -> list[list[Term]]:
        """By channel and scale; the finest scale is the same for all."""
        quads = _quads_of(decoded)
        count = len(self.weights)
        finest = _terms(_grey_of(decoded), _grey_of(self._original), count == 1)
        if count == 1:
            return [[finest]] * len(quads)
        found = []
        for channel in zip(quads, self._quads, strict=True):
            planes = (pyramid(quad * np.float32(0.25), count - 1, np.float32) for quad in channel)
            pairs = enumerate(zip(*planes, strict=True), 2)
            found.append([finest, *(_terms(x, y, scale == count) for scale, (x, y) in pairs)])
        return found


def _quads_of(picture: NDArray[np.uint8]) -> Quads:
    """Sums of 2 x 2 pixels of (3, H, W), both sides even."""
    rows = np.add(picture[:, ::2], picture[:, 1::2], dtype=np.uint16)
    result: Quads = rows[..., ::2] + rows[..., 1::2]
    return result


def _grey_of(picture: NDArray[np.uint8]) -> Floats:
    """The mean of the colours, (3, H, W) -> (H, W)."""
    total = np.add(picture[0], picture[1], dtype=np.uint16)
    total += picture[2]
    return total * np.float32(1 / 3)


def _terms(x: Floats, y: Floats, last: bool) -> Term:
    """Compare one scale of one channel, (H, W) each."""
    return _sparse_terms(x, y, last) if min(x.shape) >= SPARSE_FROM else terms(x, y, None, last, gradient=True)


def _sparse_terms(x: Floats, y: Floats, last: bool) -> Term:
    """As :func:`~.ms_ssim.terms`, of the windows at every second row and column."""
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
    return max(total / (rows * columns), LEAST), slope


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
