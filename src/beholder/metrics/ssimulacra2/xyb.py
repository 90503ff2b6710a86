"""The colours that SSIMULACRA2 compares: X, Y and B - Y, from the cube roots of cone responses to linear RGB."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CONES = np.array(
    [[0.3, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0.5518098665095536]]
)
"""Linear RGB to cone responses."""
BIAS = 0.0037930732552754493
"""Added to cone responses."""
XYB = np.array([[7.0, -7, 0], [0.5, 0.5, 0], [-0.5, -0.5, 1]])
"""Cube roots of cone responses to X, Y and B - Y, with X as large as the others."""
SHIFT = np.array([0.42, 0.01, 0.55])[:, None, None]
"""Added to X, Y and B - Y, so that all are positive."""


@functools.cache
def linear_values(dtype: DTypeLike) -> NDArray[Any]:
    """(256,): sRGB to linear values in [0, 1]."""
    x = np.arange(256) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(dtype)


def mix(matrix: NDArray[Any], planes: NDArray[Any]) -> NDArray[Any]:
    """(k, n) @ (n, H, W)."""
    return (matrix @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:])


def halve(x: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 values of (channels, H, W) floats; the last row or column of an odd side counts twice."""
    height, width = x.shape[1:]
    if height % 2 or width % 2:
        x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    quarters: NDArray[Any] = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    quarters *= x.dtype.type(0.25)
    return quarters
