"""Latent optimisation in the encoder (``--effort``) and in training: better codes in files that any decoder reads.

Gradients through the decoder show which codes lower the observer's distortion in this very image. See Campos et al.,
"Content adaptive optimization for neural image compression", 2019, and Yang, Bamler and Mandt, "Improving inference
for neural image compression", 2020. Adam minimises

    d(alpha) + lambda_rd * bits per pixel,    d(alpha) = (1 - alpha) d_human + alpha d_machine

with the distortions of training and a Lagrange multiplier at which files hardly grow.  Where the result is no better
than the start, the start is kept.

During optimisation codes are real numbers.  The decoder sees them rounded softly (Agustsson and Theis, "Universally
quantized neural compression", 2020), closer to whole numbers in later rounds.  Their rate is that of the nearest whole
number, with the difference to the other neighbour as its gradient.  Before the last rounds, codes that are undecided
are rounded for good, half of them at a time (docs/log/2026-11-27-settling.md).

An :class:`~.objective.Objective` gives distortion and rate: :mod:`.human` for alpha 0 and :mod:`.machine` above it with
NumPy and ONNX Runtime, :mod:`beholder.codecs.rnn.torch.objective` for any alpha with torch in training.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.optimise.objective import Floats, Objective, OptimiserSchedule
from beholder.codecs.rnn.tiles import Pixels
from beholder.threads import one_blas_thread

WINDOW = 24
"""Side, in blocks, of the windows that are optimised one by one (384 pixels): memory does not grow with the image.
Gradients through the picture network take 0.2 MB a block of a window and its margin.  A photograph of 12 megapixels at
effort 1 takes at most 690 MB in windows of 32 blocks, 600 MB are its limit."""
UNDIVIDED = 48
"""Pictures of sides up to so many blocks are not divided: their margins would take more time than memory is worth."""
MARGIN = 4
"""Blocks around a window that are decoded with it and stay as they are."""
SMALLEST = 4
"""Blocks; smaller pictures are too small for MS-SSIM and for classifiers."""
SQUARE_DECAY = 0.95
"""Adam's decay rate of the gradient's square."""
MACHINE_EPSILON = (0.3, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Adam's epsilon for a machine after each iteration, in root mean squares of the first gradient.  Most fine codes
hardly matter to a machine, and a smaller epsilon moves them by noise."""
MACHINE_LAMBDA = 1.5
"""Lagrange multiplier times the image's bits per pixel, for machines."""
UNDECIDED = 0.08
"""Distance from a whole number, as the decoder sees a code during optimisation, from which it is undecided."""
LEAST_BPP = 0.02
"""Rate below which the Lagrange multiplier no longer grows."""


def improve(
    objective: Callable[[NDArray[np.uint8]], Objective],
    schedule: OptimiserSchedule,
    pixels: Pixels,
    latent: Floats,
    gains: Sequence[Floats],
    alpha: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """Optimise the latent of one picture window by window; deterministic.

    Args:
        objective: makes the objective of a window of the picture, (3, 16H, 16W) uint8.
        schedule: rounds and step sizes.
        pixels: (3, 16H, 16W) uint8.
        latent: (C, H, W) of the analysis; overwritten with the result.
        gains: (C, 1, 1) for each iteration that will be sent: 1 / step, or 0 where nothing has been coded.
        alpha: the observer.
        progress: called after each round of each window with the number of rounds done, and of all.

    Returns:
        ``latent``.
    """
    height, width = latent.shape[1:]
    if min(height, width) < SMALLEST:
        return latent
    size = max(height, width) if max(height, width) <= UNDIVIDED else WINDOW
    windows = [(rows, columns) for rows in _windows(height, size) for columns in _windows(width, size)]
    rounds = 0

    def over() -> None:
        nonlocal rounds
        rounds += 1
        progress(rounds, schedule.rounds * len(windows))

    # NumPy's products are small: more threads would be in each other's way, and round otherwise.
    with one_blas_thread():
        for inner in windows:
            _trim_heap()
            outer = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in inner)
            rows, columns = (
                slice(s.start * BLOCK, min(s.stop * BLOCK, n)) for s, n in zip(outer, pixels.shape[1:], strict=True)
            )
            start = np.ascontiguousarray(latent[:, *outer])
            own = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
            free = np.zeros_like(start[None, :1])
            free[:, :, *own] = 1
            window = objective(np.ascontiguousarray(pixels[:, rows, columns]))
            found = descend(window, start[None], free, gains, alpha, schedule, over)
            latent[:, *inner] = found[0][:, *own]
            del window, found  # before the next window is made
    _trim_heap()
    return latent


def _trim_heap() -> None:
    """Give unused memory back to the system, where glibc would keep what lies between pieces in use."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none


def descend(
    objective: Objective,
    start: Floats,
    free: Floats,
    gains: Sequence[Floats],
    alpha: float,
    schedule: OptimiserSchedule,
    over: Callable[[], None] = lambda: None,
) -> Floats:
    """Optimise the latents of a batch: for each sample the better of its start and where Adam ends.

    Args:
        objective: of the batch.
        start: latents, (N, C, H, W).
        free: (N, 1, H, W), 1 where codes may move.
        gains: (C, 1, 1) for each iteration that will be sent: 1 / step, or 0 where nothing has been coded.
        alpha: the observer, the same for all samples.
        schedule: rounds and step sizes.
        over: called after each round.

    Returns:
        Latents (N, C, H, W) that lie well inside the cells of their codes.
    """
    t = len(gains) - 1
    coded = gains[-1] > 0
    gain = np.where(coded, gains[-1], np.float32(1))
    step_ratios = [g / gain for g in gains]

    def between(human: float, machine: float) -> float:
        return human + alpha * (machine - human)

    def latents(codes: Floats) -> list[Floats]:
        return [np.trunc(codes * ratio) for ratio in step_ratios]

    free = free * coded
    free[:, 0] = 0  # the activity decides the steps of all other codes
    scaled = start * gain * coded
    begun: Floats = np.trunc(scaled)
    # Within a cell, codes begin on their own side of it: rounding gives what truncation gave.
    place: Floats = np.where(begun == 0, scaled / 2, scaled - np.float32(0.5) * np.sign(scaled))
    codes: Floats = np.where(free > 0, place, begun)
    area = start[0, 0].size * BLOCK**2
    adam = _Adam(codes.shape, (schedule.momentum, SQUARE_DECAY))
    wide, narrow = schedule.softness

    # Rate estimates and pictures do not wait for each other, and both release the interpreter.
    with ThreadPoolExecutor(2) as pool:
        whole = latents(begun)
        coming = pool.submit(objective.rate_estimate, whole)
        distortion = objective.distortion(whole) if schedule.guarded else np.zeros(len(start))
        estimate = coming.result()
        bits = estimate.bits(whole)
        multiplier = between(schedule.human_lambda[t], MACHINE_LAMBDA)
        lambda_rd = multiplier / np.maximum(bits / area, LEAST_BPP) / area
        before = lambda_rd * bits + distortion
        rate_weight = lambda_rd.astype(np.float32)[:, None, None, None]
        softness, moving = wide, free
        for number in range(schedule.rounds):
            if number >= schedule.rounds - schedule.settling:
                codes, moving = _settle(codes, moving, softness)
            softness = wide * (narrow / wide) ** (number / max(schedule.rounds - 1, 1))
            low, curve, height = _rounding(codes, softness)
            hard: Floats = np.where(moving > 0, np.round(codes), codes)
            soft: Floats = np.where(moving > 0, low + np.float32(0.5) + height * curve, codes)
            whole = latents(hard)
            # A new estimate is made while rounds go on, and used when half of their time is over.
            if number and number % schedule.refresh == 0:
                coming = pool.submit(objective.rate_estimate, whole)
            if number >= schedule.refresh and number % schedule.refresh == schedule.refresh // 2:
                estimate = coming.result()
            direction = np.where(hard > low, np.float32(-1), np.float32(1))
            by_rate = pool.submit(estimate.rate_gradient, whole, direction)
            gradient = objective.gradient(soft, whole)
            for rate_gradient, ratio in zip(by_rate.result(), step_ratios, strict=True):
                gradient += rate_gradient * (ratio * rate_weight)
            gradient *= moving
            gradient *= (1 - curve * curve) * (height / np.float32(2 * softness))
            if number == 0:
                adam.epsilon = _epsilon(gradient, moving, (1 - alpha) * schedule.epsilon, alpha * MACHINE_EPSILON[t])
            codes = codes - np.float32(schedule.rate * (1 - number / schedule.rounds)) * adam.step(gradient)
            over()
        end: Floats = np.round(codes)
        whole = latents(end)
        better = np.ones(len(start), bool)
        if schedule.guarded:
            better = lambda_rd * estimate.bits(whole) + objective.distortion(whole) < before
    # Inside the cells, so that no rounding error moves a code.
    inside = (end + np.float32(0.3) * np.sign(end)) / gain
    return np.where(better[:, None, None, None] & (free > 0), inside, start)


def _rounding(codes: Floats, softness: float) -> tuple[Floats, Floats, np.float32]:
    """Whole numbers below ``codes``, and ``curve`` and ``height``: soft rounding adds .5 + height * curve to them."""
    low: Floats = np.floor(codes)
    # In double precision: NumPy's vector instructions round the tangent's last bit otherwise.
    curve = np.tanh((codes - low - np.float32(0.5)).astype(np.float64) / (2 * softness)).astype(np.float32)
    return low, curve, np.float32(1 / (2 * math.tanh(0.25 / softness)))


def _settle(codes: Floats, moving: Floats, softness: float) -> tuple[Floats, Floats]:
    """Round the half of each sample's undecided codes that is nearer to whole numbers; these move no more.

    Between whole numbers a code tells more than a file can hold, and the optimisation leaves many there. Those that
    still move make up for what rounding the others costs.
    """
    low, curve, height = _rounding(codes, softness)
    soft = np.float32(0.5) + height * curve
    distance = np.minimum(soft, 1 - soft)
    undecided = (distance > UNDECIDED) & (moving > 0)
    codes, moving = codes.copy(), moving.copy()
    for n in range(len(codes)):
        if undecided[n].any():
            near = undecided[n] & (distance[n] < np.median(distance[n][undecided[n]]))
            codes[n] = np.where(near, low[n] + (soft[n] > 0.5), codes[n])
            moving[n] = np.where(near, 0, moving[n])
    return codes, moving


class _Adam:
    """Kingma and Ba, 2015: the direction of each step."""

    def __init__(self, shape: tuple[int, ...], decays: tuple[float, float]) -> None:
        self.mean, self.square = np.zeros((2, *shape), np.float32)
        self.count, self.decays = 0, decays
        self.epsilon = np.full((shape[0], 1, 1, 1), 1e-12, np.float32)

    def step(self, gradient: Floats) -> Floats:
        self.count += 1
        states = list(zip((self.mean, self.square), self.decays, strict=True))
        for (state, kept), value in zip(states, (gradient, gradient * gradient), strict=True):
            state *= np.float32(kept)
            state += np.float32(1 - kept) * value
        mean, square = (state / np.float32(1 - kept**self.count) for state, kept in states)
        direction: Floats = mean / (np.sqrt(square) + self.epsilon)
        return direction


def _epsilon(gradient: Floats, free: Floats, by_channel: float, by_sample: float) -> Floats:
    """Root mean squares of the gradient, (N, C, 1, 1): of each channel, and of each sample's free codes."""
    squares = np.square(gradient).sum((1, 2, 3), dtype=np.float64)
    sizes = [math.sqrt(float(s) / max(float(f.sum()), 1)) for s, f in zip(squares, free, strict=True)]
    sample = (by_sample * np.array(sizes) + 1e-12).astype(np.float32)[:, None, None, None]
    if by_channel == 0:
        return sample
    channel = np.sqrt(np.square(gradient).mean((2, 3), keepdims=True))
    result: Floats = sample + np.float32(by_channel) * channel
    return result


def _windows(blocks: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, blocks)) for start in range(0, blocks, size))
