"""One learned step of the encoder (:mod:`beholder.codecs.rnn.torch.amortised_step`) on NumPy and ONNX Runtime: what
effort 0 does for alpha 0, and where more effort begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import MASKING_POWER
from beholder.codecs.rnn.optimise.distortions import MS_SSIM_STEP, StepDistortion

if TYPE_CHECKING:
    from beholder.codecs.rnn.onnx_model import Model

Floats = NDArray[np.float32]

TILE = 64
"""Side, in blocks, of the tiles that are adjusted one by one: gradients take more memory than an analysis."""
MARGIN = 1
"""Blocks around a tile that are adjusted with it.  The network sees more, but with them codes are no better
(docs/log/2026-11-28-large-gradient.md)."""
WORST = (1.5, 0.01)
"""The step is refused where the linear reconstruction's mean squared error exceeds this factor times the one before,
plus this constant: photographs, text and noise stay below 1.15 times, flat pictures can exceed 100 times."""
INSIDE = 0.01
"""Least distance of a code from its cell's border, in cells, so that no rounding error moves it."""


def adjust(
    model: Model,
    pixels: NDArray[np.uint8],
    latent: Floats,
    gains: Sequence[Floats],
    step: StepDistortion = MS_SSIM_STEP,
) -> Floats:
    """A latent (C, H, W) whose codes have a better rate and distortion for human observers.

    Where the step would spoil the picture, the latent stays as it is.  Args: as for :func:`propose`.
    """
    coded, t = gains[-1] > 0, len(gains) - 1
    moved, y_hat, before = _propose(model, pixels, latent, gains, step)
    codes = np.round(moved)
    after = before - model.reconstruction.error(y_hat, latent)
    after += model.reconstruction.error(model.steps.dequantise(codes * coded, 0.0, t, t + 1), latent)
    if after > WORST[0] * before + WORST[1]:  # flat pictures are unlike all that the network has seen
        return latent
    result = latent.copy()
    for gain, channel, code, place in zip(gains[-1].ravel(), result, codes, moved, strict=True):
        if gain > 0:
            np.divide(_truncated_to(code, place), gain, out=channel)
    return result


def _truncated_to(codes: Floats, moved: Floats) -> Floats:
    """Values, any shape, as the analysis would have placed them: truncation gives the codes, and what lies nearest to 0
    goes there first."""
    size = np.abs(codes)
    beyond = np.abs(moved)
    near_zero = np.minimum(2 * beyond, np.float32(1 - INSIDE))
    beyond -= size
    beyond += np.float32(0.5)
    size += np.clip(beyond, INSIDE, np.float32(1 - INSIDE), out=beyond)
    zero = codes == 0
    magnitude: Floats = np.where(zero, near_zero, size)
    return np.copysign(magnitude, np.where(zero, moved, codes), out=magnitude)


def _error(decoded: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> float:
    """Mean squared error, for values from 0 to 255."""
    total, rows = 0.0, 64  # few enough for the processor's cache
    for start in range(0, decoded.shape[1], rows):
        part = slice(start, start + rows)
        difference = np.subtract(decoded[:, part], pixels[:, part], dtype=np.float32).ravel()
        total += float(difference @ difference)
    return total / decoded.size


def even_activity(latent: Floats, mean: float, factor: float) -> Floats:
    """The latent of the analysis with more even steps: each block's activity is moved towards the picture's mean.

    Args:
        latent: (C, H, W); channel 0 holds the activity, whole numbers.
        mean: the picture's mean activity.
        factor: on the differences from the mean, 0 to 1.
    """
    activity = np.round(mean + factor * (latent[0] - mean)).astype(np.float32)
    result: Floats = latent * np.exp2((latent[0] - activity) * np.float32(MASKING_POWER))
    result[0] = activity
    return result


def propose(
    model: Model,
    pixels: NDArray[np.uint8],
    latent: Floats,
    gains: Sequence[Floats],
    step: StepDistortion = MS_SSIM_STEP,
) -> Floats:
    """Real numbers that rounding turns into better codes, (C, H, W).

    Args:
        model: one that has the graphs of the learned step.
        pixels: (3, 16H, 16W).
        latent: (C, H, W) as the analysis gives it.
        gains: (C, 1, 1) for each iteration that will be sent: 1 / step, or 0 where nothing is coded.
        step: the distortion whose gradient the network sees.
    """
    return _propose(model, pixels, latent, gains, step)[0]


def _propose(
    model: Model, pixels: NDArray[np.uint8], latent: Floats, gains: Sequence[Floats], step: StepDistortion
) -> tuple[Floats, Floats, float]:
    """As :func:`propose`, y_hat before the step, and the mean squared error of its linear reconstruction."""
    t = len(gains) - 1
    scaled = latent * gains[-1]
    begun: Floats = np.trunc(scaled)
    # Rounding gives what truncation gave.
    place: Floats = np.where(begun == 0, scaled / 2, scaled - np.float32(0.5) * np.sign(scaled))
    place[0] = begun[0]
    y_hat = model.steps.dequantise(begun, 0.0, t, t + 1)
    decoded = model.reconstruction.picture(y_hat)
    by_pixel = step.make(pixels).gradient(decoded)
    gradient = model.reconstruction.vjp(by_pixel, y_hat)
    gradient *= model.steps.dequantise_gradient(begun, 0.0, t, t + 1) * np.float32(step.scale)
    return model.step_codes(begun, place, gradient, t), y_hat, _error(decoded, pixels)
