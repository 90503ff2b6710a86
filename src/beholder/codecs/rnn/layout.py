"""What encoder, decoder, training and file format must agree on: which channels an iteration codes.

A latent channel is coded up to three times, each time with a step about three times finer.  Three is the ratio at
which a uniform scalar quantiser nests exactly, so refining costs no rate (a ratio near one, eight times over,
would); and since an iteration refines only *some* channels, eight operating points fit between 0.125 and 1 bit a
pixel (the order of embedded coding: Taubman, EBCOT, 2000).

The first half of the order follows a greedy search (of a 16x16 DCT's bands, code or refine the one that lowers
log(1 - MS-SSIM) most for its bits: ``scripts/band_order.py``, docs/results/codec.md); the rest was set by hand.  After
iteration 4 all channels have the middle step, after iteration 8 the fine one: two points where nothing is lost to being
progressive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ITERATIONS = 8
BLOCK = 16
"""Side of the image block that one latent position stands for."""
LEVEL_GAIN = (1.0, 3.0, 9.0)
"""1 / step at which training starts, by level."""
LEVEL_WORTH = (9, 3, 1)
"""Integer worth of a code in the entropy model's running total, by level."""
CODE_LIMIT = 32767
"""Largest magnitude of a code; an escape in the bitstream holds 16 bits."""


@dataclass(frozen=True)
class Layout:
    """Channel ranges by iteration.

    Attributes:
        latent: number of latent channels.
        coded: per iteration, (first channel, end, level) of each range it codes, ascending.
        passes: per iteration, into how many interleaved sub-lattices its positions are split for entropy
            coding (2: checkerboard, 4: the four corners of 2x2 cells).
    """

    latent: int
    coded: tuple[tuple[tuple[int, int, int], ...], ...]
    passes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.coded) != ITERATIONS or len(self.passes) != ITERATIONS:
            raise ValueError(f"a layout has {ITERATIONS} iterations")
        for t, ranges in enumerate(self.coded):
            edges = [edge for lo, hi, _ in ranges for edge in (lo, hi)]
            if edges != sorted(edges) or not edges or edges[0] < 0 or edges[-1] > self.latent:
                raise ValueError(f"the channel ranges of iteration {t + 1} do not ascend within the latent")
            if self.passes[t] not in (1, 2, 4) or any(not 0 <= x < len(LEVEL_WORTH) for _, _, x in ranges):
                raise ValueError(f"iteration {t + 1} has an unknown level or number of passes")

    def rows(self) -> np.ndarray:
        """The ranges as rows (iteration, first channel, end, level), for storing."""
        return np.array([(t, *r) for t, ranges in enumerate(self.coded) for r in ranges], np.int32)

    @classmethod
    def from_rows(cls, latent: int, rows: np.ndarray, passes: np.ndarray) -> Layout:
        """Inverse of :meth:`rows`; ValueError if they make no layout."""
        by_iteration: list[list[tuple[int, int, int]]] = [[] for _ in range(ITERATIONS)]
        for t, lo, hi, level in rows.tolist():
            by_iteration[t].append((lo, hi, level))
        return cls(latent, tuple(map(tuple, by_iteration)), tuple(passes.tolist()))

    def active(self, t: int) -> np.ndarray:
        """Channels that iteration ``t`` (0-based) codes, in ascending order."""
        return np.concatenate([np.arange(lo, hi) for lo, hi, _ in self.coded[t]])

    def seen(self, t: int) -> int:
        """How many channels have been coded by an iteration before ``t``; they are a prefix."""
        return max((hi for ranges in self.coded[:t] for _, hi, _ in ranges), default=0)

    def weights(self, t: int) -> np.ndarray:
        """Integer worth of one code of iteration ``t``, by channel; 0 where it codes nothing."""
        worth = np.zeros(self.latent, np.int64)
        for lo, hi, level in self.coded[t]:
            worth[lo:hi] = LEVEL_WORTH[level]
        return worth

    def initial_gain(self, t: int) -> np.ndarray:
        """1 / step with which training starts, by channel; 0 where iteration ``t`` codes nothing."""
        gain = np.zeros(self.latent, np.float32)
        for lo, hi, level in self.coded[t]:
            gain[lo:hi] = LEVEL_GAIN[level]
        return gain


SWIFT = Layout(
    latent=192,
    coded=(
        ((0, 16, 0), (24, 32, 0)),
        ((0, 8, 1), (16, 24, 0), (32, 80, 0)),
        ((8, 16, 1), (24, 40, 1), (56, 64, 1)),
        ((16, 24, 1), (40, 56, 1), (64, 192, 1)),
        ((40, 64, 2),),
        ((24, 40, 2), (64, 80, 2)),
        ((0, 16, 2), (96, 112, 2)),
        ((16, 24, 2), (80, 96, 2), (112, 192, 2)),
    ),
    passes=(4, 2, 2, 2, 2, 2, 2, 2),
)


def lattice(height: int, width: int, passes: int) -> np.ndarray:
    """Which pass codes each position: an int array (height, width) with values 0..passes-1."""
    row, column = np.indices((height, width))
    if passes == 1:
        return np.zeros((height, width), np.int64)
    if passes == 2:
        return (row + column) % 2
    # Opposite corners first: the later two passes then see all four direct neighbours.
    return np.array([[0, 2], [3, 1]])[row % 2, column % 2]
