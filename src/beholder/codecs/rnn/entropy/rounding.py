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


def compand(x: Whole) -> Whole:
    """:func:`log_table` of the magnitudes of float32 whole numbers, any shape, from -511 to 511.

    No logarithm there lies nearer than .0006 to what rounds the other way, so every processor finds the same, in a
    third of the time that looking it up takes.
    """
    result: Whole = np.abs(x)
    result += 1
    np.log2(result, out=result)
    result *= ACTIVATION_SCALE
    return np.rint(result, out=result)


def relu(x: Whole) -> Whole:
    """Activations, 0 to 255, of sums in units of 1/8192, any shape: rounded down to units of 1/32, in place."""
    x *= 1 / WEIGHT_SCALE  # dividing by a power of two is exact
    np.floor(x, out=x)
    return np.clip(x, 0, ACTIVATION_MAX, out=x)


def round_half_up(x: Ints, unit: int) -> Ints:
    """Nearest multiples of ``unit``, a power of two, divided by it; any shape, halves go up."""
    result: Ints = x + unit // 2
    result //= unit
    return result


def choose_table(kind: Ints, mean: Ints, scale: Ints, unit: int = UNIT) -> tuple[Ints, Ints]:
    """Numbers of the tables that code predicted values, and the means' integer parts: (k, positions) each.

    Args:
        kind: family of tables; its shape broadcasts to (k, positions).
        mean: (k, positions) in units of 1/``unit`` of a step.
        scale: (k, positions) the network's output in units of 1/8192, 0 for the middle of a family's scales.
        unit: a multiple of 16.
    """
    part = round_half_up(mean, unit // DEAD_ZONE_MEAN_SCALE)
    part += MEANS // 2
    np.clip(part, 0, MEANS - 1, out=part)
    index = scale // (UNIT // SCALE_STEPS)
    index += SCALES // 2
    np.clip(index, 0, SCALES - 1, out=index)
    whole = np.zeros_like(part)
    is_even = kind == EVEN
    if is_even.any():
        even = np.clip(round_half_up(mean, unit // MEAN_SCALE), -MEAN_LIMIT * MEAN_SCALE, MEAN_LIMIT * MEAN_SCALE)
        part = np.where(is_even, even % MEAN_SCALE, part)
        whole = np.where(is_even, even // MEAN_SCALE, 0)
    index += kind * SCALES
    index *= MEANS
    index += part
    return index, whole
