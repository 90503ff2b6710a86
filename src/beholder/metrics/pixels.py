"""First step of every full-reference metric: two pictures to two comparable arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.errors import BadImageError
from beholder.pictures.modes import flatten

Picture = Image.Image | NDArray[np.uint8]


def planes(a: Picture, b: Picture) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both pictures as uint8 arrays of one shape (channels, height, width), 1 or 3 channels.

    Transparency is composited on white; a grey picture beside a coloured one is taken as RGB.

    Raises:
        BadImageError: the sizes differ, or an array is not uint8 of shape (H, W), (H, W, 1) or (H, W, 3).
    """
    first, second = _planes(a), _planes(b)
    if first.shape[1:] != second.shape[1:]:
        sizes = " and ".join(f"{p.shape[2]} x {p.shape[1]}" for p in (first, second))
        raise BadImageError(f"Pictures of {sizes} pixels cannot be compared: give two of one size.")
    if len(first) != len(second):
        first, second = (np.repeat(p, 3 // len(p), axis=0) for p in (first, second))
    return first, second


def _planes(picture: Picture) -> NDArray[np.uint8]:
    array: NDArray[Any] = np.asarray(flatten(picture) if isinstance(picture, Image.Image) else picture)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise BadImageError(
            f"An array of shape {array.shape} and type {array.dtype} is no picture: "
            "give uint8 of shape (height, width, 3)."
        )
    return np.ascontiguousarray(np.moveaxis(array, 2, 0))
