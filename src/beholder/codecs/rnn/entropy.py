"""The entropy model in integers, and the range coder behind it: the same bits on every machine.

A learned entropy model that computes in floating point fails when another processor rounds otherwise.  This one
reads only codes (integers), its weights are integers, and every sum stays below 2^24 in magnitude (checked when
weights are loaded), so float32 matrix products are exact in whatever order they are summed.  Per stage a network
(:mod:`.stage_network`, :mod:`.pyramid`) predicts a mean and a scale for every code; they choose a table of integer
probabilities (:mod:`.tables`), and `constriction`'s range coder does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import CODE_LIMIT, Layout
from beholder.codecs.rnn.pyramid import PyramidNetwork
from beholder.codecs.rnn.stage_network import StageNetwork
from beholder.codecs.rnn.tables import EVEN, MEANS, PROBABILITY_BITS, SCALES, table_sizes
from beholder.errors import BadFileError

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Network = PyramidNetwork | StageNetwork


class EntropyModel:
    """Integer entropy model of all iterations.

    Args:
        arrays: as written by ``beholder export``.
        layout: which iteration codes which channels, in which stages.

    Raises:
        BadFileError: weights so large that sums could be inexact.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout) -> None:
        import constriction

        self.layout = layout
        self._nets: list[Network] = [
            PyramidNetwork(arrays, layout, i) if stage.pyramid else StageNetwork(arrays, layout, i)
            for i, stage in enumerate(layout.stages)
        ]
        self._reach = arrays["reach"].astype(np.int64)
        sizes = table_sizes(self._reach)
        kind = np.arange(len(sizes)) // (SCALES * MEANS)
        # The last symbol that is no escape: below - 1, and below + 1 is above.
        self._last = 2 * self._reach + (kind == EVEN)
        self._first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._bits = (PROBABILITY_BITS - np.log2(arrays["tables"])).astype(np.float32)
        parts = np.split(arrays["tables"].astype(np.float64), np.cumsum(sizes)[:-1])
        self._models = [
            constriction.stream.model.Categorical(part / (1 << PROBABILITY_BITS), perfect=False) for part in parts
        ]

    def encode(self, latent: Ints, now: Ints, t: int) -> bytes:
        """Iteration ``t``'s segment.

        Args:
            latent: (latent, h, w) quantised latent after iteration ``t``.
            now: (latent, h, w) the same before it; what is coded is brought up to date.
        """
        import constriction

        encoder = constriction.stream.queue.RangeEncoder()
        raw = constriction.stream.model.Uniform(1 << 16)
        for stage in self.layout.stages_of(t):
            net = self._nets[stage]
            codes = np.clip(net.codes(latent, now), -CODE_LIMIT, CODE_LIMIT)
            for where, tables, whole in net.passes(codes, now):
                values = codes[:, where[0], where[1]].ravel()
                last = self._last[tables]
                symbols = values - whole + self._reach[tables]
                above, below = symbols > last, symbols < 0
                symbols = np.where(below, last + 1, np.where(above, last + 2, symbols)).astype(np.int32)
                order = _order(tables)
                symbols = symbols[order]
                for table, start, end in _runs(tables[order]):
                    encoder.encode(symbols[start:end], self._models[table])
                escaped = values[above | below]
                if len(escaped):
                    encoder.encode((escaped + CODE_LIMIT + 1).astype(np.int32), raw)
            net.take(codes, now)
        data: bytes = encoder.get_compressed().astype("<u4").tobytes()
        return data.rstrip(b"\0")

    def decode(self, segment: bytes, now: Ints, t: int) -> None:
        """Bring ``now`` from before iteration ``t`` to after it.

        Raises:
            BadFileError: the bytes are no segment (most damage decodes to something, though).
        """
        import constriction

        padded = segment + b"\0" * (-len(segment) % 4 + 8)
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, "<u4").astype(np.uint32))
        raw = constriction.stream.model.Uniform(1 << 16)
        for stage in self.layout.stages_of(t):
            net = self._nets[stage]
            codes = np.zeros((len(net.channels), *now.shape[1:]), np.int64)
            for where, tables, whole in net.passes(codes, now):
                order = _order(tables)
                symbols, ordered = np.empty((2, len(tables)), np.int64)
                try:
                    for table, start, end in _runs(tables[order]):
                        ordered[start:end] = decoder.decode(self._models[table], end - start)
                    symbols[order] = ordered
                    values = symbols - self._reach[tables] + whole
                    escaped = symbols > self._last[tables]
                    if count := int(escaped.sum()):
                        values[escaped] = decoder.decode(raw, count).astype(np.int64) - CODE_LIMIT - 1
                except (AssertionError, ValueError) as error:
                    raise BadFileError(
                        f"The codes of iteration {t + 1} are damaged ({error}): get the file anew."
                    ) from None
                # `passes` reads `codes` again for the next pass.
                codes[:, where[0], where[1]] = values.reshape(len(codes), -1)
            net.take(codes, now)

    def bits(self, latents: Sequence[Ints | Floats]) -> float:
        """What the first iterations cost, given the quantised latent (latent, h, w) after each."""
        return self.prices(latents).bits(latents)

    def prices(self, latents: Sequence[Ints | Floats]) -> Prices:
        """What each code of the first iterations would cost, all that predicts it being as in ``latents``."""
        tables = []
        for codes, step in _walk(self.layout, self._nets, latents):
            first, symbol, last = np.empty((3, *codes.shape), np.int32)
            for where, chosen, whole in step.net.passes(codes, step.now):
                at = (slice(None), *where)
                first[at] = self._first[chosen].reshape(len(codes), -1)
                symbol[at] = (self._reach[chosen] - whole).reshape(len(codes), -1)
                last[at] = self._last[chosen].reshape(len(codes), -1)
            tables.append(_Tables(self._bits, first, symbol, last))
        return Prices(self.layout, self._nets, tables)


class Prices:
    """What codes cost as long as the predictions hold that the entropy model made for certain latents.

    They hold nearly, and far longer than a code stays the same, while a search moves codes: to look slopes up takes a
    seventh of the time that the predictions take.
    """

    def __init__(self, layout: Layout, nets: list[Network], tables: list[_Tables]) -> None:
        self._layout, self._nets, self._tables = layout, nets, tables

    def bits(self, latents: Sequence[Ints | Floats]) -> float:
        """What the latents (latent, h, w) after each iteration cost."""
        steps = zip(_walk(self._layout, self._nets, latents), self._tables, strict=True)
        return float(sum(tables.cost(codes).sum() for (codes, _), tables in steps))

    def slopes(self, latents: Sequence[Ints | Floats], direction: Ints | Floats) -> list[Floats]:
        """What it would cost to move each code by one while all others stay.

        Args:
            latents: quantised latent after each iteration.
            direction: 1 or -1, (latent, h, w): which way each would move.

        Returns:
            For each iteration (latent, h, w): bits for each unit of its codes, 0 where nothing is coded or the code
            could not move.
        """
        result = [np.zeros(latent.shape, np.float32) for latent in latents]
        for (codes, step), tables in zip(_walk(self._layout, self._nets, latents), self._tables, strict=True):
            channels, factor = step.net.channels, step.net.factor
            old = step.now[channels]
            way = direction[channels].astype(np.int64) * np.where(old < 0, -1, 1)
            moved = codes + way
            # A refinement stays within the cell that it splits.
            split = (moved >= 0) & (moved < factor)
            free = np.where(old != 0, split, (factor == 1) | (np.abs(moved) < factor))
            slope = (tables.cost(moved) - tables.cost(codes)) * direction[channels]
            result[step.iteration][channels] = np.where(free, slope, 0)
        return result


@dataclass(frozen=True)
class _Tables:
    """The table that each code of a stage is coded with, (k, h, w) each.

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
        symbols = codes + self.symbol
        above, below = symbols > self.last, symbols < 0
        symbols = np.where(below, self.last + 1, np.where(above, self.last + 2, symbols))
        bits: Floats = np.take(self.bits, self.first + symbols, mode="clip")
        bits += 16 * (above | below)  # escapes are followed by the value
        return bits


@dataclass(frozen=True)
class _Step:
    """One stage of an iteration, and the latent as it is known before it."""

    iteration: int
    net: Network
    now: Ints


def _walk(layout: Layout, nets: list[Network], latents: Sequence[Ints | Floats]) -> Iterator[tuple[Ints, _Step]]:
    """The codes of each stage of the first iterations, in coding order."""
    now = np.zeros(latents[0].shape, np.int64)
    for t, latent in enumerate(latents):
        whole = latent.astype(np.int64)
        for stage in layout.stages_of(t):
            net = nets[stage]
            codes = net.codes(whole, now)
            yield codes, _Step(t, net, now)
            net.take(codes, now)


def _order(tables: Ints) -> Ints:
    """The order in which symbols are coded: table by table, each one's as they lie."""
    return np.argsort(tables.astype(np.uint16), kind="stable")  # of 16-bit integers: a radix sort


def _runs(tables: Ints) -> Iterator[tuple[int, int, int]]:
    """(table, start, end) of every run of equal tables in ascending ones."""
    starts = np.flatnonzero(np.diff(tables, prepend=-1))
    return zip(tables[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(tables)], strict=True)
