"""Contexts of the residual's codes: an integer estimate of each code's magnitude from magnitudes that are known.

Known are the codes of the coarser level everywhere in the tile, and at the level itself those of lower diagonals of
the same plane and all codes of the planes before it.  One array holds the best of both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.residual.geometry import DIAGONALS, SIDE, members

FEATURES = 10
"""Numbers that an estimate weighs: see :meth:`Magnitudes.features`."""
CLIP = 31
"""Magnitudes above count as this much."""
BEFORE, BEHIND = 2, 1
"""Coefficients of 0 before the first and behind the last, in rows and columns: what lies outside the block."""
BINS = 40
"""Estimates are told apart by so many bins."""
MAGNITUDES = 3
"""Codes that are not 0 before a level are told apart by 1, 2 and more."""
REFINEMENT_BINS = 8
CONTEXTS = BINS + MAGNITUDES * REFINEMENT_BINS
ACTIVITY = np.round(16 * 2 ** (4 * np.arange(16) / 7)).astype(np.int32)
"""Weight of each activity of the base's latent, as in its own entropy model."""
CONSTANT = 64

Features = list["NDArray[np.int16] | NDArray[np.int32] | int"]

_MEMBERS = [tuple(part + BEFORE for part in members(diagonal)) for diagonal in range(DIAGONALS)]


class Magnitudes:
    """Magnitudes of one tile's codes as far as they are known, in units of the present level's step.

    Args:
        planes: 1 or 3.
        activities: (rows, columns) activity of each block.
    """

    def __init__(self, planes: int, activities: NDArray[np.int16]) -> None:
        height, width = activities.shape
        side = BEFORE + SIDE + BEHIND
        self._known = np.zeros((planes, side, side, height + 2, width + 2), np.int16)
        self._activity = ACTIVITY[np.clip(activities, 0, 15)]

    def refine(self, coarser: NDArray[np.int16]) -> None:
        """Go on to the next level: (planes, 8, 8, rows, columns) magnitudes at the level before."""
        inner = self._known[:, BEFORE:-BEHIND, BEFORE:-BEHIND, 1:-1, 1:-1]
        np.minimum(2 * np.minimum(coarser, CLIP), CLIP, out=inner)

    def learn(self, plane: int, diagonal: int, magnitudes: NDArray[np.int16]) -> None:
        """Take in the magnitudes of a diagonal at the present level, (coefficients, rows, columns)."""
        rows, columns = _MEMBERS[diagonal]
        self._known[plane, rows, columns, 1:-1, 1:-1] = np.minimum(magnitudes, CLIP)

    def features(self, plane: int, diagonal: int) -> Features:
        """Numbers that tell about the codes of a diagonal, each (coefficients, rows, columns) or for all of them."""
        known, (i, j) = self._known[plane], _MEMBERS[diagonal]
        lower = known[i - 1, j] + known[i, j - 1]
        own = known[i, j]
        earlier = [self._known[other, i, j, 1:-1, 1:-1] for other in range(plane)]
        return [
            lower[:, 1:-1, 1:-1],
            known[i - 1, j - 1, 1:-1, 1:-1] + known[i - 2, j, 1:-1, 1:-1] + known[i, j - 2, 1:-1, 1:-1],
            known[i + 1, j, 1:-1, 1:-1] + known[i, j + 1, 1:-1, 1:-1],
            _beside(own),
            own[:, :-2, :-2] + own[:, :-2, 2:] + own[:, 2:, :-2] + own[:, 2:, 2:],
            _beside(lower),
            earlier[0] if plane else 0,
            earlier[1] if plane > 1 else 0,
            self._activity,
            CONSTANT,
        ]

    def estimate(self, plane: int, diagonal: int, weights: NDArray[np.int32]) -> NDArray[np.int32]:
        """The weighted sum of the features, (coefficients, rows, columns)."""
        total = np.zeros((len(_MEMBERS[diagonal][0]), *self._activity.shape), np.int32)
        for feature, weight in zip(self.features(plane, diagonal), weights, strict=True):
            if weight and not (isinstance(feature, int) and feature == 0):
                total += np.multiply(feature, weight, dtype=np.int32)
        return total


def _beside(values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Sum of the values in the four blocks above, below, left and right."""
    return values[:, :-2, 1:-1] + values[:, 2:, 1:-1] + values[:, 1:-1, :-2] + values[:, 1:-1, 2:]
