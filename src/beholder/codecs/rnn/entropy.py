"""The entropy model in integers, and the range coder behind it: the same bits on every machine.

A learned entropy model that computes in floating point fails when another processor rounds otherwise.  This one
reads only codes (integers), its weights are integers, and every sum stays below 2^24 in magnitude (checked when
weights are loaded), so float32 matrix products are exact in whatever order they are summed.  Per iteration t:

    before  = relu(W1 . [clip(total), log|total|])            1x1; total: codes of earlier iterations, in fine steps
    current = relu(W2 . [clip(codes), log|codes|])            1x1; passes of iteration t already known
    hidden  = relu(W3 * before + W4 * current + bias[pass])   3x3
    mean, scale = W6 . relu(W5 . hidden)                      1x1; mean += 3x3 depthwise W7 * codes

``relu`` divides by the weights' unit, rounds down and clamps to 0..255.  ``mean`` (in eighths of a step) and
``scale`` (an index) choose one of 8 x 64 tables of integer probabilities that are part of the model;
`constriction`'s range coder does the rest.  Symbols outside a table are escapes and follow as 16 raw bits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import CODE_LIMIT, ITERATIONS, Layout, lattice
from beholder.errors import BadFileError

Ints = NDArray[np.int64]
Positions = tuple[NDArray[np.intp], NDArray[np.intp]]

ACTIVATION_SCALE = 32
"""Activations are integers in units of 1/32."""
ACTIVATION_MAX = 255
WEIGHT_SCALE = 256
"""Weights are integers in units of 1/256."""
INPUT_LIMIT = 511
"""Codes are clipped to this magnitude before they enter the network."""
MEAN_SCALE = 8
MEAN_LIMIT = 127
SCALES = 64
LOG_SCALE_RANGE = (-3.2, 4.2)
"""Natural logarithm of the Laplace scale at the first and last index."""
PROBABILITY_BITS = 16
MOST_SYMBOLS = 600
EXACT = 1 << 24


@functools.cache
def log_table() -> Ints:
    """round(32 log2(1 + i)): companded magnitudes, shared by training and runtime."""
    return np.round(ACTIVATION_SCALE * np.log2(1.0 + np.arange(INPUT_LIMIT + 1))).astype(np.int64)


def laplace_tables() -> tuple[NDArray[np.uint16], Ints]:
    """Integer probability tables for every (scale, eighth), concatenated, and each one's reach.

    A table for reach L has 2L + 2 entries for the symbols -L..L+1 around the integer part of the mean, then two
    for escapes below and above.  Entries sum to 2^16 and none is 0.
    """
    tables, reaches = [], []
    low, high = LOG_SCALE_RANGE
    for scale in np.exp(np.linspace(low, high, SCALES)):
        reach = int(min(MOST_SYMBOLS // 2, np.ceil(6 * scale) + 1))
        for eighth in range(MEAN_SCALE):
            edges = np.arange(-reach, reach + 3) - 0.5 - eighth / MEAN_SCALE
            cdf = np.where(edges < 0, 0.5 * np.exp(-np.abs(edges) / scale), 1 - 0.5 * np.exp(-np.abs(edges) / scale))
            mass = np.concatenate([np.diff(cdf), [cdf[0], 1 - cdf[-1]]])
            tables.append(_integers(mass))
            reaches.append(reach)
    return np.concatenate(tables), np.array(reaches, np.int64)


def _integers(mass: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Positive integers proportional to ``mass`` that sum to 2^16."""
    total = 1 << PROBABILITY_BITS
    counts = 1 + np.floor(mass * (total - len(mass))).astype(np.int64)
    counts[np.argmax(counts)] += total - counts.sum()
    return counts.astype(np.uint16)


class EntropyModel:
    """Integer entropy model of all iterations.

    Args:
        arrays: as written by ``beholder export``; see :meth:`check` for what is verified.
        layout: which iteration codes which channels.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout) -> None:
        import constriction

        self.layout = layout
        self._nets = [_Net(arrays, layout, t) for t in range(ITERATIONS)]
        self._reach = arrays["reach"].astype(np.int64)
        sizes = 2 * self._reach + 4
        parts = np.split(arrays["tables"].astype(np.float64), np.cumsum(sizes)[:-1])
        self._models = [
            constriction.stream.model.Categorical(part / (1 << PROBABILITY_BITS), perfect=False) for part in parts
        ]

    def encode(self, codes: Ints, total: Ints, t: int) -> bytes:
        """Iteration ``t``'s segment.

        Args:
            codes: (k, h, w) codes of the active channels, magnitudes up to CODE_LIMIT.
            total: (latent, h, w) running total of earlier iterations.
        """
        import constriction

        encoder = constriction.stream.queue.RangeEncoder()
        raw = constriction.stream.model.Uniform(1 << 16)
        for where, tables, whole in self._nets[t].passes(codes, total):
            values = codes[:, where[0], where[1]].ravel()
            reach = self._reach[tables]
            symbols = values - whole + reach
            above, below = symbols > 2 * reach + 1, symbols < 0
            symbols = np.where(below, 2 * reach + 2, np.where(above, 2 * reach + 3, symbols))
            for table, members in _groups(tables):
                encoder.encode(symbols[members].astype(np.int32), self._models[table])
            escaped = values[above | below]
            if len(escaped):
                encoder.encode((escaped + CODE_LIMIT + 1).astype(np.int32), raw)
        data: bytes = encoder.get_compressed().astype("<u4").tobytes()
        return data.rstrip(b"\0")

    def decode(self, segment: bytes, total: Ints, t: int) -> Ints:
        """Inverse of :meth:`encode`; (k, h, w).  Any bytes decode to something or raise BadFileError."""
        import constriction

        padded = segment + b"\0" * (-len(segment) % 4 + 8)
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, "<u4").astype(np.uint32))
        raw = constriction.stream.model.Uniform(1 << 16)
        net = self._nets[t]
        codes = np.zeros((len(net.active), *total.shape[1:]), np.int64)
        for where, tables, whole in net.passes(codes, total):
            symbols = np.empty(len(tables), np.int64)
            try:
                for table, members in _groups(tables):
                    symbols[members] = decoder.decode(self._models[table], len(members))
                reach = self._reach[tables]
                values = symbols - reach + whole
                escaped = symbols >= 2 * reach + 2
                if count := int(escaped.sum()):
                    values[escaped] = decoder.decode(raw, count).astype(np.int64) - CODE_LIMIT - 1
            except (AssertionError, ValueError) as error:
                raise BadFileError(
                    f"The codes of iteration {t + 1} are damaged ({error}): get the file anew."
                ) from None
            # `passes` reads `codes` again for the next pass.
            codes[:, where[0], where[1]] = values.reshape(len(net.active), -1)
        return codes


class _Net:
    """The integer network of one iteration."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout, t: int) -> None:
        self.active = layout.active(t)
        self.seen = layout.seen(t)
        self.count = layout.passes[t]

        def get(name: str) -> Ints:
            return arrays[f"{t}.{name}"].astype(np.int64)

        self.current = _Dense(get("current.weight"), get("current.bias"), INPUT_LIMIT)
        self.spread_current = _Spread(get("spread_current.weight"))
        self.before = self.spread_before = None
        if self.seen:
            self.before = _Dense(get("before.weight"), get("before.bias"), INPUT_LIMIT)
            self.spread_before = _Spread(get("spread_before.weight"))
        self.by_pass = get("by_pass")
        self.mix = _Dense(get("mix.weight"), get("mix.bias"), ACTIVATION_MAX)
        self.out = _Dense(get("out.weight"), get("out.bias"), ACTIVATION_MAX)
        self.neighbours = get("neighbours.weight")  # (k, 3, 3)

    def passes(self, codes: Ints, total: Ints) -> Iterator[tuple[Positions, Ints, Ints]]:
        """Per pass: its positions, and for each (channel, position) the table and the mean's integer part.

        ``codes`` is read anew before each pass, so a decoder fills it in as it goes.
        """
        height, width = total.shape[1:]
        which = lattice(height, width, self.count)
        before: Ints | None = None
        if self.before is not None:
            before = _pad(_relu(self.before(_features(total[: self.seen]))))
        for p in range(self.count):
            rows, columns = np.nonzero(which == p)
            if not len(rows):
                continue
            where: Positions = (rows, columns)
            hidden: Ints = np.repeat(self.by_pass[p][None], len(rows), 0)
            if before is not None and self.spread_before is not None:
                hidden = hidden + self.spread_before(before, where)
            linear: Ints | int = 0
            if p:
                known = codes * (which < p)
                current = _relu(self.current(_features(known))) * (which < p)[:, :, None]
                hidden = hidden + self.spread_current(_pad(current), where)
                linear = self._linear(known, where)
            out = self.out(_relu(self.mix(_relu(hidden))))
            k = len(self.active)
            unit = WEIGHT_SCALE * ACTIVATION_SCALE
            eighths = (out[:, :k].T + ACTIVATION_SCALE * linear) // (unit // MEAN_SCALE)
            eighths = np.clip(eighths, -MEAN_LIMIT * MEAN_SCALE, MEAN_LIMIT * MEAN_SCALE).ravel()
            scale = np.clip(out[:, k:].T // (unit // 4) + SCALES // 2, 0, SCALES - 1).ravel()
            yield where, scale * MEAN_SCALE + eighths % MEAN_SCALE, eighths // MEAN_SCALE

    def _linear(self, known: Ints, where: Positions) -> Ints:
        padded = np.pad(np.clip(known, -INPUT_LIMIT, INPUT_LIMIT), ((0, 0), (1, 1), (1, 1)))
        total = np.zeros((len(known), len(where[0])), np.int64)
        for dy in range(3):
            for dx in range(3):
                total += self.neighbours[:, dy, dx, None] * padded[:, where[0] + dy, where[1] + dx]
        return total


class _Dense:
    """(positions..., inputs) integers -> (positions..., outputs) integers."""

    def __init__(self, weight: Ints, bias: Ints, largest: int) -> None:
        _check(np.abs(weight).sum(1) * largest + np.abs(bias))
        self.weight = np.ascontiguousarray(weight.T, np.float32)
        self.bias = bias

    def __call__(self, x: Ints) -> Ints:
        product = x.reshape(-1, x.shape[-1]).astype(np.float32) @ self.weight
        return product.astype(np.int64).reshape(*x.shape[:-1], -1) + self.bias


class _Spread:
    """3x3 convolution of a padded (h + 2, w + 2, inputs) map, evaluated at chosen positions only."""

    def __init__(self, weight: Ints) -> None:
        _check(np.abs(weight).sum((1, 2, 3)) * ACTIVATION_MAX)
        # (outputs, inputs, 3, 3) -> nine (inputs, outputs) matrices in one
        self.weight = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)), np.float32)

    def __call__(self, padded: Ints, where: Positions) -> Ints:
        columns = [padded[where[0] + dy, where[1] + dx] for dy in range(3) for dx in range(3)]
        return (np.concatenate(columns, 1).astype(np.float32) @ self.weight).astype(np.int64)


def _features(codes: Ints) -> Ints:
    """(c, h, w) codes -> (h, w, 2c): clipped values, companded magnitudes."""
    clipped = np.clip(codes, -INPUT_LIMIT, INPUT_LIMIT)
    return np.concatenate([clipped, log_table()[np.abs(clipped)]]).transpose(1, 2, 0)


def _relu(x: Ints) -> Ints:
    return np.clip(x // WEIGHT_SCALE, 0, ACTIVATION_MAX)


def _pad(x: Ints) -> Ints:
    return np.pad(x, ((1, 1), (1, 1), (0, 0)))


def _groups(tables: Ints) -> Iterator[tuple[int, Ints]]:
    """Each table in use with the members that use it, in a fixed order."""
    order = np.argsort(tables, kind="stable")
    starts = np.flatnonzero(np.diff(tables[order], prepend=-1))
    for start, members in zip(starts, np.split(order, starts[1:]), strict=True):
        yield int(tables[order[start]]), members


def _check(bound: Ints) -> None:
    if int(bound.max()) >= EXACT:
        raise BadFileError("The model's entropy weights are too large to be exact: export the model again.")
