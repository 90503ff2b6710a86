"""The entropy model's network of one stage (layout.py), in integers:

    before  = relu(W0 * relu(W1 . [clip(total), log|total|])) 1x1, 3x3; total: the latent so far, in finest steps
    current = relu(W2 . [clip(codes), log|codes|])            1x1; passes of this stage already known
    hidden  = relu(W3 * before + W4 * current + bias[pass])   3x3
    mean, scale = W6 . relu(W5 . hidden)                      1x1
    mean  += W7 * codes                                       3x3 depthwise
    scale += W8 * log|codes| + W9 * log|old|                  3x3 depthwise; old: the channel's value before the stage
    mean, scale = A[class], B[class] where old is not 0       class: min(|old|, 3); A, B[0] are added elsewhere

``relu`` divides by the weights' unit, rounds down and clamps to 0..255.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import Layout, lattice
from beholder.codecs.rnn.tables import DEAD_ZONE_MEAN_SCALE, EVEN, MEAN_LIMIT, MEAN_SCALE, MEANS, SCALES, family
from beholder.errors import BadFileError

Ints = NDArray[np.int64]
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
CLASSES = 4
"""Magnitudes of a channel before its refinement are told apart up to 3."""
EXACT = 1 << 24


@functools.cache
def log_table() -> Ints:
    """round(32 log2(1 + i)): companded magnitudes, shared by training and runtime."""
    return np.round(ACTIVATION_SCALE * np.log2(1.0 + np.arange(INPUT_LIMIT + 1))).astype(np.int64)


class StageNetwork:
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


def _check(bound: Ints) -> None:
    if int(bound.max()) >= EXACT:
        raise BadFileError("The model's entropy weights are too large to be exact: export the model again.")
