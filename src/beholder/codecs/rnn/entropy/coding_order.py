"""The order in which the codes of a pass are coded, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.tables import MEANS, SCALES

Ints = NDArray[Any]

BLOCK_CODES = 1 << 19
"""Codes that are put in order together."""


class CodingOrder:
    """The order in which the codes of a pass are coded: table by table, each one's as they lie.

    Args:
        tables: (channels, positions).
    """

    def __init__(self, tables: NDArray[np.int16]) -> None:
        self._tables = tables
        self._by_block = [np.bincount(tables[block].ravel(), minlength=4 * SCALES * MEANS) for block in self.blocks()]
        self._counts = sum(self._by_block, np.zeros(4 * SCALES * MEANS, np.int64))
        self._next = np.cumsum(self._counts) - self._counts

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """(table, start, end) of each table's codes, in coding order."""
        used = np.flatnonzero(self._counts)
        ends = np.cumsum(self._counts[used])
        return zip(used.tolist(), (ends - self._counts[used]).tolist(), ends.tolist(), strict=True)

    def blocks(self) -> Iterator[slice]:
        """Channels whose codes are put in order together: all at once would take much memory."""
        step = max(1, BLOCK_CODES // max(self._tables.shape[1], 1))
        return (slice(i, i + step) for i in range(0, len(self._tables), step))

    def place(self, block: slice) -> tuple[Ints, Ints | slice]:
        """Which of a block's codes come one after another, (codes,), and the places of these in coding order.

        Args:
            block: channels; a call for each block, in the order of :meth:`blocks`.
        """
        lie = np.argsort(self._tables[block].ravel().astype(np.uint16), kind="stable")  # 16 bits: a radix sort
        counts = self._by_block.pop(0)
        if len(lie) == self._tables.size:
            return lie, slice(None)
        place = np.repeat(self._next - (np.cumsum(counts) - counts), counts)
        place += np.arange(len(lie))
        self._next += counts
        return lie, place
