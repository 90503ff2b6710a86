"""The entropy model of a block's activity, mean colours and slopes: interpolation from coarse to fine, in integers.

These six low-frequency channels show the picture at 1/16 of its size. Its positions are coded as in a pyramid. Every
32nd in both directions comes first. Then the distance ``s`` halves from 16 to 1. For each ``s``, corners predict the
centres of the known squares. Then the four positions next to it predict the middle of each side.

    x    = a channel's values in sixteenths of this very block's step
    ref  = mean of x over the neighbours that lie in the picture
    d    = [x of each neighbour - ref; for channels before: x of each neighbour - x here; ref]
    h    = relu(W1[kind] . [clip(d), log|d / 4|, activity here and at the neighbours] + bias[pass])
    mean, scale = W3 . relu(W2 . h)
    mean += ref + W4[kind] . clip(d)              kind: corners or sides

Steps grow with a block's activity, so what neighbours hold is worth a different number of steps here: only in one
unit can they predict (docs/codec.md). :mod:`.rounding` defines ``relu`` and the units of the weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.rounding import (
    ACTIVATION_SCALE,
    INPUT_LIMIT,
    UNIT,
    WEIGHT_SCALE,
    Ints,
    choose_table,
    log_table,
    relu,
    round_half_up,
)
from beholder.codecs.rnn.entropy.stage_network import Tables
from beholder.codecs.rnn.entropy.tables import DEAD_ZONE, EVEN, MEAN_SCALE
from beholder.codecs.rnn.layout import MASKING_POWER, Layout
from beholder.threads import for_each

Positions = tuple[NDArray[np.int32], NDArray[np.int32]]

SPACING = 32
"""Distance of the positions that are coded first."""
NEAR = 4
LINEAR_LIMIT = 2047
"""Differences are clipped to this many sixteenths of a step."""
MOST_ACTIVITY = 15
CHUNK = 4096
"""Positions whose codes are predicted together."""
MASKS = np.round(16 * np.exp2(np.arange(MOST_ACTIVITY + 1) * MASKING_POWER)).astype(np.int64)
"""By how much an activity code coarsens the steps, in sixteenths."""


@dataclass(frozen=True)
class Pass:
    """Positions coded together: ``where``, (p,) each, and their four neighbours, (p, 4) each, where they are
    ``valid``; ``kind`` 1 if these are corners, else 0."""

    where: Positions
    near: Positions
    valid: NDArray[np.bool_]
    kind: int

    def cut(self, part: slice) -> Pass:
        """Some of its positions."""
        where, near = (tuple(axis[part] for axis in axes) for axes in (self.where, self.near))
        return Pass((where[0], where[1]), (near[0], near[1]), self.valid[part], self.kind)


@functools.lru_cache(maxsize=2)
def pyramid(height: int, width: int) -> tuple[Pass, ...]:
    """All passes, in order; some may be empty."""

    def at(row: int, column: int, step: int) -> Positions:
        rows, columns = np.mgrid[row:height:step, column:width:step].astype(np.int32)
        return rows.ravel(), columns.ravel()

    size = (height, width)
    passes = [_pass(at(0, 0, SPACING), ((0, 0),) * NEAR, 1, size)]
    s = SPACING // 2
    while s:
        passes.append(_pass(at(s, s, 2 * s), ((-s, -s), (-s, s), (s, -s), (s, s)), 1, size))
        rows, columns = (np.concatenate(axes) for axes in zip(at(s, 0, 2 * s), at(0, s, 2 * s), strict=True))
        order = np.lexsort((columns, rows))
        passes.append(_pass((rows[order], columns[order]), ((-s, 0), (0, -s), (0, s), (s, 0)), 0, size))
        s //= 2
    return tuple(passes)


@functools.lru_cache(maxsize=4)
def _joined(height: int, width: int, kind: int) -> Pass:
    """All positions of the passes of one kind, in order."""
    steps = [step for step in pyramid(height, width) if step.kind == kind]
    where, near = (
        (np.concatenate([getattr(s, name)[0] for s in steps]), np.concatenate([getattr(s, name)[1] for s in steps]))
        for name in ("where", "near")
    )
    return Pass(where, near, np.concatenate([s.valid for s in steps]), kind)


def _pass(where: Positions, offsets: tuple[tuple[int, int], ...], kind: int, size: tuple[int, int]) -> Pass:
    near = tuple(axis[:, None] + np.array([o[i] for o in offsets], np.int32) for i, axis in enumerate(where))
    valid = (near[0] >= 0) & (near[0] < size[0]) & (near[1] >= 0) & (near[1] < size[1])
    if offsets[0] == (0, 0):
        valid[:] = False
    inside = (np.clip(near[0], 0, size[0] - 1), np.clip(near[1], 0, size[1] - 1))
    return Pass(where, inside, valid, kind)


def count_features(before: int) -> tuple[int, int]:
    """Number of differences, and of inputs in all, of a channel that comes after ``before`` others, the activity
    included."""
    differences = NEAR * max(before, 1) + 1
    return differences, 2 * differences + (NEAR + 1 if before else 0)


def inputs(
    planes: list[Any], step: Pass, xp: Any = np, constant: Callable[[NDArray[Any]], Any] = lambda array: array
) -> tuple[Any, Any, Any]:
    """Inputs of the network of one pass.

    Args:
        planes: (..., H, W) integer codes of the low-frequency channels in coding order, the last being the one that is
            coded.
        step: the pass.
        xp: numpy, or torch if the planes are its tensors.
        constant: makes them from NumPy's arrays.

    Returns:
        reference (..., p) and differences (..., p, d), in sixteenths of a step; all inputs (..., p, n).
    """
    first = len(planes) == 1
    where, near = (tuple(constant(axis) for axis in axes) for axes in (step.where, step.near))
    valid, known = constant(step.valid), constant(np.maximum(step.valid.sum(1), 1))

    def get(plane: Any, place: tuple[Any, Any]) -> Any:
        values = plane[(..., *place)]
        return values.astype(np.int64) if xp is np else values

    activities = [xp.clip(get(planes[0], place), 0, MOST_ACTIVITY) for place in (where, near)]
    masks = [xp.ones_like(activity) if first else constant(MASKS)[activity] for activity in activities]
    own = masks[0]

    def from_finest(plane: Any, place: tuple[Any, Any], mask: Any, own: Any) -> Any:
        # A truncated code stands for the middle of its cell.
        codes = get(plane, place)
        halves = 2 * codes if first else 2 * codes + xp.sign(codes)
        return (MEAN_SCALE // 2 * (halves * mask)) // own

    x = from_finest(planes[-1], near, masks[1], own[..., None])
    reference = xp.where(valid, x, 0).sum(-1) // known
    parts = [xp.where(valid, x - reference[..., None], 0)]
    for plane in planes[1:-1]:
        around = from_finest(plane, near, masks[1], own[..., None])
        parts.append(xp.where(valid, around - from_finest(plane, where, own, own)[..., None], 0))
    parts.append(reference[..., None])
    differences = xp.clip(xp.concatenate(parts, -1), -LINEAR_LIMIT, LINEAR_LIMIT)
    every = [xp.clip(differences, -INPUT_LIMIT, INPUT_LIMIT), constant(log_table())[xp.abs(differences) // 4]]
    if not first:
        here = activities[0][..., None]
        every += [ACTIVATION_SCALE // 2 * x for x in (here, xp.where(valid, activities[1], here))]
    return reference, differences, xp.concatenate(every, -1)


def before(layout: Layout, stage: int) -> list[int]:
    """The low-frequency channels that are coded before a stage, in coding order."""
    return [c for earlier in layout.stages[:stage] if earlier.pyramid for c in earlier.channels.tolist()]


class PyramidNetwork:
    """The integer network of one stage; interface and arguments as those of :class:`.stage_network.StageNetwork`."""

    factor: Ints = np.ones((1, 1, 1), np.int64)

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout, stage: int) -> None:
        self.channels = layout.stages[stage].channels
        self.earlier = before(layout, stage)
        # Doubles: sums stay far below 2^53 whatever 16-bit weights there are, so they are exact.
        self._weights = {
            name: arrays[f"{stage}.{name}"].astype(np.float64)
            for name in ("by_pass", "enter.weight", "mix.weight", "mix.bias", "out.weight", "out.bias", "linear.weight")
        }

    def codes(self, latent: Ints, state: Ints, number: int | slice = slice(None)) -> Ints:
        """The channel's codes (1, H, W) from its latent (1, H, W)."""
        return latent

    def apply(self, codes: Ints, state: Ints) -> None:
        """Bring ``state`` (latent, H, W) up to date with the channel's codes (1, H, W)."""
        state[self.channels] = codes

    def passes(
        self, codes: Ints, state: Ints, known: bool = False
    ) -> Iterator[tuple[NDArray[np.intp], Tables, NDArray[np.int8]]]:
        """As :meth:`.stage_network.StageNetwork.passes`; ``known`` codes are predicted together, in a third of
        the time."""
        planes = [*(state[c] for c in self.earlier), codes[0]]
        size = state.shape[1:]
        ahead = self._predict_kinds(planes, size) if known else None
        for number, step in enumerate(pyramid(*size)):
            count = len(step.where[0])
            if not count:
                continue
            if ahead is None:
                tables, integers = self._predict_all(planes, step, np.full(count, number))
            else:
                begins, tables, integers = ahead[step.kind]
                part = slice(begins[number], begins[number] + count)
                tables, integers = tables[:, part], integers[:, part]
            yield np.ravel_multi_index(step.where, size), tables, integers

    def _predict_kinds(
        self, planes: list[Ints], size: tuple[int, ...]
    ) -> dict[int, tuple[dict[int, int], Tables, NDArray[np.int8]]]:
        """For the passes of each kind, where each begins, and the predictions of all."""
        result = {}
        for kind in (0, 1):
            steps = [(number, step) for number, step in enumerate(pyramid(*size)) if step.kind == kind]
            counts = [len(step.where[0]) for _, step in steps]
            begin = dict(zip((number for number, _ in steps), np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
            numbers = np.repeat([number for number, _ in steps], counts)
            result[kind] = (begin, *self._predict_all(planes, _joined(size[0], size[1], kind), numbers))
        return result

    def _predict_all(self, planes: list[Ints], step: Pass, numbers: Ints) -> tuple[Tables, NDArray[np.int8]]:
        """Tables and the means' integer parts, (1, p) each, at all positions of ``step``."""
        tables = np.empty((1, len(numbers)), np.int16)
        integers = np.empty((1, len(numbers)), np.int8)

        def predict(part: slice) -> None:
            tables[0, part], integers[0, part] = self._predict(planes, step.cut(part), numbers[part])

        for_each(predict, [slice(i, i + CHUNK) for i in range(0, len(numbers), CHUNK)])
        return tables, integers

    def _predict(self, planes: list[Ints], step: Pass, numbers: Ints) -> tuple[Ints, Ints]:
        """Tables and the means' integer parts at some positions, (p,), of passes of one kind that ``numbers`` names."""
        w = self._weights
        width = w["by_pass"].shape[1]
        reference, differences, every = inputs(planes, step)
        half = slice(step.kind * width, (step.kind + 1) * width)
        hidden = relu(every @ w["enter.weight"][half].T + w["by_pass"][numbers])
        hidden = relu(hidden @ w["mix.weight"].T + w["mix.bias"])
        more, scale = (hidden @ w["out.weight"].T + w["out.bias"]).T.astype(np.int64)
        more += UNIT // MEAN_SCALE // WEIGHT_SCALE * (differences @ w["linear.weight"][step.kind]).astype(np.int64)
        mean = reference + round_half_up(more, UNIT // MEAN_SCALE)
        return choose_table(*kind_and_mean(mean, plain=not self.earlier), scale, unit=MEAN_SCALE)


def kind_and_mean(mean: Ints, plain: bool) -> tuple[Ints, Ints]:
    """Families of the tables that code truncated values, and the mean that each table is to have, (p,) each.

    Args:
        mean: (p,) in sixteenths of a step.
        plain: of codes that are rounded, not truncated: the activity's.
    """
    if plain:
        return np.full_like(mean, EVEN), mean
    # Around 0 truncation makes one cell of two; beyond it, cells begin half a step nearer to 0.
    wide = np.abs(mean) < MEAN_SCALE
    nearer = np.sign(mean) * np.maximum(np.abs(mean) - MEAN_SCALE // 2, 0)
    return np.where(wide, DEAD_ZONE, EVEN), np.where(wide, mean, nearer)
