"""Tiles of a picture: networks run on one at a time, with a margin as wide as they see, so that tiles do not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK

TILE = 80
"""Side of a tile in latent positions: 1280 pixels.  Larger tiles spend less on margins, 27 % here for the synthesis of
large pictures, and take more memory: with 96, 12 megapixels took 624 MB to decompress for a machine."""

Area = tuple[slice, slice]
"""Rows and columns of positions."""


class Pixels(Protocol):
    """(3, 16H, 16W) uint8: an array, or what cuts windows from a picture when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, 16H, 16W)."""

    def __getitem__(self, window: tuple[slice, slice, slice], /) -> NDArray[np.uint8]:
        """All channels of some rows and columns."""


class Tile:
    """One tile: a network sees ``outer``, and ``inner`` of its output is kept; both are in positions and in pixels."""

    def __init__(self, row: int, column: int, height: int, width: int, margin: int, side: int) -> None:
        bottom, right = min(row + side, height), min(column + side, width)
        top, left = max(row - margin, 0), max(column - margin, 0)
        self.inner = (slice(row, bottom), slice(column, right))
        self.outer = (slice(top, min(bottom + margin, height)), slice(left, min(right + margin, width)))
        self.crop = (slice(row - top, bottom - top), slice(column - left, right - left))
        self.inner_pixels, self.outer_pixels, self.crop_pixels = (
            (_pixels(rows), _pixels(columns)) for rows, columns in (self.inner, self.outer, self.crop)
        )


def tiles(height: int, width: int, margin: int, top: int | None = None, side: int | None = None) -> Iterator[Tile]:
    """Yield all tiles, or one row of tiles that begins at ``top``; ``side`` None stands for ``TILE``."""
    side = TILE if side is None else side
    for row in range(0, height, side) if top is None else (top,):
        for column in range(0, width, side):
            yield Tile(row, column, height, width, margin, side)


def _pixels(positions: slice) -> slice:
    return slice(positions.start * BLOCK, positions.stop * BLOCK)
