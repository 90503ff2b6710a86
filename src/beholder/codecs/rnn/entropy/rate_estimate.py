"""The rate that latent optimisation works with: bits of codes while the predictions for them stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.pyramid import PyramidNetwork
from beholder.codecs.rnn.entropy.rounding import Ints
from beholder.codecs.rnn.entropy.stage_network import StageNetwork
from beholder.codecs.rnn.entropy.tables import count_bits, find_entries
from beholder.codecs.rnn.layout import Layout

Floats = NDArray[np.float32]
Network = PyramidNetwork | StageNetwork


class RateEstimate:
    """Rate estimate with the entropy model's predictions held fixed at certain latents.

    They hold nearly, and far longer than a code stays the same, while latent optimisation moves codes: looking a
    gradient up takes a seventh of the time that the predictions take.
    """

    def __init__(
        self, layout: Layout, nets: Mapping[int, Network], tables: list[FixedTables], side: float = 0.0
    ) -> None:
        self._layout, self._nets, self._tables, self._side = layout, nets, tables, side

    def bits(self, latents: Sequence[Ints | Floats]) -> float:
        """Bits of the latents (C, H, W) after each iteration, all together."""
        steps = zip(walk(self._layout, self._nets, latents), self._tables, strict=True)
        return self._side + float(sum(tables.cost(codes).sum() for (codes, _), tables in steps))

    def counts(self, latents: Sequence[Ints | Floats]) -> Ints:
        """Number of times that the latents (C, H, W) use each entry of all tables, (entries,)."""
        result = np.zeros(len(self._tables[0].bits), np.int64)
        for (codes, _), tables in zip(walk(self._layout, self._nets, latents), self._tables, strict=True):
            entries = find_entries(codes + tables.symbol, tables.first, tables.last)
            result += np.bincount(entries.ravel(), minlength=len(result))
        return result

    def rate_gradient(self, latents: Sequence[Ints | Floats], direction: Ints | Floats) -> list[Floats]:
        """Finite differences of the bits by each code while all others stay.

        Args:
            latents: quantised latent after each iteration.
            direction: 1 or -1, (latent, H, W): which way each would move.

        Returns:
            For each iteration (latent, H, W): bits for each unit of its codes, 0 where nothing is coded or the code
            could not move.
        """
        result = [np.zeros(latent.shape, np.float32) for latent in latents]
        for (codes, step), tables in zip(walk(self._layout, self._nets, latents), self._tables, strict=True):
            channels, factor = step.net.channels, step.net.factor
            old = step.state[channels]
            way = direction[channels].astype(np.int64) * np.where(old < 0, -1, 1)
            moved = codes + way
            # A refinement stays within the cell that it splits.
            split = (moved >= 0) & (moved < factor)
            free = np.where(old != 0, split, (factor == 1) | (np.abs(moved) < factor))
            gradient = (tables.cost(moved) - tables.cost(codes)) * direction[channels]
            result[step.iteration][channels] = np.where(free, gradient, 0)
        return result


@dataclass(frozen=True)
class FixedTables:
    """The table that each code of a stage is coded with, (k, H, W) each.

    Attributes:
        bits: of all entries of all tables.
        first: where the code's table begins there.
        symbol: what makes a code the number of its entry.
        last: the last entry that is no escape.
    """

    bits: Floats
    first: NDArray[np.int32]
    symbol: NDArray[np.int32]
    last: NDArray[np.int32]

    def cost(self, codes: Ints) -> Floats:
        """Bits of each code, (k, H, W)."""
        return count_bits(self.bits, codes + self.symbol, self.first, self.last)


@dataclass(frozen=True)
class _Step:
    """One stage of an iteration, and the latent as it is known before it."""

    iteration: int
    net: Network
    state: Ints


def walk(layout: Layout, nets: Mapping[int, Network], latents: Sequence[Ints | Floats]) -> Iterator[tuple[Ints, _Step]]:
    """The codes of each stage of the first iterations, in coding order.

    Args:
        latents: quantised latent (C, H, W) after each.
    """
    state = np.zeros(latents[0].shape, np.int64)
    for t, latent in enumerate(latents):
        whole = latent.astype(np.int64)
        for stage in layout.stages_of(t):
            net = nets[stage]
            codes = net.codes(whole[net.channels], state[net.channels])
            yield codes, _Step(t, net, state)
            net.apply(codes, state)
