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
        counts = np.zeros(4 * SCALES * MEANS, np.int64)
        for block in self.blocks():
            counts += np.bincount(tables[block].ravel(), minlength=len(counts))
        self._counts, self._next = counts, np.cumsum(counts) - counts

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """(table, start, end) of each table's codes, in coding order."""
        used = np.flatnonzero(self._counts)
        ends = np.cumsum(self._counts[used])
        return zip(used.tolist(), (ends - self._counts[used]).tolist(), ends.tolist(), strict=True)

    def blocks(self) -> Iterator[slice]:
        """Channels whose codes are put in order together: all at once would take much memory."""
        step = max(1, BLOCK_CODES // max(self._tables.shape[1], 1))
        return (slice(i, i + step) for i in range(0, len(self._tables), step))

    def place(self, block: slice) -> tuple[Ints, Ints]:
        """Which of a block's codes come one after another, and the places of these in coding order, (codes,) each.

        Args:
            block: channels; a call for each block, in the order of :meth:`blocks`.
        """
        tables = self._tables[block].ravel()
        lie = np.argsort(tables.astype(np.uint16), kind="stable")  # of 16-bit integers: a radix sort
        counts = np.bincount(tables, minlength=len(self._next))
        place = np.repeat(self._next - (np.cumsum(counts) - counts), counts) + np.arange(len(lie))
        self._next += counts
        return lie, place
