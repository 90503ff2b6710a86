"""Sizes, steps and order of the residual layer, which belong to the file format.

The residual is the original minus the decoded picture of quality 8, in YCbCr, in blocks of 8x8 pixels under a DCT.
Each level halves the quantiser step of the one before, so a finer level splits the cells of a coarser one.  Blocks are
coded in tiles, which bounds memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK, RESIDUAL_LEVELS, STEP_SCALES

Ints = NDArray[np.int64]
Area = tuple[slice, slice]

SIDE = 8
"""Side of a block of the residual in pixels.  4 and 16 need 1 to 4 % more rate at equal PSNR."""
TILE = 128
"""Side of a tile in blocks: codes of one tile are coded without those of the others."""
COEFFICIENTS = SIDE * SIDE
DIAGONALS = 2 * SIDE - 1
"""Coefficients (i, j) with the same i + j are coded together."""
STEP_UNIT = 64
"""Steps and coefficients count in 1/64 of the orthonormal DCT's unit, for pixels from 0 to 255."""
FINEST_STEP = 2
"""Step of the last level at frequency 0, in pixels' units."""

_ROW, _COLUMN = np.divmod(np.arange(COEFFICIENTS), SIDE)
DIAGONAL: Ints = _ROW + _COLUMN
"""i + j of each coefficient 8 i + j."""
FREQUENCY_WEIGHT: Ints = 14 + DIAGONAL
"""Steps of a coefficient in 14ths of that of frequency 0: twice as wide at the highest.  SSIMULACRA2 gains .4 to .9
points at equal rate over equal steps, and PSNR loses .1 to .2 dB."""


def members(diagonal: int) -> tuple[Ints, Ints]:
    """Rows i and columns j of the coefficients of a diagonal, (coefficients,) each, i ascending."""
    rows = np.arange(max(0, diagonal - SIDE + 1), min(diagonal, SIDE - 1) + 1)
    return rows, diagonal - rows


def steps(step_scale: int, level: int) -> Ints:
    """Quantiser step of each coefficient at a level, (64,), in units of 1 / STEP_UNIT."""
    finest = np.floor(STEP_UNIT * FINEST_STEP / 14 * FREQUENCY_WEIGHT * 2.0 ** (step_scale / STEP_SCALES) + 0.5)
    result: Ints = finest.astype(np.int64) << (RESIDUAL_LEVELS - 1 - level)
    return result


def size_in_blocks(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of blocks of a picture of so many pixels."""
    return -(-height // SIDE), -(-width // SIDE)


def tiles(height: int, width: int) -> Iterator[Area]:
    """Rows and columns of blocks of each tile, in coding order, for a picture of so many blocks."""
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))


def activities(latent_activity: NDArray[np.int16], area: Area) -> NDArray[np.int16]:
    """The activity that stands in the base's latent for each block of an area, (rows, columns)."""
    per = BLOCK // SIDE
    rows, columns = (np.arange(part.start, part.stop) // per for part in area)
    return latent_activity[rows[:, None], columns]
