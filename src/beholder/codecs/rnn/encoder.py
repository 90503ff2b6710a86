"""Encoder: analyse, optimise the latent where effort asks for it, quantise, code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.decoder import Reconstruction
from beholder.codecs.rnn.layout import BLOCK, HUMAN_BELOW, Layout
from beholder.codecs.rnn.onnx_model import Model
from beholder.codecs.rnn.optimise import adjust, classifier, loop, machine
from beholder.codecs.rnn.optimise.distortions import (
    DEFAULT,
    HUMAN_DISTANCES,
    MS_SSIM_STEP,
    HumanDistance,
    StepDistortion,
)
from beholder.codecs.rnn.optimise.human import HumanObjective, schedule_for
from beholder.codecs.rnn.optimise.objective import Objective, OptimiserSchedule
from beholder.codecs.rnn.steps import Codes, Floats, Ints
from beholder.codecs.rnn.tiles import Pixels, Tile, tiles
from beholder.threads import begin, one_blas_thread

Progress = Callable[[int, int], None]
"""Called with the number of steps that are over, and of all: three an iteration, or rounds of the optimisation."""


def encode(
    model: Model,
    pixels: Pixels,
    alpha: float,
    iterations: int,
    effort: int = 0,
    progress: Progress = lambda done, total: None,
    human: str | None = None,
    observer: Path | None = None,
    reconstruction: Reconstruction | None = None,
) -> list[bytes]:
    """Code a picture: one segment an iteration.

    Args:
        model: the trained codec, with the step scale of the file.
        pixels: (3, 16H, 16W) uint8.
        alpha: the observer, 0 (human) to 1 (machine).
        iterations: 1 to 8.
        effort: 0, or 1 to 3 for latent optimisation.
        progress: called after each tile and segment; with effort, after each round of the optimisation.
        human: what the learned step and latent optimisation serve at alpha 0, a key of
            :data:`~beholder.codecs.rnn.optimise.distortions.HUMAN_DISTANCES`; None for the default.
        observer: gradient graph of the classifier that latent optimisation serves above alpha 0; None for the one that
            ships.
        reconstruction: of the same picture and settings, brought to where a decoder of these segments is.
    """
    with one_blas_thread():
        begin(lambda: model.entropy.prepare(iterations))
        finest = _finest(model, pixels, alpha, iterations, effort, progress, human or DEFAULT, observer)
        state = np.zeros_like(finest) if reconstruction is None else reconstruction.codes
        segments = []
        for t in range(iterations):
            segments.append(model.entropy.encode(finest, state, t, finer=_shift(model.layout, t, iterations)))
            if reconstruction is not None:
                reconstruction.advance(t)
            if not effort:
                progress(2 * iterations + t + 1, 3 * iterations)
        return segments


def quantised_latents(model: Model, pixels: Pixels, alpha: float, iterations: int, effort: int = 0) -> list[Ints]:
    """The quantised latent (C, H, W) after each iteration that :func:`encode` writes."""
    finest = _finest(model, pixels, alpha, iterations, effort, lambda done, total: None)
    coded = [model.layout.levels(t)[:, None, None] >= 0 for t in range(iterations)]
    shifts = [_shift(model.layout, t, iterations)[:, None, None] for t in range(iterations)]
    return [np.sign(finest) * (np.abs(finest) >> s) * c for s, c in zip(shifts, coded, strict=True)]


def _finest(
    model: Model,
    pixels: Pixels,
    alpha: float,
    iterations: int,
    effort: int,
    progress: Progress,
    human: str = DEFAULT,
    observer: Path | None = None,
) -> Codes:
    """The quantised latent after the last iteration; those before it split its channels less finely."""
    height, width = pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK
    observer = observer if effort else None
    finest = np.empty((model.latent, height, width), np.int16)
    steps, last = model.steps, iterations - 1
    served = optimised_for(model, alpha, effort, iterations, (height, width))
    gains = [steps.gain(alpha, t, served) for t in range(iterations)]
    if effort or (served and alpha > 0):  # a machine's single round
        latent = np.empty(finest.shape, np.float32)
        distance = HUMAN_DISTANCES[human if alpha == 0 else DEFAULT]
        for tile, part in _begin(model, pixels, alpha, gains, served, distance):
            latent[:, *tile.inner] = part
        objective, schedule = _objective(model, alpha, last, effort, human, observer)
        loop.improve(objective, schedule, pixels, latent, gains, alpha, progress)
        for tile in tiles(height, width, 0):
            finest[:, *tile.inner] = steps.quantise(latent[:, *tile.inner], alpha, last, iterations)
    else:
        done, step = 0, HUMAN_DISTANCES[human].step_for(height * width)
        for tile, part in _begin(model, pixels, alpha, gains, served, step=step):
            finest[:, *tile.inner] = steps.quantise(part, alpha, last, served)
            done += part[0].size
            progress(2 * iterations * done // (height * width), 3 * iterations)  # analysis takes longer than coding
    return finest


def optimised_for(model: Model, alpha: float, effort: int, iterations: int, size: tuple[int, int]) -> int:
    """Return the number of iterations that :func:`encode` optimises codes for, 0 where it codes the plain analysis.

    Args:
        model, alpha, effort, iterations: as for :func:`encode`.
        size: height and width of the picture in blocks.
    """
    small = min(size) < loop.SMALLEST
    if alpha == 0:
        steps = model.has_step and not small
    else:
        steps = alpha >= HUMAN_BELOW and not small and max(size) <= loop.UNDIVIDED
    return iterations if effort or steps else 0


def _begin(
    model: Model,
    pixels: Pixels,
    alpha: float,
    gains: list[Floats],
    served: int,
    distance: HumanDistance = HUMAN_DISTANCES[DEFAULT],
    step: StepDistortion = MS_SSIM_STEP,
) -> Iterator[tuple[Tile, Floats]]:
    """The latent tile by tile: the analysis, and what :class:`HumanDistance` says for human observers."""
    height, width = pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK
    learned_step, evens = distance.learned_step and model.has_step, distance.activity != 1
    if not (served and alpha == 0 and (learned_step or evens) and min(height, width) >= loop.SMALLEST):
        yield from model.analyse_tiles(pixels, alpha)
        return
    if learned_step:
        model.prepare("step", positions=height * width)
    total = sum(float(part[0].sum()) for _, part in model.analyse_tiles(pixels, alpha)) if evens else 0.0
    for tile in tiles(height, width, adjust.MARGIN, side=adjust.TILE):
        window = np.ascontiguousarray(pixels[:, *tile.outer_pixels])
        latent = model.analyse(window, alpha)
        if evens:
            latent = adjust.even_activity(latent, total / (height * width), distance.activity)
        yield tile, (adjust.adjust(model, window, latent, gains, step) if learned_step else latent)[:, *tile.crop]


def _shift(layout: Layout, t: int, iterations: int) -> Ints:
    """Levels by which each channel is finer after the last iteration than after iteration ``t``."""
    last, here = layout.levels(iterations - 1), layout.levels(t)
    return np.maximum(last, 0) - np.maximum(here, 0)


def _objective(
    model: Model, alpha: float, t: int, effort: int, human: str, observer: Path | None
) -> tuple[Callable[[NDArray[np.uint8]], Objective], OptimiserSchedule]:
    """A maker of objectives for windows of the picture, and the schedule."""
    if alpha == 0:
        make = HUMAN_DISTANCES[human].make
        return functools.partial(HumanObjective, model, t, make), schedule_for(effort, human)
    served = classifier.load(observer or classifier.DEFAULT)
    return functools.partial(machine.MachineObjective, model, served, alpha, t), machine.SCHEDULES[effort]
