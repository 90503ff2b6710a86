"""Range coder of the residual's codes: all codes of a diagonal of a tile at once.

Every level is a segment with a range coder of its own.  A tile passes through all levels before the next tile begins,
so only one tile's codes are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.coder import BEYOND
from beholder.codecs.rnn.layout import ITERATIONS, RESIDUAL_LEVELS
from beholder.codecs.rnn.residual import tables as residual_tables
from beholder.codecs.rnn.residual.contexts import CONTEXTS, Magnitudes
from beholder.codecs.rnn.residual.geometry import COEFFICIENTS, DIAGONALS, SIDE, members
from beholder.codecs.rnn.residual.tables import ESCAPE, RAW_BITS, Tables
from beholder.errors import BadFileError

Codes = NDArray[np.int16]
"""(planes, 64, rows, columns): signed codes of a tile's coefficients."""
LARGEST = ((ESCAPE + (1 << RAW_BITS)) << (RESIDUAL_LEVELS - 1)) - 1
"""Largest magnitude of a code at the last level."""


class Encoder:
    """Writes the segments of some levels, tile by tile."""

    def __init__(self, levels: int) -> None:
        import constriction

        self._coders = [constriction.stream.queue.RangeEncoder() for _ in range(levels)]

    def add(self, codes: Codes, activities: NDArray[np.int16]) -> None:
        """Code the next tile.

        Args:
            codes: at the finest of the levels.
            activities: (rows, columns) activity of each block.
        """
        finest = np.abs(codes).reshape(len(codes), SIDE, SIDE, *activities.shape)
        negative = (codes < 0).reshape(finest.shape)
        tables, levels = residual_tables.load(), len(self._coders)
        for level, coder in enumerate(self._coders):
            whole = finest >> (levels - 1 - level)
            coarser = whole >> 1 if level else None
            for plane, diagonal, known, contexts in _walk(tables, level, coarser, activities, len(codes)):
                group = (plane, *members(diagonal))
                magnitudes = whole[group]
                known.learn(plane, diagonal, magnitudes)
                old = coarser[group] if coarser is not None else np.zeros_like(magnitudes)
                symbols = magnitudes - 2 * old if level else np.minimum(magnitudes, ESCAPE)
                order, runs = _order(contexts)
                ordered = symbols.ravel()[order].astype(np.int32)
                for context, start, end in runs:
                    coder.encode(ordered[start:end], tables.model(level, plane, diagonal, context))
                if not level and (large := magnitudes[symbols == ESCAPE]).size:
                    coder.encode(large.astype(np.int32) - ESCAPE, _raw(RAW_BITS))
                if (signs := negative[group][(old == 0) & (magnitudes > 0)]).size:
                    coder.encode(signs.astype(np.int32), _raw(1))

    def segments(self) -> list[bytes]:
        """One segment a level, in whole words.

        Zeros at the end are kept: long runs of the likeliest symbol write many, and a decoder counts on a segment's
        length.
        """
        return [coder.get_compressed().astype("<u4").tobytes() for coder in self._coders]


class Decoder:
    """Reads the segments of the first levels, tile by tile."""

    def __init__(self, segments: Sequence[bytes]) -> None:
        import constriction

        padded = [segment + b"\0" * (-len(segment) % 4 + BEYOND) for segment in segments]
        words = [np.frombuffer(data, "<u4").astype(np.uint32) for data in padded]
        self._coders = [constriction.stream.queue.RangeDecoder(data) for data in words]

    def next(self, planes: int, activities: NDArray[np.int16]) -> Codes:
        """The codes of the next tile at the finest of the levels, (planes, 64, rows, columns).

        Raises:
            BadFileError: the segments are damaged, or end before the codes do.
        """
        shape = (planes, SIDE, SIDE, *activities.shape)
        magnitudes, negative = np.zeros(shape, np.int16), np.zeros(shape, bool)
        for level, coder in enumerate(self._coders):
            try:
                self._level(coder, level, magnitudes, negative, activities)
            except (AssertionError, ValueError) as error:
                raise BadFileError(
                    f"Segment {ITERATIONS + level + 1} of this .bhd file is damaged ({error}): get the file anew."
                ) from None
        signed = np.where(negative, -magnitudes, magnitudes)
        return signed.reshape(planes, COEFFICIENTS, *activities.shape)

    @staticmethod
    def _level(
        coder: Any, level: int, magnitudes: Codes, negative: NDArray[np.bool_], activities: NDArray[np.int16]
    ) -> None:
        """Bring magnitudes and signs (planes, 8, 8, rows, columns) from the level before to this one."""
        tables = residual_tables.load()
        coarser = magnitudes.copy() if level else None
        for plane, diagonal, known, contexts in _walk(tables, level, coarser, activities, len(magnitudes)):
            group = (plane, *members(diagonal))
            order, runs = _order(contexts)
            ordered, mixed = np.empty((2, contexts.size), np.int16)
            for context, start, end in runs:
                model = tables.model(level, plane, diagonal, context)
                ordered[start:end] = coder.decode(model, end - start)
            mixed[order] = ordered
            found = mixed.reshape(contexts.shape)
            if coarser is None:
                large = found == ESCAPE
                if count := int(large.sum()):
                    found[large] += coder.decode(_raw(RAW_BITS), count).astype(np.int16)
                fresh = found > 0
            else:
                old = coarser[group]
                fresh = (old == 0) & (found > 0)
                found += 2 * old
            if count := int(fresh.sum()):
                signs = negative[group]
                signs[fresh] = coder.decode(_raw(1), count)
                negative[group] = signs
            magnitudes[group] = found
            known.learn(plane, diagonal, found)
            # A short file that claims a large picture must not keep us busy.
            if coder.maybe_exhausted():
                raise _too_short(level)


def check_length(segments: Sequence[bytes], codes: int) -> None:
    """Raise BadFileError if a segment is too short for so many codes, whatever they are; nothing is decoded."""
    for level, (segment, least) in enumerate(zip(segments, residual_tables.load().least_bits, strict=False)):
        if codes * least > 8 * (len(segment) + BEYOND):
            raise _too_short(level)


def _walk(
    tables: Tables, level: int, coarser: Codes | None, activities: NDArray[np.int16], planes: int
) -> Iterator[tuple[int, int, Magnitudes, NDArray[np.uint8]]]:
    """Plane, diagonal, known magnitudes and contexts of each group of codes; whoever asks must make the group known."""
    known = Magnitudes(planes, activities)
    if coarser is not None:
        known.refine(coarser)
    for plane in range(planes):
        for diagonal in range(DIAGONALS):
            estimate = known.estimate(plane, diagonal, tables.weights[level, plane, diagonal])
            before = None if coarser is None else coarser[(plane, *members(diagonal))]
            yield plane, diagonal, known, tables.contexts(estimate, before)


def _order(contexts: NDArray[np.uint8]) -> tuple[NDArray[np.intp], list[tuple[int, int, int]]]:
    """The order in which codes are coded, by context; and context, start and end of each run of one context."""
    flat = contexts.ravel()
    counts = np.bincount(flat, minlength=CONTEXTS)
    ends = np.cumsum(counts)
    used = np.flatnonzero(counts)
    runs = zip(used.tolist(), (ends - counts)[used].tolist(), ends[used].tolist(), strict=True)
    return np.argsort(flat, kind="stable"), list(runs)


def _raw(bits: int) -> Any:
    import constriction

    return constriction.stream.model.Uniform(1 << bits)


def _too_short(level: int) -> BadFileError:
    return BadFileError(
        f"Segment {ITERATIONS + level + 1} of this .bhd file is too short for a picture of its size: "
        "the file is damaged, get it anew."
    )
