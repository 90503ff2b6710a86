"""The entropy model's network of one stage as the format's formulas say it: int64, position by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.stage_network import log_table
from beholder.codecs.rnn.entropy.tables import EVEN, family
from beholder.codecs.rnn.layout import Layout, lattice

Ints = NDArray[np.int64]


def passes(
    arrays: Mapping[str, NDArray[Any]], layout: Layout, stage: int, codes: Ints, now: Ints
) -> Iterator[tuple[NDArray[np.bool_], Ints, Ints]]:
    """Per pass: which positions, and (k, h, w) the table and the mean's integer part of every position."""
    w = {
        name.partition(".")[2]: array.astype(np.int64) for name, array in arrays.items() if name.startswith(f"{stage}.")
    }
    seen, channels, count = layout.prior_channels(stage), layout.stages[stage].channels, layout.stages[stage].passes
    old = np.abs(now[channels])
    which = lattice(*now.shape[1:], count)
    before = dense(
        features(now[:seen] * layout.step_in_finest_units(stage)[:seen, None, None]),
        w["before.weight"],
        w["before.bias"],
    )
    before = relu(conv(relu(before), w["gather_before.weight"]) + w["gather_before.bias"][:, None, None])
    for p in range(count):
        known = which < p
        near = features(codes * known)
        current = relu(dense(near, w["current.weight"], w["current.bias"])) * known
        hidden = conv(before, w["spread_before.weight"]) + conv(current, w["spread_current.weight"])
        hidden = relu(hidden + w["by_pass"][p][:, None, None])
        out = dense(relu(dense(hidden, w["mix.weight"], w["mix.bias"])), w["out.weight"], w["out.bias"])
        mean, scale = np.split(out, 2)
        mean = mean + 32 * depthwise(near[: len(codes)], w["neighbours.weight"])
        scale = scale + depthwise(near[len(codes) :], w["activity.weight"])
        kind = np.broadcast_to(family(layout, stage)[:, None, None], mean.shape)
        if "own.weight" in w:
            scale = scale + depthwise(log_table()[np.minimum(old, 511)], w["own.weight"])
            member = np.minimum(old, 3)
            states = (w[name][np.arange(len(codes))[:, None, None], member] for name in ("state_mean", "state_scale"))
            mean, scale = (np.where(member == 0, x, 0) + state for x, state in zip((mean, scale), states, strict=True))
            kind = np.where(member == 0, kind, EVEN)
        even = np.clip((2 * 16 * mean + 8192) // (2 * 8192), -127 * 16, 127 * 16)
        eighths = np.clip((2 * 8 * mean + 8192) // (2 * 8192) + 8, 0, 15)
        index = np.clip(4 * scale // 8192 + 32, 0, 63)
        part = np.where(kind == EVEN, even % 16, eighths)
        yield which == p, (kind * 64 + index) * 16 + part, np.where(kind == EVEN, even // 16, 0)


def features(codes: Ints) -> Ints:
    clipped = np.clip(codes, -511, 511)
    return np.concatenate([clipped, log_table()[np.abs(clipped)]])


def relu(x: Ints) -> Ints:
    return np.clip(x // 256, 0, 255)


def dense(x: Ints, weight: Ints, bias: Ints) -> Ints:
    return np.einsum("oi,ihw->ohw", weight, x) + bias[:, None, None]


def conv(x: Ints, weight: Ints) -> Ints:
    return sum(np.einsum("oi,ihw->ohw", weight[:, :, dy, dx], moved) for dy, dx, moved in around(x))


def depthwise(x: Ints, weight: Ints) -> Ints:
    return sum(weight[:, dy, dx, None, None] * moved for dy, dx, moved in around(x))


def around(x: Ints) -> Iterator[tuple[int, int, Ints]]:
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return ((dy, dx, padded[:, dy : dy + height, dx : dx + width]) for dy in range(3) for dx in range(3))
