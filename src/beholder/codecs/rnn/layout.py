"""Coding layout of encoder, decoder, training and file format: the channels of each iteration and their order.

Channel 0 of the latent is the activity of each block, a small integer coded first and never refined.  Another channel
is quantised on up to six levels, each with half the step of the one before: ``q = trunc(y / step)``, so a finer level
splits cells of the coarser one (embedded dead-zone quantisation, as in JPEG 2000: Taubman and Marcellin, 2002).  An
iteration brings some channels to a finer level.

Within an iteration, channels are coded in stages: the entropy model of a stage knows all codes of the stages before
it.  The order comes from comparing schedules on training photographs (``scripts/schedules.py``, docs/codec.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ITERATIONS = 8
RESIDUAL_LEVELS = 4
"""Levels of the residual layer, which goes on where the iterations end: one quality each."""
BEST_QUALITY = ITERATIONS + RESIDUAL_LEVELS
BLOCK = 16
"""Side of the image block that one latent position stands for."""
LEVELS = 6
"""Quantiser levels; level l has the step of level 0 divided by 2^l."""
BLOCK_ACTIVITY = 0
MEAN_COLOURS = (0, 1, 7, 8)
"""Channels that tell a block's activity and its mean luma and chroma: neighbours predict them far from 0."""
LOW_FREQUENCY = (*MEAN_COLOURS, 2, 3)
"""These and luma's slopes down and across, in coding order: what neighbours tell about a block."""
MASKING_POWER = 0.8 / 1.4
"""Each activity code coarsens a block's steps by 2 to this power."""
PYRAMID = 0
"""Number of passes of a stage that is coded as a pyramid (pyramid.py)."""
HUMAN_BELOW = 0.5
"""From this alpha on all that corrects pictures is a machine's; for humans nothing of it is, since MS-SSIM gained
nothing from that (docs/codec.md)."""
STEP_SCALES = 64
"""Step scales to an octave: a file's step scale s multiplies its quantiser steps by 2^(s / 64), 1.1 % each."""
CODE_LIMIT = 32767
"""Largest magnitude of a code; an escape in the bitstream holds 16 bits."""

Ranges = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Stage:
    """Channels that are coded together.

    Attributes:
        iteration: 0-based.
        ranges: (first channel, end, level) of each range, ascending.
        passes: into how many interleaved sub-lattices the positions are split (2: checkerboard, 4: the corners of
            2x2 cells); a pass knows the codes of the passes before it.  PYRAMID: one low-frequency channel, from
            coarse to fine.
    """

    iteration: int
    ranges: Ranges
    passes: int = 2

    @property
    def channels(self) -> np.ndarray:
        """The channels, ascending, (channels,)."""
        return np.concatenate([np.arange(lo, hi) for lo, hi, _ in self.ranges])

    @property
    def pyramid(self) -> bool:
        """Whether the stage codes one low-frequency channel from coarse to fine."""
        return self.passes == PYRAMID


@dataclass(frozen=True)
class Layout:
    """All stages, in coding order.

    Attributes:
        latent: number of latent channels, the activity included.
        stages: ascending by iteration; each iteration has one or more.
    """

    latent: int
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        iterations = [stage.iteration for stage in self.stages]
        if sorted(set(iterations)) != list(range(ITERATIONS)) or any(b < a for a, b in pairwise(iterations)):
            raise ValueError(f"a layout has {ITERATIONS} iterations, in order")
        for number, stage in enumerate(self.stages):
            edges = [edge for lo, hi, _ in stage.ranges for edge in (lo, hi)]
            if edges != sorted(edges) or not edges or edges[0] < 0 or edges[-1] > self.latent:
                raise ValueError(f"the channel ranges of stage {number + 1} do not ascend within the latent")
            if stage.passes not in (PYRAMID, 1, 2, 4) or any(not 0 <= x < LEVELS for _, _, x in stage.ranges):
                raise ValueError(f"stage {number + 1} has an unknown level or number of passes")
            if (self._levels(number + 1)[stage.channels] <= self._levels(number)[stage.channels]).any():
                raise ValueError(f"stage {number + 1} refines nothing")
            if stage.pyramid and not self._is_low_frequency(number):
                raise ValueError(f"stage {number + 1} is not one of low frequencies: it cannot be a pyramid")

    def rows(self) -> np.ndarray:
        """The ranges as rows (stage, iteration, first channel, end, level), for storing: int32 (ranges, 5)."""
        return np.array([(i, s.iteration, *r) for i, s in enumerate(self.stages) for r in s.ranges], np.int32)

    def passes(self) -> np.ndarray:
        """The number of passes of each stage, for storing: int32 (stages,)."""
        return np.array([stage.passes for stage in self.stages], np.int32)

    @classmethod
    def from_rows(cls, latent: int, rows: np.ndarray, passes: np.ndarray) -> Layout:
        """Inverse of :meth:`rows`, (ranges, 5), and :meth:`passes`, (stages,).

        Raises:
            ValueError: they make no layout.
        """
        ranges: list[list[tuple[int, int, int]]] = [[] for _ in range(len(passes))]
        iterations = [0] * len(passes)
        for i, t, lo, hi, level in rows.tolist():
            if not 0 <= i < len(passes):
                raise ValueError(f"stage {i + 1} has no passes")
            ranges[i].append((lo, hi, level))
            iterations[i] = t
        return cls(latent, tuple(map(Stage, iterations, map(tuple, ranges), passes.tolist())))

    def stages_of(self, t: int) -> list[int]:
        """Indices of the stages of iteration ``t``."""
        return [i for i, stage in enumerate(self.stages) if stage.iteration == t]

    def prior_channels(self, stage: int) -> int:
        """Number of channels that have been coded before ``stage``; they are a prefix."""
        return max((hi for earlier in self.stages[:stage] for _, hi, _ in earlier.ranges), default=0)

    def levels(self, t: int) -> np.ndarray:
        """Level of every channel after iteration ``t``, (latent,); -1 where nothing has been coded."""
        return self._levels(len([stage for stage in self.stages if stage.iteration <= t]))

    def refinement(self, stage: int) -> np.ndarray:
        """By how many levels ``stage`` refines each of its channels, (channels,); -1 where it codes a channel first."""
        channels = self.stages[stage].channels
        before, after = self._levels(stage)[channels], self._levels(stage + 1)[channels]
        return np.where(before < 0, -1, after - before)

    def step_in_finest_units(self, stage: int) -> np.ndarray:
        """Every channel's step before ``stage`` in units of the finest level's, (latent,); 0 where nothing is coded."""
        levels = self._levels(stage)
        return np.where(levels < 0, 0, 1 << (LEVELS - 1 - np.maximum(levels, 0))).astype(np.int64)

    def _is_low_frequency(self, number: int) -> bool:
        """Whether a stage codes one of its channels for the first time, the activity before all others."""
        channels = self.stages[number].channels.tolist()
        first = [c for stage in self.stages[:number] if stage.pyramid for c in stage.channels.tolist()]
        new = len(channels) == 1 and channels[0] in LOW_FREQUENCY and self._levels(number)[channels[0]] < 0
        return new and [*first, *channels][0] == BLOCK_ACTIVITY and self._levels(number + 1)[channels[0]] == 0

    def _levels(self, stages: int) -> np.ndarray:
        levels = np.full(self.latent, -1)
        for stage in self.stages[:stages]:
            for lo, hi, level in stage.ranges:
                levels[lo:hi] = level
        return levels


LAYOUT = Layout(
    latent=193,
    stages=(
        *(Stage(0, ((channel, channel + 1, 0),), passes=PYRAMID) for channel in LOW_FREQUENCY),
        Stage(0, ((4, 7, 0), (9, 17, 0)), passes=4),
        Stage(0, ((17, 41, 0), (57, 65, 0))),
        Stage(1, ((1, 17, 1),)),
        Stage(1, ((17, 49, 1), (49, 65, 2))),
        Stage(2, ((1, 49, 2),)),
        Stage(2, ((65, 193, 2),)),
        Stage(3, ((33, 97, 3),)),
        Stage(3, ((97, 193, 3),)),
        Stage(4, ((1, 33, 3),)),
        Stage(5, ((113, 193, 4),)),
        Stage(5, ((65, 113, 4),)),
        Stage(6, ((33, 65, 4),)),
        Stage(7, ((113, 193, 5),)),
    ),
)


def scaled_channels(latent: int) -> np.ndarray:
    """Which channels a file's step scale applies to, (latent,): all but those that pyramids code."""
    return ~np.isin(np.arange(latent), LOW_FREQUENCY)


def lattice(height: int, width: int, passes: int) -> np.ndarray:
    """Which pass codes each position: an int array (height, width) with values 0..passes-1."""
    row, column = np.indices((height, width))
    if passes == 1:
        return np.zeros((height, width), np.int64)
    if passes == 2:
        return (row + column) % 2
    # Opposite corners first: the later two passes then see all four direct neighbours.
    return np.array([[0, 2], [3, 1]])[row % 2, column % 2]
