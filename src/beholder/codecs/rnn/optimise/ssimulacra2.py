"""SSIMULACRA2 and its gradient with NumPy, for a picture that is compared many times.

J. Sneyers, "SSIMULACRA 2 - Structural SIMilarity Unveiling Local And Compression Related Artifacts", Cloudinary, 2023.
The score agrees with :mod:`beholder.metrics.ssimulacra2` to .004 for pictures with all six scales, whose short side is
225 pixels or more.  Smaller ones have fewer, and each scale keeps its own weights here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.optimise.xyb import Scale, by_values, scales_of, strips
from beholder.metrics.similarity import blur
from beholder.metrics.ssimulacra2 import C2, HALF
from beholder.metrics.ssimulacra2.weights import FACTOR, POLYNOMIAL, POWER, SCALES, weights

Floats = NDArray[np.float32]
Key = tuple[int, int]
"""Number of a scale, and of a channel there."""

LEAST = 0.05
"""Added to 100 - SSIMULACRA2, so that the distortion of equal pictures is finite."""
NO_WEIGHT = 0.002
"""Weights below are left out, and with them the sixth scale, which has no others."""
WEIGHTS = np.where(weights(SCALES)[:, :-1] < NO_WEIGHT, 0, weights(SCALES)[:, :-1])
"""By channel (X, Y, B - Y) and scale: weights of structure, added edges and lost edges, of their means and of their
4-norms."""
COMPARED = tuple(tuple(np.flatnonzero(WEIGHTS[:, scale].any((1, 2))).tolist()) for scale in range(WEIGHTS.shape[1]))
"""The channels that have weights, by scale."""
HALVED = ((1,), *COMPARED[2:])
"""Those for pictures at half their size, by scale; X has little weight at the first."""


class Ssimulacra2Distortion:
    """log(100 - SSIMULACRA2) of pictures beside one original.

    All is computed in strips of rows that fit into the processor's cache.

    Args:
        original: (3, H, W) uint8, sRGB, no side shorter than 8 pixels.  Or :func:`~.xyb.halved_light` of it, and of
            the decoded pictures: this leaves out the finest scale, and X at the next.
    """

    def __init__(self, original: NDArray[Any]) -> None:
        self._first = 0 if original.dtype == np.uint8 else 1
        self._compared = HALVED if self._first else COMPARED
        scales = scales_of(original, self._compared, keep_roots=False)
        self._originals: dict[Key, _Original] = {}
        for key in _keys(scales):
            self._originals[key] = _Original(scales[key[0]].planes.pop(key[1]))

    def score(self, decoded: NDArray[Any]) -> float:
        """SSIMULACRA2 of a (3, H, W) uint8 picture."""
        return 100 - self._compare(decoded, gradient=False)[0]

    def distortion(self, decoded: NDArray[Any]) -> float:
        """log(100 - SSIMULACRA2) of a (3, H, W) uint8 picture."""
        return math.log(self._compare(decoded, gradient=False)[0] + LEAST)

    def gradient(self, decoded: NDArray[Any]) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""
        loss, result = self._compare(decoded, gradient=True)
        assert result is not None
        result *= np.float32(1 / (loss + LEAST))
        return result

    def _compare(self, decoded: NDArray[Any], gradient: bool) -> tuple[float, Floats | None]:
        """100 - SSIMULACRA2, and its gradient by each value."""
        scales = scales_of(decoded, self._compared, keep_roots=gradient)
        total = 0.0
        by_planes: dict[Key, Floats] = {}
        for key in _keys(scales):
            means, norms = (tuple(some) for some in WEIGHTS[key[1], key[0] + self._first].tolist())
            plane = scales[key[0]].planes.pop(key[1])
            own, by_plane = self._originals[key].compare(plane, means, norms, gradient)
            total += own
            if by_plane is not None:
                by_planes[key] = by_plane
        loss, by_total = _loss(total)
        if not gradient:
            return loss, None
        result: Floats | None = None
        for number, scale in reversed(list(enumerate(scales))):
            assert scale.roots is not None
            by_channel = {channel: by_planes.pop((number, channel)) for channel in self._compared[number]}
            result = by_values(scale.roots, by_channel, result, None if number or self._first else decoded)
        assert result is not None
        result *= np.float32(by_total)
        return loss, result


class _Original:
    """One channel of the original at one scale.

    Args:
        padded: (H + 10, W + 10), with borders as :class:`~.xyb.Scale` says.
    """

    def __init__(self, padded: Floats) -> None:
        self._padded = padded
        height, width = (side - 2 * HALF for side in padded.shape)
        self._mean, self._variance, self._edge = np.empty((3, height, width), np.float32)
        for rows in strips(height, width):
            near = padded[rows.start : rows.stop + 2 * HALF]
            y = near[HALF:-HALF, HALF:-HALF]
            mean, square = blur(np.stack([near, near * near]))
            self._mean[rows] = mean
            np.subtract(square, mean * mean, out=self._variance[rows])
            np.divide(1, 1 + np.abs(y - mean), out=self._edge[rows])

    def compare(
        self, padded: Floats, means: tuple[float, ...], norms: tuple[float, ...], gradient: bool
    ) -> tuple[float, Floats | None]:
        """Weighted sum of the terms of one channel, and its gradient by each value, (H, W).

        Args:
            padded: the channel of the decoded picture, like the original's.
            means, norms: weights of structure, added edges and lost edges: of their means and of their 4-norms.
            gradient: whether to compute it.
        """
        size = self._mean.size
        firsts, fourths = np.zeros(3), np.zeros(3)
        kept = np.empty((3, *self._mean.shape), np.float32) if gradient else None
        for rows in strips(*self._mean.shape):
            near = padded[rows.start : rows.stop + 2 * HALF]
            stack = np.empty((3, *near.shape), np.float32)
            stack[0] = near
            np.multiply(near, near, out=stack[1])
            np.multiply(near, self._padded[rows.start : rows.stop + 2 * HALF], out=stack[2])
            mean, energy, contrast = blur(stack)
            energy -= mean * mean
            energy += self._variance[rows]
            energy += C2
            contrast -= mean * self._mean[rows]
            contrast *= 2
            contrast += C2
            contrast /= energy
            if kept is not None:
                kept[:, rows] = mean, energy, contrast
            edges = self._edges(rows, near, mean)[1] if any(means[1:] + norms[1:]) else None
            for number in range(3):
                if means[number] or norms[number]:
                    values = self._structure(rows, mean, contrast)[1] if edges is None or not number else edges
                    values = np.maximum(-values if number == 2 else values, 0)
                    firsts[number] += float(values.sum(dtype=np.float64))
                    values *= values
                    fourths[number] += float(np.vdot(values, values))
        wholes = (fourths / size) ** 0.25
        total = float(np.dot(means, firsts / size) + np.dot(norms, wholes))
        if kept is None:
            return total, None
        by_mean = np.array(means) / size
        by_fourth = np.array(norms) / np.maximum(wholes, 1e-6) ** 3 / size
        return total, self._gradient(padded, kept, by_mean.astype(np.float32), by_fourth.astype(np.float32))

    def _structure(self, rows: slice, mean: Floats, contrast: Floats) -> tuple[Floats, Floats]:
        """Luminance, and what its product with the contrast term lacks of 1."""
        luminance = self._mean[rows] - mean
        luminance *= luminance
        np.subtract(1, luminance, out=luminance)
        lacking: Floats = luminance * contrast
        np.subtract(1, lacking, out=lacking)
        return luminance, lacking

    def _edges(self, rows: slice, near: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """Differences of values from their means, and the gain in strength of edges beside the original."""
        away: Floats = near[HALF:-HALF, HALF:-HALF] - mean
        stronger: Floats = np.abs(away)
        stronger += 1
        stronger *= self._edge[rows]
        stronger -= 1
        return away, stronger

    def _gradient(self, padded: Floats, kept: Floats, by_mean: Floats, by_fourth: Floats) -> Floats:
        """Gradient from that of each term: ``by_mean`` + ``by_fourth`` value^3 where the value is positive."""
        height, width = self._mean.shape
        result = np.zeros((height, width), np.float32)
        by_statistics = np.zeros((3, height + 4 * HALF, width + 2 * HALF), np.float32)
        inner = by_statistics[:, 2 * HALF : -2 * HALF, HALF:-HALF]

        def slope(values: Floats, number: int) -> Floats:
            values = np.maximum(values, 0)
            found: Floats = values * values
            found *= values
            found *= by_fourth[number]
            if by_mean[number]:
                found += by_mean[number] * (values > 0)
            return found

        for rows in strips(height, width):
            mean, energy, contrast = kept[:, rows]
            to_mean, to_square, to_product = inner[:, rows]
            if by_mean[0] or by_fourth[0]:
                luminance, lacking = self._structure(rows, mean, contrast)
                by_structure = slope(lacking, 0)
                np.multiply(by_structure, contrast, out=to_mean)
                to_mean *= self._mean[rows] - mean
                to_mean *= -2
                by_structure *= luminance
                by_structure /= energy
                np.multiply(by_structure, contrast, out=to_square)
                np.multiply(by_structure, -2, out=to_product)
                to_mean -= to_product * self._mean[rows]
                to_mean -= 2 * to_square * mean
            if any(by_mean[1:]) or any(by_fourth[1:]):
                away, stronger = self._edges(rows, padded[rows.start : rows.stop + 2 * HALF], mean)
                by_edge = slope(stronger, 1) if by_mean[1] or by_fourth[1] else np.zeros_like(stronger)
                if by_mean[2] or by_fourth[2]:
                    by_edge -= slope(-stronger, 2)
                by_edge *= np.copysign(self._edge[rows], away)
                to_mean -= by_edge
                result[rows] = by_edge
        inner[1] *= 2
        for rows in strips(height, width):
            near = slice(rows.start + HALF, rows.stop + 3 * HALF)
            by_value = blur(by_statistics[:, near])
            # The upper and lower border show the picture mirrored.
            if rows.start == 0:
                by_value[:, :HALF] += blur(by_statistics[:, : 3 * HALF])[:, ::-1]
            if rows.stop == height:
                by_value[:, -HALF:] += blur(by_statistics[:, -3 * HALF :])[:, ::-1]
            inside = (slice(rows.start + HALF, rows.stop + HALF), slice(HALF, -HALF))
            by_value[1] *= padded[inside]
            by_value[2] *= self._padded[inside]
            for part in by_value:
                result[rows] += part
        return result


def _keys(scales: list[Scale]) -> list[Key]:
    return [(number, channel) for number, scale in enumerate(scales) for channel in scale.planes]


def _loss(total: float) -> tuple[float, float]:
    """100 - SSIMULACRA2 from the sum of its terms, and its derivative."""
    x = FACTOR * total
    a, b, c = POLYNOMIAL
    value, slope = x * (a + x * (b + x * c)), a + x * (2 * b + x * 3 * c)
    if value <= 1e-9:
        return 0.0, 0.0
    return 10 * value**POWER, 10 * POWER * value ** (POWER - 1) * slope * FACTOR
