"""Views of a picture that a classifier is shown, as linear maps with their adjoints.

They change each round: what holds for one view of one network only does not transfer to others.  Small pictures are
enlarged a little; of large ones one view is the whole picture, shrunk to a network's input, and one a part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Filter = NDArray[np.float64]
"""In double precision, rounded to single: BLAS kernels sum in other orders, and effort 0 writes the same bytes
with all."""

SMALL = 400 * 400
"""Pixels up to which both views are enlarged parts; of larger pictures one is the whole and one a part."""
SHIFT = 16
"""Largest shift of a view, in pixels."""
ENLARGED = 0.25
"""Largest enlargement of the views of small pictures, less 1."""
WHOLE = (224, 320)
"""Short side that large pictures are shrunk to: the inputs of common classifiers, and more."""
PART = 352
"""Side of the square that is shown of a large picture as it is."""
MULTIPLE = 32
"""Sides of views are multiples of the networks' coarsest stride, in pixels."""


@dataclass(frozen=True)
class View:
    """A part of a picture, resized.

    Attributes:
        rows, columns: of the part, in pixels.
        size: height and width of the view.
        mirrored: left and right exchanged.
    """

    rows: slice
    columns: slice
    size: tuple[int, int]
    mirrored: bool = False

    def show(self, picture: NDArray[np.uint8]) -> Floats:
        """(3, H, W), 0 to 255 -> the view, (3, H, W)."""
        down, across = self._filters()
        part = picture[:, self.rows, self.columns].astype(np.float64)
        if down is not None:
            part = down @ part
        if across is not None:
            part = part @ across.T
        return (part[:, :, ::-1] if self.mirrored else part).astype(np.float32, order="C")

    def add_adjoint(self, gradient: Floats, total: Floats) -> None:
        """Add to ``total`` (3, H, W) the vector-Jacobian product of :meth:`show` for ``gradient`` (3, H, W)."""
        down, across = self._filters()
        wide: NDArray[np.float64] = gradient.astype(np.float64)
        if self.mirrored:
            wide = wide[:, :, ::-1]
        if across is not None:
            wide = wide @ across
        if down is not None:
            wide = down.T @ wide
        total[:, self.rows, self.columns] += wide.astype(np.float32)

    def _filters(self) -> tuple[Filter | None, Filter | None]:
        """Matrices that resize along both axes; None where the size stays."""
        sides = (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)
        down, across = (_filter(a, b) if a != b else None for a, b in zip(sides, self.size, strict=True))
        return down, across


def whole(height: int, width: int) -> View:
    """The picture as it is, or shrunk to the largest of ``WHOLE``."""
    scale = min(1.0, WHOLE[1] / min(height, width))
    return View(slice(0, height), slice(0, width), (_multiple(scale * height), _multiple(scale * width)))


def varied(height: int, width: int, chance: np.random.Generator) -> list[View]:
    """Two views chosen by chance; height and width are at least 64 pixels."""
    if height * width <= SMALL:
        scale = 1 + ENLARGED * chance.random()
        cuts = [_cut(height, width, height - SHIFT, width - SHIFT, chance) for _ in range(2)]
        size = (_multiple(scale * (height - SHIFT)), _multiple(scale * (width - SHIFT)))
        return [View(*cut, size, mirrored) for cut, mirrored in zip(cuts, (False, True), strict=True)]
    short = min(height, width) - SHIFT
    scale = min(1.0, int(chance.integers(WHOLE[0], WHOLE[1] + 1)) / short)
    size = (_multiple(scale * (height - SHIFT)), _multiple(scale * (width - SHIFT)))
    first = _cut(height, width, height - SHIFT, width - SHIFT, chance)
    part = (min(PART, height // MULTIPLE * MULTIPLE), min(PART, width // MULTIPLE * MULTIPLE))
    second = _cut(height, width, *part, chance)
    return [View(*first, size, chance.random() < 0.5), View(*second, part, chance.random() < 0.5)]


def _cut(height: int, width: int, rows: int, columns: int, chance: np.random.Generator) -> tuple[slice, slice]:
    """A random part of that size."""
    top, left = (int(chance.integers(have - want + 1)) for have, want in ((height, rows), (width, columns)))
    return slice(top, top + rows), slice(left, left + columns)


def _multiple(side: float) -> int:
    return max(round(side / MULTIPLE), 1) * MULTIPLE


@functools.lru_cache(maxsize=32)
def _filter(before: int, after: int) -> Filter:
    """(after, before): linear interpolation, antialiased where it shrinks."""
    scale = before / after
    centre = (np.arange(after)[:, None] + 0.5) * scale
    weight = np.maximum(1 - np.abs(np.arange(before) + 0.5 - centre) / max(scale, 1.0), 0)
    result: Filter = weight / weight.sum(1, keepdims=True)
    return result
