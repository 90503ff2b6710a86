"""The residual's transform: RGB to YCbCr and a DCT of 8x8 pixels, both in integers.

The products are of float64 whole numbers whose sums stay below 2^53, so every order of summation gives the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import RESIDUAL_LEVELS
from beholder.codecs.rnn.residual.coder import LARGEST, Codes
from beholder.codecs.rnn.residual.geometry import COEFFICIENTS, SIDE, STEP_UNIT, steps

BASIS_BITS = 13
CENTROID_UNIT = 64
LIMIT = (1 << 18) - 1
"""Largest dequantised coefficient, in 1 / STEP_UNIT; a picture's have at most half of this."""
DEAD_ZONE = 0.3
"""Added to magnitudes before they are cut off to whole steps, in the last level's steps: it makes the dead zone of the
last level narrower, where it would waste distortion, and those of the levels before less so."""
COLOUR_BITS = 14
TO_YCBCR = np.array([[4899, 9617, 1868], [-2765, -5427, 8192], [8192, -6860, -1332]], np.int32)
"""Rows give Y, Cb and Cr in 1 / 2^14; sums of the rows are 2^14, 0 and 0."""
RED_CR, GREEN_CB, GREEN_CR, BLUE_CB = 22970, 5638, 11700, 29032
"""1.402, 0.344136, 0.714136 and 1.772 in 1 / 2^14."""


@functools.cache
def basis() -> NDArray[np.float64]:
    """Orthonormal DCT of 8 samples times 2^13, rounded: (8 frequencies, 8 samples)."""
    frequency, sample = np.indices((SIDE, SIDE))
    cosines = np.cos((2 * sample + 1) * frequency * np.pi / (2 * SIDE)) * np.where(frequency, 0.5, np.sqrt(1 / SIDE))
    return np.floor(cosines * (1 << BASIS_BITS) + 0.5).astype(np.float64)


@functools.cache
def _plane_basis() -> NDArray[np.float64]:
    """(64 coefficients, 64 samples): products of two basis functions, below 2^24."""
    return np.kron(basis(), basis()).astype(np.float64)


def to_planes(residual: NDArray[np.int16]) -> list[NDArray[np.int32]]:
    """(rows, columns) or (rows, columns, 3) pixels -> Y, or Y, Cb and Cr, in 1 / 2^14."""
    values = residual.astype(np.int32)
    if values.ndim == 2:
        return [values << COLOUR_BITS]
    return [values @ weights for weights in TO_YCBCR]


def forward(plane: NDArray[np.int32]) -> NDArray[np.float32]:
    """(rows, columns) of :func:`to_planes`, sides multiples of 8 -> (64, rows / 8, columns / 8) coefficients."""
    height, width = plane.shape
    blocks = plane.reshape(height // SIDE, SIDE, width // SIDE, SIDE).transpose(1, 3, 0, 2)
    whole = _plane_basis() @ blocks.reshape(COEFFICIENTS, -1).astype(np.float64)
    result = (whole / (1 << COLOUR_BITS + 2 * BASIS_BITS)).astype(np.float32)
    return result.reshape(COEFFICIENTS, height // SIDE, width // SIDE)


def quantise(coefficients: NDArray[np.float32], levels: int, step_scale: int) -> Codes:
    """Codes at the finest of the levels, (64, rows, columns); coarser levels' are these, shifted right."""
    step = (steps(step_scale, levels - 1) / STEP_UNIT).astype(np.float32)[:, None, None]
    offset = (steps(step_scale, RESIDUAL_LEVELS - 1) / STEP_UNIT * DEAD_ZONE).astype(np.float32)[:, None, None]
    magnitudes = np.minimum((np.abs(coefficients) + offset) / step, LARGEST >> (RESIDUAL_LEVELS - levels))
    return np.copysign(magnitudes, coefficients).astype(np.int16)


def dequantise(codes: Codes, level: int, step_scale: int, centroid: NDArray[np.int64]) -> NDArray[np.float64]:
    """Coefficients in 1 / STEP_UNIT, whole numbers: (64, rows, columns).

    Args:
        codes: of one plane at ``level``.
        centroid: for magnitudes of 1 and more, in 1 / CENTROID_UNIT of a step.
    """
    step = steps(step_scale, level).astype(np.float64)[:, None, None]
    magnitude = np.abs(codes).astype(np.float64)
    places = CENTROID_UNIT * magnitude + np.where(magnitude > 1, *centroid[::-1].astype(np.float64))
    whole = np.minimum(np.floor((step * places + CENTROID_UNIT // 2) / CENTROID_UNIT), LIMIT)
    result: NDArray[np.float64] = np.where(magnitude > 0, np.copysign(whole, codes), 0)
    return result


def inverse(coefficients: NDArray[np.float64]) -> NDArray[np.int64]:
    """Dequantised coefficients of a plane -> (rows, columns) in 1024ths of a pixel's unit."""
    _, rows, columns = coefficients.shape
    samples = _plane_basis().T @ coefficients.reshape(COEFFICIENTS, -1)
    # From 2^-32, which the products have, to 2^-10.
    fine = np.floor((samples + (1 << 21)) / (1 << 22)).astype(np.int64)
    return fine.reshape(SIDE, SIDE, rows, columns).transpose(2, 0, 3, 1).reshape(rows * SIDE, columns * SIDE)


def to_pixels(planes: Sequence[NDArray[np.int64]]) -> NDArray[np.int16]:
    """Planes of :func:`inverse` -> what is added to the pixels, (rows, columns) or (rows, columns, 3), -255 to 255."""
    y, *chroma = planes
    if not chroma:
        return _whole(y, 10)
    cb, cr = chroma
    y = y << 14
    colours = (y + RED_CR * cr, y - GREEN_CB * cb - GREEN_CR * cr, y + BLUE_CB * cb)
    return np.stack([_whole(colour, 24) for colour in colours], -1)


def _whole(values: NDArray[np.int64], bits: int) -> NDArray[np.int16]:
    """Rounded values / 2^bits."""
    return ((values + (1 << bits - 1)) >> bits).clip(-255, 255).astype(np.int16)
