"""Objective of latent optimisation for alpha 0, with NumPy and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.onnx_model import Model
from beholder.codecs.rnn.optimise.distortions import HUMAN_DISTANCES, Distortion
from beholder.codecs.rnn.optimise.objective import Floats, OptimiserSchedule, RateEstimate, SinglePictureRate

SCHEDULES = {
    1: OptimiserSchedule(rounds=8, rate=0.2, refresh=3, momentum=0.7, softness=(0.25, 0.02), settling=3, guarded=False),
    2: OptimiserSchedule(rounds=20, rate=0.2, refresh=4, momentum=0.7, softness=(0.25, 0.02), settling=6),
    3: OptimiserSchedule(rounds=48, rate=0.2, refresh=4, momentum=0.7, softness=(0.25, 0.02), settling=12),
}
"""By effort."""


def schedule_for(effort: int, distance: str) -> OptimiserSchedule:
    """The schedule of an effort for a key of :data:`~.distortions.HUMAN_DISTANCES`."""
    return replace(SCHEDULES[effort], human_lambda=HUMAN_DISTANCES[distance].lambdas)


class HumanObjective:
    """Distortion and rate of one picture: an :class:`~.objective.Objective` of batches of one.

    Args:
        model: the trained codec.
        t: the last iteration that is sent, 0-based.
        distortion: makes the distortion of a picture.
        pixels: (3, 16H, 16W) uint8.
    """

    def __init__(
        self, model: Model, t: int, distortion: Callable[[NDArray[np.uint8]], Distortion], pixels: NDArray[np.uint8]
    ) -> None:
        self.model, self.t = model, t
        self.human = distortion(pixels)

    def rate_estimate(self, latents: list[Floats]) -> RateEstimate:
        return SinglePictureRate(self.model.entropy.rate_estimate([latent[0] for latent in latents]))

    def distortion(self, latents: list[Floats]) -> NDArray[np.float64]:
        decoded = self._picture(self.model.steps.dequantise(latents[-1][0], 0.0, self.t, self.t + 1))
        return np.array([self.human.distortion(decoded)])

    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        y_hat = self.model.steps.dequantise(soft[0], 0.0, self.t, self.t + 1)
        decoded, slopes = self.model.synthesise_with_slopes(y_hat, self.t, self.t + 1)
        by_pixel = self.human.gradient(decoded) * np.float32(255)
        by_pixel[(decoded == 0) | (decoded == 255)] = 0  # cut off there
        by_y_hat = self.model.synthesise_vjp(by_pixel, y_hat, self.t, self.t + 1, slopes)
        result: Floats = (by_y_hat * self.model.steps.dequantise_gradient(soft[0], 0.0, self.t, self.t + 1))[None]
        return result

    def _picture(self, y_hat: Floats) -> NDArray[np.uint8]:
        return self.model.synthesise(y_hat, None, 0.0, self.t, self.t + 1).transpose(2, 0, 1)
