"""Tables of integer probabilities, which are part of the model.

There are four families of 64 scales x 16 means, all of them Laplace distributions as the quantiser cuts them up:

    EVEN        cells of one step around every integer, the mean in sixteenths modulo 1: the first codes of
                MEAN_COLOURS, and how a cell that is not 0 is split.  Symbols outside a table are escapes and follow
                as 16 raw bits.
    DEAD_ZONE   the cell of 0 is twice as wide, the mean in eighths from -1 to 7/8: a channel's first code.  Escapes
                as well.
    HALVED, QUARTERED   the cell of 0 split into 3 or 7: refinement by one level or two of what was 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import MEAN_COLOURS, Layout

Ints = NDArray[np.int64]

MEANS = 16
"""Means that each family tells apart."""
MEAN_SCALE = 16
MEAN_LIMIT = 127
DEAD_ZONE_MEAN_SCALE = 8
EVEN, DEAD_ZONE, HALVED, QUARTERED = range(4)
LEVELS_SPLIT = {HALVED: 1, QUARTERED: 2}
SCALES = 64
LOG_SCALE_RANGE = (-3.2, 4.2)
"""Natural logarithm of the Laplace scale at the first and last index."""
PROBABILITY_BITS = 16
MOST_SYMBOLS = 600
SHIFTS = (-6, -4, -2, 0, 2, 4, 6)
"""Shifts of the scale index of a stage's channel, which a picture may choose."""
SHIFT_PROBABILITIES = (2 / 64, 3 / 64, 8 / 64, 29 / 64, 12 / 64, 7 / 64, 3 / 64)


def family(layout: Layout, stage: int) -> Ints:
    """The family of each of the stage's channels where its value has been 0 so far, (channels,)."""
    channels, refinement = layout.stages[stage].channels, layout.refinement(stage)
    fresh = np.where(np.isin(channels, MEAN_COLOURS), EVEN, DEAD_ZONE)
    return np.where(refinement < 0, fresh, np.where(refinement == 1, HALVED, QUARTERED)).astype(np.int64)


def laplace_tables() -> tuple[NDArray[np.uint16], Ints]:
    """Integer probability tables of every family, scale and mean, concatenated, and their half-widths, (tables,).

    A table of half-width L has the symbols -L..L+1 around the integer part of the mean (EVEN) or -L..L (the others).
    Then, but for HALVED and QUARTERED, come two for escapes below and above.  Entries sum to 2^16 and none is 0.
    """
    tables, half_widths = [], []
    low, high = LOG_SCALE_RANGE
    for kind in (EVEN, DEAD_ZONE, HALVED, QUARTERED):
        for scale in np.exp(np.linspace(low, high, SCALES)):
            for part in range(MEANS):
                if kind in LEVELS_SPLIT:
                    half_width = (1 << LEVELS_SPLIT[kind]) - 1
                else:
                    half_width = int(min(MOST_SYMBOLS // 2, np.ceil(6 * scale) + 1))
                tables.append(integers(_mass(kind, float(scale), part, half_width)))
                half_widths.append(half_width)
    return np.concatenate(tables), np.array(half_widths, np.int64)


def shifted_tables() -> Ints:
    """Number of the table that each table becomes by each shift, (2, shifts, tables).

    In the second of the first axis, for stages that refine, tables of EVEN stay: they code how a value that is not 0 is
    split."""
    kind, scale, part = np.unravel_index(np.arange(4 * SCALES * MEANS), (4, SCALES, MEANS))
    moved = (kind * SCALES + np.clip(scale + np.array(SHIFTS)[:, None], 0, SCALES - 1)) * MEANS + part
    return np.stack([moved, np.where(kind == EVEN, np.arange(len(kind)), moved)])


def table_sizes(half_widths: Ints) -> Ints:
    """Number of entries of each table, (tables,), from their half-widths."""
    kind = np.arange(len(half_widths)) // (SCALES * MEANS)
    return 2 * half_widths + np.where(kind == EVEN, 4, np.where(kind == DEAD_ZONE, 3, 1))


def count_bits(bits: NDArray[np.float32], symbols: NDArray[Any], first: Any, last: Any) -> NDArray[np.float32]:
    """Bits of symbols, any shape, by the tables that begin at ``first`` among all ``bits`` and whose last one but for
    escapes is ``last``."""
    entries = find_entries(symbols, first, last)
    result: NDArray[np.float32] = np.take(bits, entries, mode="clip")
    result += 16 * (entries > first + last)  # escapes are followed by the value
    return result


def find_entries(symbols: NDArray[Any], first: Any, last: Any) -> NDArray[Any]:
    """Where symbols of any shape, or what they escape by, stand among the entries of all tables."""
    below, above = last + 1, last + 2
    entries: NDArray[Any] = first + np.where(symbols < 0, below, np.where(symbols > last, above, symbols))
    return entries


def _mass(kind: int, scale: float, part: int, half_width: int) -> NDArray[np.float64]:
    if kind == EVEN:
        edges = np.arange(-half_width, half_width + 3) - 0.5 - part / MEAN_SCALE
    else:
        mean = (part - MEANS // 2) / DEAD_ZONE_MEAN_SCALE
        edges = np.concatenate([np.arange(-half_width - 1.0, 0), np.arange(1, half_width + 2)]) - mean
    tail = 0.5 * np.exp(-np.abs(edges) / scale)
    cdf = np.where(edges < 0, tail, 1 - tail)
    mass = np.diff(cdf)
    if kind in LEVELS_SPLIT:
        # Far in one tail all differences may round to 0.
        return (mass + 1e-12) / (mass + 1e-12).sum()
    return np.concatenate([mass, [cdf[0], 1 - cdf[-1]]])


def integers(mass: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Positive integers proportional to ``mass``, which sums to 1, that sum to 2^16: (symbols,) each."""
    total = 1 << PROBABILITY_BITS
    counts = 1 + np.floor(mass * (total - len(mass))).astype(np.int64)
    counts[np.argmax(counts)] += total - counts.sum()
    return counts.astype(np.uint16)
