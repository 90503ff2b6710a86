"""The entropy model in integers, and the range coder behind it: the same bits on every machine.

A learned entropy model that computes in floating point fails when another processor rounds otherwise. This one reads
codes, which are integers, and has integer weights. Every sum stays below 2^24 in magnitude, which is checked when
weights are loaded. So float32 matrix products are exact in any order of summation. For each stage a network
(:mod:`.stage_network`, :mod:`.pyramid`) predicts a mean and a scale for every code. They choose a table of integer
probabilities (:mod:`.tables`) for `constriction`'s range coder.

Pictures differ in more than a network sees around a block. So the encoder may shift the scales of each channel of a
stage, which saves 0.1 to 1.5 % of a file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.as_needed import AsNeeded
from beholder.codecs.rnn.entropy.coding_order import BLOCK_CODES, CodingOrder
from beholder.codecs.rnn.entropy.pyramid import PyramidNetwork
from beholder.codecs.rnn.entropy.rate_estimate import FixedTables, Network, RateEstimate, walk
from beholder.codecs.rnn.entropy.rounding import Ints
from beholder.codecs.rnn.entropy.stage_network import Positions, StageNetwork, Tables
from beholder.codecs.rnn.entropy.tables import (
    DEAD_ZONE,
    EVEN,
    MEANS,
    PROBABILITY_BITS,
    SCALES,
    SHIFT_PROBABILITIES,
    SHIFTS,
    count_bits,
    family,
    shifted_tables,
    table_sizes,
)
from beholder.codecs.rnn.layout import CODE_LIMIT, Layout
from beholder.errors import BadFileError

Floats = NDArray[np.float32]
Pass = tuple[Positions, Tables, NDArray[np.int8]]

NONE = SHIFTS.index(0)
LEAST_POSITIONS = 100
"""Smaller pictures, in blocks, have no shifts: they would cost more than they save."""
BEYOND = 64
"""Zero bytes that decoding may read beyond a segment's end. Range coders look ahead by 8 bytes. The others stand for
zeros that are not stored at a segment's end; more than 56 are as unlikely as 448 random bits all being zero."""
SAMPLE = 600
"""Shifts are chosen by about so many codes of each channel."""


class EntropyModel:
    """Integer entropy model of all iterations.

    Args:
        arrays: of ``entropy.npz``, as written by ``beholder export``, any shape.
        layout: which iteration codes which channels, in which stages.
        as_needed: make each network when its stage is coded; else all at once, so that bad ones are told.

    Raises:
        BadFileError: weights so large that sums could be inexact.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout, as_needed: bool = False) -> None:
        self.layout = layout
        self._nets = AsNeeded(
            lambda i: PyramidNetwork(arrays, layout, i) if layout.stages[i].pyramid else StageNetwork(arrays, layout, i)
        )
        for stage in range(0 if as_needed else len(layout.stages)):
            _ = self._nets[stage]
        half_widths = arrays["reach"].astype(np.int64)
        sizes = table_sizes(half_widths)
        kind = np.arange(len(sizes)) // (SCALES * MEANS)
        # The last symbol that is no escape: below - 1, and below + 1 is above.
        self._half_width = half_widths.astype(np.int16)
        self._last = (2 * half_widths + (kind == EVEN)).astype(np.int32)
        self._first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        tables = arrays["tables"]
        if sizes.sum() != len(tables) or sizes.min() < 1:
            raise ValueError("its tables have other lengths")
        self._bits = (PROBABILITY_BITS - np.log2(tables)).astype(np.float32)
        self._shifted = shifted_tables().astype(np.int16)
        self._adapts = bool(arrays["adapts"])
        self._shift_bits = -np.log2(SHIFT_PROBABILITIES)
        self._models = AsNeeded(lambda i: _categorical(tables[self._first[i] : self._first[i] + sizes[i]]))
        # The likeliest symbol of each family; the coder's own probabilities have 24 bits, rounded up by less than two.
        likeliest = np.maximum.reduceat(tables, self._first).reshape(-1, SCALES * MEANS).max(1)
        self._least_bits = -np.log2(likeliest / (1 << PROBABILITY_BITS) + 2 / (1 << 24))

    def prepare(self, iterations: int) -> None:
        """Make the networks of the first iterations, which coding would make when it comes to them."""
        for stage in range(len(self.layout.stages)):
            if self.layout.stages[stage].iteration < iterations:
                _ = self._nets[stage]

    def encode(self, latent: Ints, state: Ints, t: int, finer: Ints | None = None) -> bytes:
        """Iteration ``t``'s segment.

        Args:
            latent: (latent, H, W) quantised latent.
            state: (latent, H, W) quantised latent before iteration ``t``; it is brought up to date.
            finer: (latent,) by how many levels ``latent`` is finer than after the iteration; None where it is not.
        """
        import constriction

        encoder = constriction.stream.queue.RangeEncoder()
        raw = constriction.stream.model.Uniform(1 << 16)
        for stage in self.layout.stages_of(t):
            net = self._nets[stage]
            codes = _codes(net, latent, state, finer)
            passes = list(net.passes(codes, state, known=True))
            shifts = None
            if self._may_shift(state):
                chosen, _ = self._choose(net, codes, passes)
                shift = (chosen != NONE).any()
                encoder.encode(np.array([shift], np.int32), constriction.stream.model.Uniform(2))
                if shift:
                    shifts = chosen
                    encoder.encode(shifts.astype(np.int32), _shift_model())
            for positions, predicted, whole in passes:
                tables = predicted if shifts is None else self._shift(net, predicted, shifts)
                order = CodingOrder(tables)
                ordered = np.empty(tables.size, np.int32)
                escaped = []
                for block in order.blocks():
                    values = np.take(codes[block].reshape(-1, codes[0].size), positions, 1)
                    half_width, last = self._limits(tables[block])
                    # What wraps around does so to numbers beyond any table's last symbol.
                    symbols = (values - whole[block] + half_width).view(np.uint16)
                    beyond = np.flatnonzero(symbols > last)
                    if len(beyond):
                        values, least, last = values.ravel()[beyond], whole[block].ravel()[beyond], last.ravel()[beyond]
                        below = values < least.astype(np.int32) - half_width.ravel()[beyond]
                        symbols.ravel()[beyond] = last + np.where(below, 1, 2)
                        escaped.append(values.astype(np.int32))
                    lie, place = order.place(block)
                    ordered[place] = symbols.ravel()[lie]
                for table, start, end in order.runs():
                    encoder.encode(ordered[start:end], self._models[table])
                if escaped:
                    encoder.encode(np.concatenate(escaped) + np.int32(CODE_LIMIT + 1), raw)
            net.apply(codes, state)
        data: bytes = encoder.get_compressed().astype("<u4").tobytes()
        return data.rstrip(b"\0")

    def least_bits(self, t: int, positions: int) -> float:
        """Bits below which no segment of iteration ``t`` holds the codes of so many positions, whatever they are.

        Each code costs at least what the likeliest symbol costs of all tables that its stage may choose.
        """
        per_position = 0.0
        for stage in self.layout.stages_of(t):
            own = self._least_bits[family(self.layout, stage)]
            if self.layout.stages[stage].pyramid:
                own = np.minimum(own, self._least_bits[[EVEN, DEAD_ZONE]].min())
            elif (self.layout.refinement(stage) >= 0).any():
                own = np.minimum(own, self._least_bits[EVEN])
            per_position += float(own.sum())
        return per_position * positions

    def check_length(self, segment: bytes, t: int, positions: int) -> None:
        """Raise BadFileError if a segment is too short for the codes of so many positions; nothing is decoded."""
        if self.least_bits(t, positions) > 8 * (len(segment) + BEYOND):
            raise _too_short(t)

    def decode(self, segment: bytes, state: Ints, t: int) -> None:
        """Bring ``state``, int16 (latent, H, W), from before iteration ``t`` to after it.

        Raises:
            BadFileError: the bytes are no segment (most damage decodes to something, though), or end before the
                codes do.
        """
        import constriction

        self.check_length(segment, t, state[0].size)
        padded = segment + b"\0" * (-len(segment) % 4 + BEYOND)
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, "<u4").astype(np.uint32))
        try:
            for stage in self.layout.stages_of(t):
                self._decode_stage(self._nets[stage], decoder, state, t)
        except (AssertionError, ValueError) as error:
            raise BadFileError(f"The codes of iteration {t + 1} are damaged ({error}): get the file anew.") from None

    def _decode_stage(self, net: Network, decoder: Any, state: Ints, t: int) -> None:
        import constriction

        raw = constriction.stream.model.Uniform(1 << 16)
        codes = np.zeros((len(net.channels), *state.shape[1:]), np.int16)
        flat = codes.reshape(len(codes), -1)
        shifts = None
        if self._may_shift(state) and decoder.decode(constriction.stream.model.Uniform(2), 1)[0]:
            shifts = decoder.decode(_shift_model(), len(codes)).astype(np.int64)
        for positions, predicted, whole in net.passes(codes, state):
            tables = predicted if shifts is None else self._shift(net, predicted, shifts)
            order = CodingOrder(tables)
            ordered = np.empty(tables.size, np.int16)
            for table, start, end in order.runs():
                ordered[start:end] = decoder.decode(self._models[table], end - start)
            escaped = []
            for block in order.blocks():
                lie, place = order.place(block)
                mixed = np.empty(len(lie), np.int16)
                mixed[lie] = ordered[place]
                symbols = mixed.reshape(-1, len(positions))
                half_width, last = self._limits(tables[block])
                channel, position = np.divmod(np.flatnonzero(symbols > last), len(positions))
                if len(channel):
                    escaped.append((channel + block.start, positions[position]))
                # `passes` reads `codes` again for the next pass.
                symbols -= half_width
                symbols += whole[block]
                flat[block, positions] = symbols
            for channels, places in escaped:
                flat[channels, places] = decoder.decode(raw, len(channels)) - np.int32(CODE_LIMIT + 1)
            # A short file that claims a large picture must not keep us busy.
            if decoder.maybe_exhausted():
                raise _too_short(t)
        net.apply(codes, state)

    def bits(self, latents: Sequence[Ints | Floats]) -> float:
        """Bits of the first iterations, given the quantised latent (latent, H, W) after each."""
        return self.rate_estimate(latents).bits(latents)

    def rate_estimate(self, latents: Sequence[Ints | Floats]) -> RateEstimate:
        """Rate estimate with the entropy model's predictions held fixed at ``latents``, (C, H, W) each."""
        tables, side = [], 0.0
        for codes, step in walk(self.layout, self._nets, latents):
            first, symbol, last = np.empty((3, *codes.shape), np.int32)
            passes = list(step.net.passes(codes, step.state, known=True))
            shifts = None
            if self._may_shift(step.state):
                shifts, cost = self._choose(step.net, codes, passes)
                side += cost
            for positions, predicted, whole in passes:
                chosen = predicted if shifts is None else self._shift(step.net, predicted, shifts)
                at = np.unravel_index(positions, codes[0].shape)
                first[:, *at] = self._first[chosen]
                symbol[:, *at] = self._half_width[chosen] - whole
                last[:, *at] = self._last[chosen]
            tables.append(FixedTables(self._bits, first, symbol, last))
        return RateEstimate(self.layout, self._nets, tables, side)

    def _limits(self, tables: Tables) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        """Half-widths of tables, any shape, and their last symbols that are no escapes."""
        half_width = self._half_width[tables]
        last = half_width.astype(np.uint16)
        last *= 2
        last += tables < (EVEN + 1) * SCALES * MEANS
        return half_width, last

    def _may_shift(self, state: Ints) -> bool:
        return self._adapts and state[0].size >= LEAST_POSITIONS

    def _shift(self, net: Network, tables: Tables, shifts: Ints) -> Tables:
        """The tables (channels, positions) of one pass, shifted by that of SHIFTS whose number each channel has."""
        moved: Tables = self._shifted[int(isinstance(net, StageNetwork))][shifts[:, None], tables]
        return moved

    def _choose(self, net: Network, codes: Ints, passes: list[Pass]) -> tuple[Ints, float]:
        """The number of each channel's shift, none where they do not pay, and what it costs to tell.

        What the codes cost is nearly a parabola in the shift: three points on it tell the lowest."""
        every = max(1, codes[0].size // SAMPLE)
        apart = SHIFTS[NONE + 1]
        costs = np.zeros((3, len(codes)))
        for positions, tables, whole in passes:
            chosen = tables[:, ::every].astype(np.intp)
            values = np.take(codes.reshape(len(codes), -1), positions[::every], 1) - whole[:, ::every].astype(np.int32)
            for total, number in zip(costs, (NONE - 1, NONE, NONE + 1), strict=True):
                shifted = np.take(self._shifted[int(isinstance(net, StageNetwork)), number], chosen)
                half_width, first, last = (
                    np.take(each, shifted) for each in (self._half_width, self._first, self._last)
                )
                total += every * count_bits(self._bits, values + half_width, first, last).sum(1)
        below, middle, above = costs[..., None]
        slope, bend = (above - below) / (2 * apart), np.maximum((above + below - 2 * middle) / (2 * apart**2), 0)
        curves = slope * SHIFTS + bend * np.square(SHIFTS) + self._shift_bits
        shifts = curves.argmin(1)
        if curves.min(1).sum() + 1 < 0:
            return shifts, float(1 + self._shift_bits[shifts].sum())
        return np.full(len(codes), NONE), 1.0


def _codes(net: Network, latent: Ints, state: Ints, finer: Ints | None) -> NDArray[np.int16]:
    """Codes (k, H, W) that a stage's encoder writes; arguments as for :meth:`EntropyModel.encode`."""
    codes = np.empty((len(net.channels), *state.shape[1:]), np.int16)
    step = max(1, BLOCK_CODES // codes[0].size)
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        channels = net.channels[part]
        wanted = latent[channels]
        if finer is not None:
            wanted = np.sign(wanted) * (np.abs(wanted) >> finer[channels, None, None].astype(wanted.dtype))
        limit = wanted.dtype.type(CODE_LIMIT)
        found = net.codes(wanted, state[channels], part)
        np.maximum(np.minimum(found, limit), -limit, out=codes[part], casting="unsafe")
    return codes


def _too_short(t: int) -> BadFileError:
    return BadFileError(
        f"Segment {t + 1} of this .bhd file is too short for a picture of its size: the file is damaged, get it anew."
    )


def _categorical(table: NDArray[Any]) -> Any:
    import constriction

    return constriction.stream.model.Categorical(table.astype(np.float64) / (1 << PROBABILITY_BITS), perfect=False)


@functools.cache
def _shift_model() -> Any:
    import constriction

    return constriction.stream.model.Categorical(np.array(SHIFT_PROBABILITIES), perfect=False)
