"""Integer weights and probabilities of the residual's codes, which belong to the format and not to a model.

``scripts/residual_tables.py`` fits them on photographs and writes ``tables.npz``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import RESIDUAL_LEVELS
from beholder.codecs.rnn.residual.contexts import BINS, FEATURES, MAGNITUDES, REFINEMENT_BINS
from beholder.codecs.rnn.residual.geometry import DIAGONALS

FILE = Path(__file__).parent / "tables.npz"
PLANES = 3
FREQUENCY_CLASS = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3])
"""Diagonals of one class share probabilities."""
FREQUENCY_CLASSES = 4
ESCAPE = 16
"""Symbol of the first level for magnitudes of so much and more; the rest follows in RAW_BITS bits."""
RAW_BITS = 11
PROBABILITY_BITS = 16
ESTIMATE_UNIT = 4096
"""An estimate of this is a magnitude of one step."""
LOOKED_UP = 4096
"""Entries of the table that gives the bin of an estimate divided by ``ESTIMATE_STEP``; larger ones have the last."""
ESTIMATE_STEP = 16

SHAPES = {
    "weights": (RESIDUAL_LEVELS, PLANES, DIAGONALS, FEATURES),
    "edges": (BINS - 1,),
    "first": (PLANES, FREQUENCY_CLASSES, BINS, ESCAPE + 1),
    "zero": (RESIDUAL_LEVELS - 1, PLANES, FREQUENCY_CLASSES, BINS),
    "refined": (RESIDUAL_LEVELS - 1, PLANES, MAGNITUDES, REFINEMENT_BINS),
    "centroid": (RESIDUAL_LEVELS, PLANES, 2),
}
"""The arrays of ``tables.npz``."""


class Tables:
    """Weights, bins and probabilities.

    Args:
        arrays: those that SHAPES names, such as ``weights`` (levels, planes, diagonals, features).  ``first`` are
            frequencies that sum to 2^16.  ``zero`` and ``refined`` are those of symbol 1.  ``centroid`` counts in 64ths
            of a step, for magnitudes of 1 and of more.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.weights = arrays["weights"].astype(np.int32)
        self.centroid = arrays["centroid"].astype(np.int64)
        edges = arrays["edges"].astype(np.int64)
        self._bins = np.searchsorted(edges, np.arange(LOOKED_UP), side="right").astype(np.uint8)
        self._arrays = {name: arrays[name].astype(np.int64) for name in ("first", "zero", "refined")}
        likeliest = [self._arrays["first"].max()]
        for level in range(RESIDUAL_LEVELS - 1):
            ones = np.concatenate([self._arrays[name][level].ravel() for name in ("zero", "refined")])
            likeliest.append(max(ones.max(), (1 << PROBABILITY_BITS) - ones.min()))
        # The coder's own probabilities have 24 bits, rounded up by less than two.
        self.least_bits = -np.log2(np.array(likeliest) / (1 << PROBABILITY_BITS) + 2 / (1 << 24))
        """Bits that a code takes at least, by level."""

    def contexts(self, estimate: NDArray[np.int32], coarser: NDArray[np.int16] | None) -> NDArray[np.uint8]:
        """Context of each code from its estimate and its magnitude at the level before, None at the first.

        All are (coefficients, rows, columns).
        """
        bins = self._bins[np.minimum(estimate // ESTIMATE_STEP, LOOKED_UP - 1)]
        if coarser is None:
            return bins
        magnitude = np.minimum(coarser, MAGNITUDES).astype(np.uint8)
        refined = BINS - REFINEMENT_BINS + REFINEMENT_BINS * magnitude + bins // (BINS // REFINEMENT_BINS)
        result: NDArray[np.uint8] = np.where(magnitude > 0, refined, bins).astype(np.uint8)
        return result

    def frequencies(self, level: int, plane: int, diagonal: int, context: int) -> NDArray[np.int64]:
        """Frequencies of the symbols of a context, (symbols,); they sum to 2^16."""
        kind = FREQUENCY_CLASS[diagonal]
        if level == 0:
            first: NDArray[np.int64] = self._arrays["first"][plane, kind, context]
            return first
        if context < BINS:
            one = self._arrays["zero"][level - 1, plane, kind, context]
        else:
            one = self._arrays["refined"][level - 1, plane].ravel()[context - BINS]
        return np.array([(1 << PROBABILITY_BITS) - one, one])

    def model(self, level: int, plane: int, diagonal: int, context: int) -> Any:
        """As :meth:`frequencies`, as a model of the range coder."""
        key = (level, plane, int(FREQUENCY_CLASS[diagonal]) if context < BINS else 0, context)
        if key not in self._models:
            import constriction

            probabilities = self.frequencies(level, plane, diagonal, context) / (1 << PROBABILITY_BITS)
            self._models[key] = constriction.stream.model.Categorical(probabilities, perfect=False)
        return self._models[key]

    @functools.cached_property
    def _models(self) -> dict[tuple[int, int, int, int], Any]:
        return {}


@functools.cache
def load() -> Tables:
    """The tables of the format."""
    with np.load(FILE, allow_pickle=False) as archive:
        return Tables({name: archive[name] for name in SHAPES})
