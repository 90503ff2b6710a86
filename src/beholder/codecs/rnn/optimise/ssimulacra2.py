"""SSIMULACRA2 and its gradient with NumPy, for a picture that is compared many times.

J. Sneyers, "SSIMULACRA 2 - Structural SIMilarity Unveiling Local And Compression Related Artifacts", Cloudinary, 2023.
The score agrees with the package ``ssimulacra2`` (:mod:`beholder.metrics.ssimulacra2`) for pictures with all six
scales, whose short side is 225 pixels or more.  Smaller ones have fewer, and each scale keeps its own weights here.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.threads import for_each
from beholder.metrics.similarity import WINDOW, blur

Floats = NDArray[np.float32]

C2 = np.float32(0.0009)
"""Constant of the contrast term."""
SMALLEST = 8
"""Least side of a scale, in pixels."""
LEAST = 0.05
"""Added to 100 - SSIMULACRA2, so that the distortion of equal pictures is finite."""
HALF = WINDOW // 2
CONES = np.array(
    [[0.3, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0.5518098665095536]],
    np.float32,
)
"""Linear RGB to cone responses."""
BIAS = np.float32(0.0037930732552754493)
"""Added to cone responses."""
XYB = np.array([[7, -7, 0], [0.5, 0.5, 0], [-0.5, -0.5, 1]], np.float32)
"""Cube roots of cone responses to X, Y and B - Y, with X as large as the others."""
SHIFT = np.array([0.42, 0.01, 0.55], np.float32)[:, None, None]
"""Added to X, Y and B - Y, so that all are positive."""
FACTOR, POLYNOMIAL = 0.9562382616834844, (2.326765642916932, -0.020884521182843837, 6.248496625763138e-05)
POWER = 0.6276336467831387
"""The score is 100 - 10 p(FACTOR x)^POWER for the weighted sum x of all terms, p a cubic polynomial."""

NONE = (0.0, 0.0, 0.0)
WEIGHTS = (
    (
        (NONE, NONE),
        (NONE, (1.104172643, 0, 0)),
        (NONE, (1.842245552, 11.4411726, 0)),
        (NONE, (1.878759498, 10.94906991, 0)),
        ((0, 0.9677937081, 0), (0, 0.9981766978, 0)),
    ),
    (
        (NONE, (7.466890328, 0, 17.44583398)),
        (NONE, (6.683678146, 0, 1.027889938)),
        ((225.205153, 0, 0), (19.21323819, 0, 0)),
        ((176.393176, 0, 0), (24.43301, 0.2852080261, 0)),
        (NONE, (34.77906344, 44.83562533, 0)),
    ),
    (
        (NONE, NONE),
        (NONE, NONE),
        (NONE, NONE),
        (NONE, (8.826982765, 23.19243344, 0)),
        ((95.10804988, 0.9863978034, 0.9834382792), (0, 171.2667256, 0.9807858872)),
    ),
)
"""By channel (X, Y, B - Y) and scale: weights of structure, added edges and lost edges, of their means and of their
4-norms.  Weights below .002 and the sixth scale, which has no others, are left out."""


class Ssimulacra2Distortion:
    """log(100 - SSIMULACRA2) of pictures beside one original.

    Args:
        original: (3, H, W) uint8, sRGB, no side shorter than 8 pixels.
    """

    def __init__(self, original: NDArray[np.uint8]) -> None:
        self.originals: list[list[tuple[Floats, Floats, Floats, Floats] | None]] = []
        for scale, linear in enumerate(_scales(original)):
            planes: list[tuple[Floats, Floats, Floats, Floats] | None] = []
            for channel, y in enumerate(_positive_xyb(_roots(linear))):
                if WEIGHTS[channel][scale] == (NONE, NONE):
                    planes.append(None)
                    continue
                mean, square = _blur(np.stack([y, y * y]))
                planes.append((y, mean, square - mean * mean, 1 / (1 + np.abs(y - mean))))
            self.originals.append(planes)

    def score(self, decoded: NDArray[np.uint8]) -> float:
        """SSIMULACRA2 of a (3, H, W) uint8 picture."""
        return 100 - self._compare(decoded, gradient=False)[0]

    def distortion(self, decoded: NDArray[np.uint8]) -> float:
        """log(100 - SSIMULACRA2) of a (3, H, W) uint8 picture."""
        return math.log(self._compare(decoded, gradient=False)[0] + LEAST)

    def gradient(self, decoded: NDArray[np.uint8]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""
        loss, result = self._compare(decoded, gradient=True)
        assert result is not None
        result *= np.float32(1 / (loss + LEAST))
        return result

    def _compare(self, decoded: NDArray[np.uint8], gradient: bool) -> tuple[float, Floats | None]:
        """100 - SSIMULACRA2, and its gradient by each value."""
        linears = _scales(decoded)[: len(self.originals)]
        total, by_roots, all_roots = 0.0, [], []
        for scale, linear in enumerate(linears):
            roots = _roots(linear)
            planes, sums = _positive_xyb(roots), [0.0] * len(XYB)
            work = functools.partial(self._compare_channel, scale, planes, sums, gradient)
            for_each(work, range(len(XYB)))
            total += sum(sums)
            if gradient:
                all_roots.append(roots)
                by_roots.append(_mix(XYB.T, planes))
        loss, by_total = _loss(total)
        if not gradient:
            return loss, None
        result: Floats | None = None
        for linear, roots, by_root in reversed(list(zip(linears, all_roots, by_roots, strict=True))):
            here = _mix(CONES.T, by_root / (3 * roots * roots))
            result = here if result is None else here + _halve_adjoint(result, linear.shape[1:])
        assert result is not None
        result *= _curve()[1][decoded] * np.float32(by_total)
        return loss, result

    def _compare_channel(self, scale: int, planes: Floats, sums: list[float], gradient: bool, channel: int) -> None:
        """Put the weighted sum of one scale's and channel's terms into ``sums``, its gradient into ``planes``."""
        x, original = planes[channel], self.originals[scale][channel]
        if original is None:
            x.fill(0)
            return
        y, mean_y, variance_y, edge_y = original
        means, norms = WEIGHTS[channel][scale]
        mean_x, square, product = _blur(np.stack([x, x * x, x * y]))
        difference = mean_y - mean_x
        luminance = 1 - difference * difference
        energy = square - mean_x * mean_x + variance_y + C2
        contrast = (2 * (product - mean_x * mean_y) + C2) / energy
        structure, by_structure = _pool_map(1 - luminance * contrast, means[0], norms[0], gradient)
        edges = (1 + np.abs(x - mean_x)) * edge_y - 1
        added, by_added = _pool_map(edges, means[1], norms[1], gradient)
        lost, by_lost = _pool_map(-edges, means[2], norms[2], gradient)
        sums[channel] = structure + added + lost
        if not gradient:
            return
        by_edge = (by_added - by_lost) * np.copysign(edge_y, x - mean_x)
        by_square = by_structure * luminance * contrast / energy
        by_product = -2 * by_structure * luminance / energy
        by_mean = -2 * by_structure * difference * contrast - by_product * mean_y - 2 * by_square * mean_x - by_edge
        by_mean, by_square, by_product = _blur_adjoint(np.stack([by_mean, by_square, by_product]))
        planes[channel] = by_edge + by_mean + 2 * by_square * x + by_product * y


def _pool_map(values: Floats, mean: float, norm: float, gradient: bool) -> tuple[float, Floats]:
    """Weighted mean and 4-norm of the positive values, and their gradient by each value."""
    if not mean and not norm:
        return 0.0, np.zeros(1, np.float32)
    values = np.maximum(values, 0)
    total = mean * float(values.mean(dtype=np.float64))
    square = values * values
    whole = float(np.square(square).mean(dtype=np.float64)) ** 0.25
    if not gradient:
        return total + norm * whole, values
    by_norm = np.float32(norm / max(whole, 1e-6) ** 3 / values.size)
    return total + norm * whole, by_norm * square * values + np.float32(mean / values.size) * (values > 0).astype(
        np.float32
    )


def _loss(total: float) -> tuple[float, float]:
    """100 - SSIMULACRA2 from the sum of its terms, and its derivative."""
    x = FACTOR * total
    a, b, c = POLYNOMIAL
    value, slope = x * (a + x * (b + x * c)), a + x * (2 * b + x * 3 * c)
    if value <= 1e-9:
        return 0.0, 0.0
    return 10 * value**POWER, 10 * POWER * value ** (POWER - 1) * slope * FACTOR


def _scales(picture: NDArray[np.uint8]) -> list[Floats]:
    """The picture in linear RGB at each scale."""
    linear = _curve()[0][picture]
    result: list[Floats] = []
    while len(result) < len(WEIGHTS[0]) and min(linear.shape[1:]) >= SMALLEST:
        result.append(linear)
        linear = _halve(linear)
    return result


@functools.cache
def _curve() -> tuple[Floats, Floats]:
    """(256,) each: sRGB to linear values in [0, 1], and its derivative."""
    x = np.arange(256) / 255
    dark = x <= 0.04045
    linear = np.where(dark, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    slope = np.where(dark, 1 / 12.92, 2.4 / 1.055 * ((x + 0.055) / 1.055) ** 1.4) / 255
    return linear.astype(np.float32), slope.astype(np.float32)


def _mix(matrix: Floats, planes: Floats) -> Floats:
    """(3, 3) @ (3, H, W)."""
    return (matrix @ planes.reshape(len(planes), -1)).reshape(planes.shape)


def _roots(linear: Floats) -> Floats:
    """Cube roots of the cone responses."""
    roots: Floats = np.cbrt(_mix(CONES, linear) + BIAS)
    return roots


def _positive_xyb(roots: Floats) -> Floats:
    """X, Y and B - Y."""
    return _mix(XYB, roots - np.cbrt(BIAS)) + SHIFT


def _halve(x: Floats) -> Floats:
    """Means of 2 x 2 pixels; the last row or column of an odd side counts twice."""
    height, width = x.shape[1:]
    if height % 2 or width % 2:
        x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    quarters: Floats = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    quarters *= np.float32(0.25)
    return quarters


def _halve_adjoint(x: Floats, size: tuple[int, ...]) -> Floats:
    """Adjoint of :func:`_halve` of a picture of ``size``."""
    height, width = size
    result: Floats = np.repeat(np.repeat(x * np.float32(0.25), 2, -2), 2, -1)
    if height % 2:
        result[:, -2] += result[:, -1]
    if width % 2:
        result[..., -2] += result[..., -1]
    return result[:, :height, :width]


def _blur(x: Floats) -> Floats:
    """As the package blurs: beyond the left and right edge 0, beyond the upper and lower one the picture mirrored."""
    rows = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(HALF, HALF), (0, 0)], mode="symmetric")
    return blur(np.pad(rows, [(0, 0)] * (x.ndim - 1) + [(HALF, HALF)]))


def _blur_adjoint(x: Floats) -> Floats:
    """Adjoint of :func:`_blur`."""
    tall = blur(np.pad(x, [(0, 0)] * (x.ndim - 2) + [(2 * HALF, 2 * HALF), (HALF, HALF)]))
    inner = tall[..., HALF:-HALF, :]
    inner[..., :HALF, :] += tall[..., HALF - 1 :: -1, :]
    inner[..., -HALF:, :] += tall[..., : -HALF - 1 : -1, :]
    return inner
