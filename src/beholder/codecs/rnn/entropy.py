"""The entropy model in integers, and the range coder behind it: the same bits on every machine.

A learned entropy model that computes in floating point fails when another processor rounds otherwise.  This one
reads only codes (integers), its weights are integers, and every sum stays below 2^24 in magnitude (checked when
weights are loaded), so float32 matrix products are exact in whatever order they are summed.  Per stage (layout.py):

    before  = relu(W0 * relu(W1 . [clip(total), log|total|])) 1x1, 3x3; total: the latent so far, in finest steps
    current = relu(W2 . [clip(codes), log|codes|])            1x1; passes of this stage already known
    hidden  = relu(W3 * before + W4 * current + bias[pass])   3x3
    mean, scale = W6 . relu(W5 . hidden)                      1x1
    mean  += W7 * codes                                       3x3 depthwise
    scale += W8 * log|codes| + W9 * log|old|                  3x3 depthwise; old: the channel's value before the stage
    mean, scale = A[class], B[class] where old is not 0       class: min(|old|, 3); A, B[0] are added elsewhere

``relu`` divides by the weights' unit, rounds down and clamps to 0..255.  ``mean`` and ``scale`` (an index) choose a
table of integer probabilities, which are part of the model; `constriction`'s range coder does the rest.  Tables come in
four families of 64 scales x 16 means, all of them Laplace distributions as the quantiser cuts them up:

    EVEN        cells of one step around every integer, the mean in sixteenths modulo 1: the first codes of
                MEAN_COLOURS, and how a cell that is not 0 is split.  Symbols outside a table are escapes and follow
                as 16 raw bits.
    DEAD_ZONE   the cell of 0 is twice as wide, the mean in eighths from -1 to 7/8: a channel's first code.  Escapes
                as well.
    HALVED, QUARTERED   the cell of 0 split into 3 or 7: refinement by one level or two of what was 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import CODE_LIMIT, MEAN_COLOURS, Layout, lattice
from beholder.errors import BadFileError

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Whole = NDArray[np.float32]
"""Integers below 2^24 in magnitude, held as float32: exact, and several times faster than int64."""
Positions = tuple[NDArray[np.intp], NDArray[np.intp]]

ACTIVATION_SCALE = 32
"""Activations are integers in units of 1/32."""
ACTIVATION_MAX = 255
WEIGHT_SCALE = 256
"""Weights are integers in units of 1/256."""
INPUT_LIMIT = 511
"""Codes are clipped to this magnitude before they enter the network."""
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
CLASSES = 4
"""Magnitudes of a channel before its refinement are told apart up to 3."""
MOST_SYMBOLS = 600
EXACT = 1 << 24


@functools.cache
def log_table() -> Ints:
    """round(32 log2(1 + i)): companded magnitudes, shared by training and runtime."""
    return np.round(ACTIVATION_SCALE * np.log2(1.0 + np.arange(INPUT_LIMIT + 1))).astype(np.int64)


def family(layout: Layout, stage: int) -> Ints:
    """The family of each of the stage's channels where its value has been 0 so far."""
    channels, refinement = layout.stages[stage].channels, layout.refinement(stage)
    fresh = np.where(np.isin(channels, MEAN_COLOURS), EVEN, DEAD_ZONE)
    return np.where(refinement < 0, fresh, np.where(refinement == 1, HALVED, QUARTERED)).astype(np.int64)


def laplace_tables() -> tuple[NDArray[np.uint16], Ints]:
    """Integer probability tables of every family, scale and mean, concatenated, and each one's reach.

    A table of reach L has the symbols -L..L+1 around the integer part of the mean (EVEN) or -L..L (the others), then,
    but for HALVED and QUARTERED, two for escapes below and above.  Entries sum to 2^16 and none is 0.
    """
    tables, reaches = [], []
    low, high = LOG_SCALE_RANGE
    for kind in (EVEN, DEAD_ZONE, HALVED, QUARTERED):
        for scale in np.exp(np.linspace(low, high, SCALES)):
            for part in range(MEANS):
                if kind in LEVELS_SPLIT:
                    reach = (1 << LEVELS_SPLIT[kind]) - 1
                else:
                    reach = int(min(MOST_SYMBOLS // 2, np.ceil(6 * scale) + 1))
                tables.append(_integers(_mass(kind, float(scale), part, reach)))
                reaches.append(reach)
    return np.concatenate(tables), np.array(reaches, np.int64)


def table_sizes(reach: Ints) -> Ints:
    """Number of entries of each table."""
    kind = np.arange(len(reach)) // (SCALES * MEANS)
    return 2 * reach + np.where(kind == EVEN, 4, np.where(kind == DEAD_ZONE, 3, 1))


def _mass(kind: int, scale: float, part: int, reach: int) -> NDArray[np.float64]:
    if kind == EVEN:
        edges = np.arange(-reach, reach + 3) - 0.5 - part / MEAN_SCALE
    else:
        mean = (part - MEANS // 2) / DEAD_ZONE_MEAN_SCALE
        edges = np.concatenate([np.arange(-reach - 1.0, 0), np.arange(1, reach + 2)]) - mean
    tail = 0.5 * np.exp(-np.abs(edges) / scale)
    cdf = np.where(edges < 0, tail, 1 - tail)
    mass = np.diff(cdf)
    if kind in LEVELS_SPLIT:
        # Far in one tail all differences may round to 0.
        return (mass + 1e-12) / (mass + 1e-12).sum()
    return np.concatenate([mass, [cdf[0], 1 - cdf[-1]]])


def _integers(mass: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Positive integers proportional to ``mass`` that sum to 2^16."""
    total = 1 << PROBABILITY_BITS
    counts = 1 + np.floor(mass * (total - len(mass))).astype(np.int64)
    counts[np.argmax(counts)] += total - counts.sum()
    return counts.astype(np.uint16)


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
        self._nets = [_Net(arrays, layout, stage) for stage in range(len(layout.stages))]
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
        return float(sum(cost(step.codes).sum() for step, cost in self._steps(latents)))

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
        for step, cost in self._steps(latents):
            way = direction[step.channels].astype(np.int64) * np.where(step.old < 0, -1, 1)
            moved = step.codes + way
            # A refinement stays within the cell that it splits.
            split = (moved >= 0) & (moved < step.factor)
            free = np.where(step.old != 0, split, (step.factor == 1) | (np.abs(moved) < step.factor))
            slope = (cost(moved) - cost(step.codes)) * direction[step.channels]
            result[step.iteration][step.channels] = np.where(free, slope, 0)
        return result

    def _steps(self, latents: Sequence[Ints | Floats]) -> Iterator[tuple[_Step, Callable[[Ints], Floats]]]:
        """Each stage of the first iterations, with what it would charge for codes in place of its own."""
        now = np.zeros(latents[0].shape, np.int64)
        for t, latent in enumerate(latents):
            whole = latent.astype(np.int64)
            for stage in self.layout.stages_of(t):
                net = self._nets[stage]
                codes, old = net.codes(whole, now), now[net.channels]
                first, symbol = np.empty((2, *codes.shape), np.int64)
                last = np.empty(codes.shape, np.int64)
                for where, tables, middle in net.passes(codes, now):
                    at = (slice(None), *where)
                    first[at] = self._first[tables].reshape(len(codes), -1)
                    symbol[at] = (self._reach[tables] - middle).reshape(len(codes), -1)
                    last[at] = self._last[tables].reshape(len(codes), -1)

                def cost(values: Ints, first: Ints = first, symbol: Ints = symbol, last: Ints = last) -> Floats:
                    symbols = values + symbol
                    above, below = symbols > last, symbols < 0
                    symbols = np.where(below, last + 1, np.where(above, last + 2, symbols))
                    bits = np.take(self._bits, first + symbols, mode="clip")
                    return bits + np.float32(16) * (above | below)  # escapes are followed by the value

                yield _Step(t, net.channels, net.factor, old, codes), cost
                net.take(codes, now)


@dataclass(frozen=True)
class _Step:
    """One stage: ``old`` is what its channels held before, ``factor`` (k, 1, 1) into how many cells that is split, 1
    where nothing was known."""

    iteration: int
    channels: NDArray[np.intp]
    factor: Ints
    old: Ints
    codes: Ints


class _Net:
    """The integer network of one stage."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout, stage: int) -> None:
        self.channels = layout.stages[stage].channels
        self.seen = layout.seen(stage)
        self.count = layout.stages[stage].passes
        refinement = layout.refinement(stage)
        self.refines = bool((refinement >= 0).any())
        self.factor = (1 << np.maximum(refinement, 0))[:, None, None]
        self.worth = layout.worth(stage)[: self.seen, None, None]
        self.family = family(layout, stage)[:, None]

        def get(name: str) -> Ints:
            return arrays[f"{stage}.{name}"].astype(np.int64)

        self.current = _Dense(get("current.weight"), get("current.bias"), INPUT_LIMIT)
        self.spread_current = _Spread(get("spread_current.weight"))
        self.by_pass = get("by_pass").astype(np.float32)
        bound = np.abs(get("by_pass")).max(0) + self.spread_current.bound
        self.before = self.spread_before = None
        if self.seen:
            self.before = _Dense(get("before.weight"), get("before.bias"), INPUT_LIMIT)
            self.gather_before = _Spread(get("gather_before.weight"), get("gather_before.bias"))
            self.spread_before = _Spread(get("spread_before.weight"))
            bound = bound + self.spread_before.bound
        _check(bound)
        self.mix = _Dense(get("mix.weight"), get("mix.bias"), ACTIVATION_MAX)
        self.out = _Dense(get("out.weight"), get("out.bias"), ACTIVATION_MAX)
        self.neighbours = _Depthwise(get("neighbours.weight"), INPUT_LIMIT)
        self.activity = _Depthwise(get("activity.weight"), int(log_table()[-1]))
        if self.refines:
            self.own = _Depthwise(get("own.weight"), int(log_table()[-1]))
            self.state = get("state_mean").astype(np.float64), get("state_scale").astype(np.float64)

    def codes(self, latent: Ints, now: Ints) -> Ints:
        """What takes the stage's channels from ``now`` to ``latent``."""
        new, old = latent[self.channels], now[self.channels]
        return np.where(old == 0, new, np.abs(new) - self.factor * np.abs(old))

    def take(self, codes: Ints, now: Ints) -> None:
        """Inverse of :meth:`codes`: bring ``now`` up to date."""
        old = now[self.channels]
        now[self.channels] = np.where(old == 0, codes, np.sign(old) * (self.factor * np.abs(old) + codes))

    def passes(self, codes: Ints, now: Ints) -> Iterator[tuple[Positions, Ints, Ints]]:
        """Per pass: its positions, and for each (channel, position) the table and the mean's integer part.

        ``codes`` is read anew before each pass, so a decoder fills it in as it goes.
        """
        height, width = now.shape[1:]
        which = lattice(height, width, self.count)
        before: Whole | None = None
        if self.before is not None:
            before = _pad(_relu(self.before(_features(now[: self.seen] * self.worth))))
            every_row, every_column = np.indices((height, width)).reshape(2, -1)
            before = _pad(_relu(self.gather_before(before, (every_row, every_column))).reshape(height, width, -1))
        old = np.abs(now[self.channels])
        own = self.own(_log(np.minimum(old, INPUT_LIMIT))) if self.refines else None
        for p in range(self.count):
            rows, columns = np.nonzero(which == p)
            if not len(rows):
                continue
            where: Positions = (rows, columns)
            hidden: Whole = np.repeat(self.by_pass[p][None], len(rows), 0)
            if before is not None and self.spread_before is not None:
                hidden += self.spread_before(before, where)
            # Doubles from here on: these sums may pass 2^24.
            mean = np.zeros((len(codes), len(rows)))
            scale = np.zeros((len(codes), len(rows)))
            if p:
                known = which < p
                near = _features(codes * known)
                current = _relu(self.current(near)) * known[:, :, None]
                hidden += self.spread_current(_pad(current), where)
                values, magnitudes = np.split(near.transpose(2, 0, 1), 2)
                mean += ACTIVATION_SCALE * self.neighbours(values)[:, rows, columns].astype(np.float64)
                scale += self.activity(magnitudes)[:, rows, columns]
            if own is not None:
                scale += own[:, rows, columns]
            out = self.out(_relu(self.mix(_relu(hidden)))).T
            mean += out[: len(codes)]
            scale += out[len(codes) :]
            if self.refines:
                member = np.minimum(old[:, rows, columns], CLASSES - 1)
                mean = mean * (member == 0) + np.take_along_axis(self.state[0], member, 1)
                scale = scale * (member == 0) + np.take_along_axis(self.state[1], member, 1)
            unit = WEIGHT_SCALE * ACTIVATION_SCALE
            kind = np.broadcast_to(self.family, mean.shape)
            if self.refines:
                kind = np.where(member == 0, kind, EVEN)
            even = np.floor(mean * (MEAN_SCALE / unit) + 0.5)
            even = np.clip(even, -MEAN_LIMIT * MEAN_SCALE, MEAN_LIMIT * MEAN_SCALE).astype(np.int64)
            other = np.floor(mean * (DEAD_ZONE_MEAN_SCALE / unit) + 0.5) + MEANS // 2
            other = np.clip(other, 0, MEANS - 1).astype(np.int64)
            part = np.where(kind == EVEN, even % MEAN_SCALE, other)
            index = np.clip(np.floor(scale * (4 / unit)) + SCALES // 2, 0, SCALES - 1).astype(np.int64)
            whole = np.where(kind == EVEN, even // MEAN_SCALE, 0)
            yield where, ((kind * SCALES + index) * MEANS + part).ravel(), whole.ravel()


class _Depthwise:
    """3x3 depthwise convolution of (k, h, w) integers."""

    def __init__(self, weight: Ints, largest: int) -> None:
        _check(np.abs(weight).sum((1, 2)) * largest)
        self.weight = weight.astype(np.float32)

    def __call__(self, x: Whole) -> Whole:
        count, height, width = x.shape
        padded = np.zeros((count, height + 2, width + 2), np.float32)
        padded[:, 1:-1, 1:-1] = x
        total, product = np.zeros((2, *x.shape), np.float32)
        for dy in range(3):
            for dx in range(3):
                np.multiply(padded[:, dy : dy + height, dx : dx + width], self.weight[:, dy, dx, None, None], product)
                total += product
        return total


class _Dense:
    """(positions..., inputs) integers -> (positions..., outputs) integers."""

    def __init__(self, weight: Ints, bias: Ints, largest: int) -> None:
        _check(np.abs(weight).sum(1) * largest + np.abs(bias))
        self.weight = np.ascontiguousarray(weight.T, np.float32)
        self.bias = bias.astype(np.float32)

    def __call__(self, x: Whole) -> Whole:
        product = x.reshape(-1, x.shape[-1]) @ self.weight
        product += self.bias
        return product.reshape(*x.shape[:-1], -1)


class _Spread:
    """3x3 convolution of a padded (h + 2, w + 2, inputs) map, evaluated at chosen positions only."""

    def __init__(self, weight: Ints, bias: Ints | None = None) -> None:
        self.bias = np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32)
        self.bound = np.abs(weight).sum((1, 2, 3)) * ACTIVATION_MAX + np.abs(self.bias).astype(np.int64)
        _check(self.bound)
        # (outputs, inputs, 3, 3) -> nine (inputs, outputs) matrices in one
        self.weight = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)), np.float32)

    def __call__(self, padded: Whole, where: Positions) -> Whole:
        width, count = padded.shape[1:]
        around = [dy * width + dx for dy in range(3) for dx in range(3)]
        nine = np.take(padded.reshape(-1, count), (where[0] * width + where[1])[:, None] + around, 0)
        product: Whole = nine.reshape(len(nine), -1) @ self.weight
        product += self.bias
        return product


def _features(codes: Ints) -> Whole:
    """(c, h, w) codes -> (h, w, 2c): clipped values, companded magnitudes."""
    count, height, width = codes.shape
    clipped = np.clip(codes, -INPUT_LIMIT, INPUT_LIMIT)
    both = np.empty((2 * count, height, width), np.float32)
    both[:count] = clipped
    both[count:] = _log(np.abs(clipped))
    return both.transpose(1, 2, 0)


def _log(magnitudes: Ints) -> Whole:
    """Companded magnitudes, at most ``INPUT_LIMIT``."""
    return np.take(log_table().astype(np.float32), magnitudes)


def _relu(x: Whole) -> Whole:
    """In place."""
    x *= np.float32(1 / WEIGHT_SCALE)  # dividing by a power of two is exact
    np.floor(x, out=x)
    return np.clip(x, 0, ACTIVATION_MAX, out=x)


def _pad(x: Whole) -> Whole:
    """A border of zeros around (h, w, c)."""
    height, width, count = x.shape
    padded = np.zeros((height + 2, width + 2, count), np.float32)
    padded[1:-1, 1:-1] = x
    return padded


def _order(tables: Ints) -> Ints:
    """The order in which symbols are coded: table by table, each one's as they lie."""
    return np.argsort(tables.astype(np.uint16), kind="stable")  # of 16-bit integers: a radix sort


def _runs(tables: Ints) -> Iterator[tuple[int, int, int]]:
    """(table, start, end) of every run of equal tables in ascending ones."""
    starts = np.flatnonzero(np.diff(tables, prepend=-1))
    return zip(tables[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(tables)], strict=True)


def _check(bound: Ints) -> None:
    if int(bound.max()) >= EXACT:
        raise BadFileError("The model's entropy weights are too large to be exact: export the model again.")
