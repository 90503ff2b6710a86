"""Units of the entropy model's integer networks, and the one place that rounds their activations and predictions.

Weights are integers in units of 1/256, activations in units of 1/32, so sums of products in units of 1/8192.
:mod:`beholder.codecs.rnn.torch.entropy.integers` computes the same in floating point, for training.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.tables import DEAD_ZONE_MEAN_SCALE, EVEN, MEAN_LIMIT, MEAN_SCALE, MEANS, SCALES

Ints = NDArray[Any]
"""Integers of any width: latents and codes are int16 at run time."""
Whole = NDArray[Any]
"""Integers held as float32 (below 2^24) or float64 (below 2^53): exact, and several times faster than int64."""

ACTIVATION_SCALE = 32
"""Activations are integers in units of 1/32."""
ACTIVATION_MAX = 255
WEIGHT_SCALE = 256
"""Weights are integers in units of 1/256."""
UNIT = WEIGHT_SCALE * ACTIVATION_SCALE
"""Sums of products of the two are integers in units of 1/8192."""
SCALE_STEPS = 4
"""Neighbouring tables of a family are 1/4 of the network's output apart."""
INPUT_LIMIT = 511
"""Codes are clipped to this magnitude before they enter the network."""


@functools.cache
def log_table() -> NDArray[np.int64]:
    """round(32 log2(1 + i)), (512,): companded magnitudes, shared by training and run time."""
    return np.round(ACTIVATION_SCALE * np.log2(1.0 + np.arange(INPUT_LIMIT + 1))).astype(np.int64)


def relu(x: Whole) -> Whole:
    """Activations, 0 to 255, of sums in units of 1/8192, any shape: rounded down to units of 1/32, in place."""
    x *= 1 / WEIGHT_SCALE  # dividing by a power of two is exact
    np.floor(x, out=x)
    return np.clip(x, 0, ACTIVATION_MAX, out=x)


def round_half_up(x: Ints, unit: int) -> Ints:
    """Nearest multiples of ``unit``, a power of two, divided by it; any shape, halves go up."""
    return (x + unit // 2) // unit


def choose_table(kind: Ints, mean: Ints, scale: Ints, unit: int = UNIT) -> tuple[Ints, Ints]:
    """Numbers of the tables that code predicted values, and the means' integer parts: (k, positions) each.

    Args:
        kind: family of tables; its shape broadcasts to (k, positions).
        mean: (k, positions) in units of 1/``unit`` of a step.
        scale: (k, positions) the network's output in units of 1/8192, 0 for the middle of a family's scales.
        unit: a multiple of 16.
    """
    even = np.clip(round_half_up(mean, unit // MEAN_SCALE), -MEAN_LIMIT * MEAN_SCALE, MEAN_LIMIT * MEAN_SCALE)
    part = np.clip(round_half_up(mean, unit // DEAD_ZONE_MEAN_SCALE) + MEANS // 2, 0, MEANS - 1)
    index = np.clip(scale // (UNIT // SCALE_STEPS) + SCALES // 2, 0, SCALES - 1)
    is_even = kind == EVEN
    part = np.where(is_even, even % MEAN_SCALE, part)
    return (kind * SCALES + index) * MEANS + part, np.where(is_even, even // MEAN_SCALE, 0)
