"""Windows of a map of positions, whose arrays fit into the processor's cache."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Window:
    """Whole rows of a (height, width) map, or a part of one row; either way consecutive positions.

    Attributes:
        rows, columns: what it covers.
        start, stop: the same as indices into the flattened map.
        shape: (rows, columns).
        padded: the same in a map with a border of one.
    """

    SIZE: ClassVar[int] = 2048
    """Positions: 9 x 96 activations of each are 7 MiB as float32."""

    def __init__(self, rows: slice, columns: slice, height: int, width: int) -> None:
        self.rows, self.columns = rows, columns
        self.start = rows.start * width + columns.start
        self.stop = (rows.stop - 1) * width + columns.stop
        self.shape = (rows.stop - rows.start, columns.stop - columns.start)
        self.padded = (slice(rows.start + 1, rows.stop + 1), slice(columns.start + 1, columns.stop + 1))
        self._height, self._width = height, width

    def cut(self, maps: NDArray[Any], channels: NDArray[Any] | None = None) -> NDArray[Any]:
        """The window of (k, height, width) maps with a border of one, which is 0 outside of the map."""
        (top, left), (bottom, right) = (
            [max(s.start - 1, 0) for s in (self.rows, self.columns)],
            [min(s.stop + 1, n) for s, n in ((self.rows, self._height), (self.columns, self._width))],
        )
        part = maps[:, top:bottom, left:right] if channels is None else maps[channels, top:bottom, left:right]
        result = np.zeros((len(part), self.shape[0] + 2, self.shape[1] + 2), maps.dtype)
        row, column = top - self.rows.start + 1, left - self.columns.start + 1
        result[:, row : row + bottom - top, column : column + right - left] = part
        return result

    def inside(self, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices into the flattened :meth:`cut` of positions (p,) that lie in the window."""
        row, column = np.divmod(positions, self._width)
        return (row - self.rows.start + 1) * (self.shape[1] + 2) + column - self.columns.start + 1


@functools.lru_cache(maxsize=16)
def windows(height: int, width: int) -> tuple[Window, ...]:
    """All windows of a map, in order."""
    rows = max(Window.SIZE // width, 1)
    columns = width if rows > 1 else Window.SIZE
    return tuple(
        Window(slice(y, min(y + rows, height)), slice(x, min(x + columns, width)), height, width)
        for y in range(0, height, rows)
        for x in range(0, width, columns)
    )
