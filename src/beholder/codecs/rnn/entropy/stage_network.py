"""The entropy model's network of one stage (layout.py), in integers:

    before  = relu(W0 * relu(W1 . [clip(total), log|total|])) 1x1, 3x3; total: the latent so far, in finest steps
    current = relu(W2 . [clip(codes), log|codes|])            1x1; passes of this stage already known
    hidden  = relu(W3 * before + W4 * current + bias[pass])   3x3
    mean, scale = W6 . relu(W5 . hidden)                      1x1
    mean  += W7 * codes                                       3x3 depthwise
    scale += W8 * log|codes| + W9 * log|old|                  3x3 depthwise; old: the channel's value before the stage
    mean, scale = A[class], B[class] where old is not 0       class: min(|old|, 3); A, B[0] are added elsewhere

``relu`` divides by the weights' unit, rounds down and clamps to 0..255 (:mod:`.rounding`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.products import ByteProduct
from beholder.codecs.rnn.entropy.rounding import (
    ACTIVATION_MAX,
    ACTIVATION_SCALE,
    INPUT_LIMIT,
    Ints,
    Whole,
    choose_table,
    compand,
    log_table,
    relu,
)
from beholder.codecs.rnn.entropy.tables import EVEN, family
from beholder.codecs.rnn.entropy.windows import Window, windows
from beholder.codecs.rnn.layout import CODE_LIMIT, Layout, lattice
from beholder.errors import BadFileError
from beholder.threads import for_each

Tables = NDArray[np.int16]
Activations = NDArray[np.uint8]
Positions = NDArray[np.intp]
"""Indices into the flattened (H, W) map of positions, ascending."""

CLASSES = 4
"""Magnitudes of a channel before its refinement are told apart up to 3."""
EXACT = 1 << 24
OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
"""The positions that a 3x3 kernel reads, in the order of its weights."""
EVERY = list(range(len(OFFSETS)))


class StageNetwork:
    """The integer network of one stage.

    Args:
        arrays: of ``entropy.npz``, any shape.
        layout: which stage codes which channels.
        stage: number of the stage, from 0.

    Raises:
        BadFileError: weights so large that sums could be inexact.

    Activations of whole maps are bytes, and all else is computed window by window (:mod:`.windows`): memory beyond the
    codes and the tables themselves stays small, and products run in the cache.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout, stage: int) -> None:
        self.channels = layout.stages[stage].channels
        self.prior_channels = layout.prior_channels(stage)
        self.count = layout.stages[stage].passes
        refinement = layout.refinement(stage)
        self.refines = bool((refinement >= 0).any())
        self.factor = (1 << np.maximum(refinement, 0)).astype(np.int32)[:, None, None]
        self.step_in_finest_units = layout.step_in_finest_units(stage)[: self.prior_channels, None, None].astype(
            np.int32
        )
        self.family = family(layout, stage)[:, None].astype(np.int32)

        def get(name: str) -> NDArray[np.int64]:
            return arrays[f"{stage}.{name}"].astype(np.int64)

        self.current = _Dense(get("current.weight"), get("current.bias"), INPUT_LIMIT)
        spread_current = _Convolution3x3(get("spread_current.weight"))
        self.by_pass = get("by_pass").astype(np.float32)
        bound = np.abs(get("by_pass")).max(0) + spread_current.bound
        self.before = self.gather_before = self.spread_before = None
        if self.prior_channels:
            self.before = _Dense(get("before.weight"), get("before.bias"), INPUT_LIMIT)
            self.gather_before = _Convolution3x3(get("gather_before.weight"), get("gather_before.bias"))
            self.spread_before = _Convolution3x3(get("spread_before.weight"))
            bound = bound + self.spread_before.bound
        _check(bound)
        self.mix = _Dense(get("mix.weight"), get("mix.bias"), ACTIVATION_MAX)
        self.out = _Dense(get("out.weight"), get("out.bias"), ACTIVATION_MAX)
        self.taps = [_known(self.count, p) for p in range(self.count)]
        self.spread_current = [spread_current.only(taps) for taps in self.taps]
        largest = int(log_table()[-1])
        self.neighbours = _depthwise(get("neighbours.weight"), INPUT_LIMIT)
        self.activity = _depthwise(get("activity.weight"), largest)
        self.constant = self.out.bias.astype(np.int32)[:, None]
        if self.refines:
            self.own = _depthwise(get("own.weight"), largest)
            by_class = mean, scale = tuple(_small(get(name)) for name in ("state_mean", "state_scale"))
            self.constant = self.constant + np.concatenate(by_class)[:, :1]
            # Where a value is not 0, its class alone decides.
            self.table_of_class, self.whole_of_class = choose_table(np.array([EVEN]), mean.ravel(), scale.ravel())

    def codes(self, latent: Ints, state: Ints, number: int | slice = slice(None)) -> Ints:
        """Codes that take the stage's channels from ``state`` to ``latent``.

        Args:
            latent, state: (k, H, W) the stage's channels alone, or (H, W) one of them.
            number: which of the stage's channels it is; all of them by default.
        """
        if not self.refines:
            return latent
        return np.where(state == 0, latent, np.abs(latent) - self.factor[number].astype(state.dtype) * np.abs(state))

    def apply(self, codes: Ints, state: Ints) -> None:
        """Bring ``state``, (latent, H, W), up to date with the stage's codes. Values beyond ``CODE_LIMIT``, which
        encoders never write, are clipped."""
        for channel, factor, code in zip(self.channels, self.factor[:, 0, 0], codes, strict=True):
            new = factor * state[channel].astype(np.int32)
            new += np.where(new < 0, np.negative(code, dtype=np.int32), code)  # codes of what is not 0 lead away from 0
            np.clip(new, -CODE_LIMIT, CODE_LIMIT, out=state[channel], casting="unsafe")

    def passes(
        self, codes: Ints, state: Ints, known: bool = False
    ) -> Iterator[tuple[Positions, Tables, NDArray[np.int8]]]:
        """Per pass: its positions (p,), and (k, p) the table and the mean's integer part of each code.

        ``codes``, (k, H, W), is read anew before each pass, so a decoder fills it in as it goes; ``known`` says that
        they are all there already.
        """
        height, width = state.shape[1:]
        areas = windows(height, width)
        before = self._look_back(state, areas) if self.prior_channels else None
        current = _blank(height, width, len(self.current.bias)) if self.count > 1 else None
        which = lattice(height, width, self.count).astype(np.int8).ravel()
        for p in range(self.count):
            positions = np.flatnonzero(which == p)
            if not len(positions):
                continue
            tables = np.empty((len(codes), len(positions)), np.int16)
            whole = np.empty((len(codes), len(positions)), np.int8)

            def predict(
                area: Window, p: int = p, positions: Positions = positions, tables: Any = tables, whole: Any = whole
            ) -> None:
                part = slice(*np.searchsorted(positions, (area.start, area.stop)))
                if part.start < part.stop:
                    hidden = self._hidden(before, current, _padded(positions[part], width), width, p)
                    predicted = self._predict(hidden, codes, state, area, area.inside(positions[part]), p)
                    tables[:, part], whole[:, part] = predicted

            for_each(predict, areas)
            yield positions, tables, whole
            if current is not None and p + 1 < self.count:
                self._look_around(codes, current, positions)

    def _look_back(self, state: Ints, areas: tuple[Window, ...]) -> Activations:
        """``before`` of all positions, with a border of zeros."""
        assert self.before is not None
        assert self.gather_before is not None
        height, width = state.shape[1:]
        single, gathered = (_blank(height, width, len(self.before.bias)) for _ in range(2))

        def dense(area: Window) -> None:
            assert self.before is not None
            total = state[: self.prior_channels, area.rows, area.columns] * self.step_in_finest_units
            features = _features(total.reshape(self.prior_channels, -1))
            single[area.padded] = relu(self.before(features)).reshape(*area.shape, -1)

        def gather(area: Window) -> None:
            assert self.gather_before is not None
            at = _padded(np.arange(area.start, area.stop), width)
            gathered[area.padded] = relu(self.gather_before(single, at, width)).reshape(*area.shape, -1)

        for_each(dense, areas)
        for_each(gather, areas)
        return gathered

    def _look_around(self, codes: Ints, current: Activations, positions: Positions) -> None:
        """Fill in ``current`` where a pass has told its codes."""
        width = codes.shape[2]
        flat, cells = codes.reshape(len(codes), -1), current.reshape(-1, current.shape[2])

        def dense(part: slice) -> None:
            at = positions[part]
            cells[_padded(at, width)] = relu(self.current(_features(np.take(flat, at, 1))))

        size = Window.SIZE
        for_each(dense, [slice(i, i + size) for i in range(0, len(positions), size)])

    def _hidden(
        self, before: Activations | None, current: Activations | None, at: Positions, width: int, p: int
    ) -> Whole:
        """Features of which the last layers make means and scales, (positions, channels)."""
        sums = []
        if before is not None and self.spread_before is not None:
            sums.append(self.spread_before(before, at, width))
        if current is not None and self.taps[p]:
            sums.append(self.spread_current[p](current, at, width))
        hidden: Whole = sums.pop() if sums else np.zeros((len(at), self.by_pass.shape[1]), np.float32)
        for more in (*sums, self.by_pass[p]):
            hidden += more
        return relu(self.mix(relu(hidden)))

    def _predict(
        self, hidden: Whole, codes: Ints, state: Ints, area: Window, at: Positions, p: int
    ) -> tuple[Ints, Ints]:
        """Tables and the means' integer parts, (k, positions) each, at some positions of a window."""
        # Not float32 from here on: these sums may pass 2^24, but 32 bits hold them.
        out = (self.out.transposed @ hidden.T).astype(np.int32)
        out += self.constant
        mean, scale = out[: len(codes)], out[len(codes) :]
        if self.taps[p]:
            near = _clip(area.cut(codes))
            mean += ACTIVATION_SCALE * _weigh(near, self.neighbours, at, self.taps[p])
            scale += _weigh(compand(near), self.activity, at, self.taps[p])
        if not self.refines:
            return choose_table(self.family, mean, scale)
        old = area.cut(state, self.channels)
        scale += _weigh(compand(_clip(old)), self.own, at, EVERY)
        tables, whole = choose_table(self.family, mean, scale)
        member = np.minimum(np.abs(np.take(old.reshape(len(old), -1), at, 1)), CLASSES - 1).ravel()
        split = np.flatnonzero(member)
        number = split // len(at) * CLASSES + member[split]
        tables.ravel()[split] = self.table_of_class[number]
        whole.ravel()[split] = self.whole_of_class[number]
        return tables, whole


class _Dense:
    """(positions, inputs) integers -> (positions, outputs) integers."""

    def __init__(self, weight: NDArray[np.int64], bias: NDArray[np.int64], largest: int) -> None:
        _check(np.abs(weight).sum(1) * largest + np.abs(bias))
        self.transposed = np.ascontiguousarray(weight, np.float32)
        self.weight = np.ascontiguousarray(weight.T, np.float32)
        self.bias = bias.astype(np.float32)

    def __call__(self, x: Whole) -> Whole:
        product: Whole = x @ self.weight
        product += self.bias
        return product


class _Convolution3x3:
    """3x3 convolution of a padded (h + 2, w + 2, inputs) map, evaluated at chosen positions only."""

    def __init__(self, weight: NDArray[np.int64], bias: NDArray[np.int64] | None = None) -> None:
        self.bias = None if bias is None else bias.astype(np.float32)
        self.bound = np.abs(weight).sum((1, 2, 3)) * ACTIVATION_MAX + (0 if bias is None else np.abs(bias))
        _check(self.bound)
        self.inputs = weight.shape[1]
        # (outputs, inputs, 3, 3) -> nine (inputs, outputs) matrices
        self._nine = weight.transpose(2, 3, 1, 0).reshape(len(OFFSETS), self.inputs, -1)
        self._use(EVERY)

    def only(self, taps: list[int]) -> _Convolution3x3:
        """Sum for maps that are zero, or count as zero, everywhere but at these taps."""
        result = copy.copy(self)
        result._use(taps)
        return result

    def _use(self, taps: list[int]) -> None:
        self.offsets = [OFFSETS[tap] for tap in taps]
        self._product = ByteProduct(self._nine[taps].reshape(len(taps) * self.inputs, self._nine.shape[2]))

    def __call__(self, padded: Activations, at: Positions, width: int) -> Whole:
        """At positions of the padded map, flattened."""
        around = np.array([dy * (width + 2) + dx for dy, dx in self.offsets])
        near = np.take(padded.reshape(-1, self.inputs), at[:, None] + around, 0)
        product = self._product(near.reshape(len(at), -1))
        if self.bias is not None:
            product += self.bias
        return product


def _known(count: int, p: int) -> list[int]:
    """Taps of a 3x3 kernel where the passes before ``p`` have told their codes: the same at each of its positions."""
    which = lattice(6, 6, count)
    row, column = np.argwhere(which[2:4, 2:4] == p)[0] + 2
    return [tap for tap, (dy, dx) in enumerate(OFFSETS) if which[row + dy, column + dx] < p]


def _depthwise(weight: NDArray[np.int64], largest: int) -> Whole:
    """(k, 3, 3) -> (k, 1, 9)."""
    _check(np.abs(weight).sum((1, 2)) * largest)
    return weight.reshape(len(weight), 1, -1).astype(np.float32)


def _weigh(cut: Whole, weight: Whole, at: Positions, taps: list[int]) -> NDArray[np.int32]:
    """3x3 depthwise convolution of a window with its border (k, rows + 2, columns + 2), at some of its positions."""
    around = np.array([OFFSETS[tap][0] * cut.shape[2] + OFFSETS[tap][1] for tap in taps])
    near = np.take(cut.reshape(len(cut), -1), around[:, None] + at, 1)
    return np.matmul(weight[..., taps], near)[:, 0].astype(np.int32)


def _features(codes: Ints) -> Whole:
    """(c, positions) codes -> (positions, 2c): clipped values, companded magnitudes."""
    both = np.empty((2 * len(codes), codes.shape[1]), np.float32)
    both[: len(codes)] = clipped = _clip(codes)
    both[len(codes) :] = compand(clipped)
    return both.T


def _clip(codes: Ints) -> Whole:
    """Codes as the network reads them, clipped to ``INPUT_LIMIT``."""
    return np.clip(codes, -INPUT_LIMIT, INPUT_LIMIT).astype(np.float32)


def _blank(height: int, width: int, count: int) -> Activations:
    return np.zeros((height + 2, width + 2, count), np.uint8)


def _padded(positions: Positions, width: int) -> Positions:
    """Indices into the flattened map with a border of one."""
    return positions + 2 * (positions // width) + (width + 3)


def _small(values: NDArray[np.int64]) -> NDArray[np.int32]:
    if np.abs(values).max() >= 1 << 30:
        raise _inexact()
    return values.astype(np.int32)


def _check(bound: NDArray[np.int64]) -> None:
    if int(bound.max()) >= EXACT:
        raise _inexact()


def _inexact() -> BadFileError:
    return BadFileError("The model's entropy weights are too large to be exact: export the model again.")
