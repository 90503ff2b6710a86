"""Objective of latent optimisation for alpha above 0, with NumPy and ONNX Runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import HUMAN_BELOW
from beholder.codecs.rnn.onnx_model import Model, blend
from beholder.codecs.rnn.optimise import views
from beholder.codecs.rnn.optimise.classifier import Classifier
from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion
from beholder.codecs.rnn.optimise.objective import Floats, OptimiserSchedule, RateEstimate, SinglePictureRate

SCHEDULES = {
    0: OptimiserSchedule(rounds=1, rate=0.17, softness=(0.2, 0.2), guarded=False),
    1: OptimiserSchedule(rounds=8, rate=0.12, refresh=4, momentum=0.6, softness=(0.1, 0.02), guarded=False),
    2: OptimiserSchedule(rounds=16, rate=0.08, refresh=4, momentum=0.6, softness=(0.1, 0.02)),
    3: OptimiserSchedule(rounds=48, rate=0.05, refresh=4, momentum=0.6, softness=(0.1, 0.02)),
}
"""By effort.  Effort 0 has a single short round (docs/log/2026-11-27-machine-round.md).
Short steps and a narrow soft rounding: with twice the step most files are worse than the start
(docs/log/2026-11-28-machine-steps.md)."""

Picture = NDArray[np.uint8]


class MachineObjective:
    """A classifier's distortion, MS-SSIM below alpha 1, and rate of one picture.

    An :class:`~.objective.Objective` of batches of one.

    Args:
        model: the trained codec.
        classifier: that the picture is for.
        alpha: the observer, above 0.
        t: the last iteration that is sent, 0-based.
        pixels: (3, 16H, 16W) uint8.
    """

    def __init__(self, model: Model, classifier: Classifier, alpha: float, t: int, pixels: Picture) -> None:
        self.model, self.classifier, self.alpha, self.t, self.pixels = model, classifier, alpha, t, pixels
        self.human = MsSsimDistortion(pixels) if alpha < 1 else None
        self.whole = views.whole(*pixels.shape[1:])
        self.chance = np.random.default_rng(0)

    def rate_estimate(self, latents: list[Floats]) -> RateEstimate:
        return SinglePictureRate(self.model.entropy.rate_estimate([latent[0] for latent in latents]))

    def distortion(self, latents: list[Floats]) -> NDArray[np.float64]:
        y_hat = self._dequantise(latents[-1], self.t)
        hidden = self._hidden(latents)
        picture = self.model.synthesise(y_hat, hidden, self.alpha, self.t, self.t + 1).transpose(2, 0, 1)
        total = self.alpha * self.classifier.distortion(self.whole, picture, self.pixels)
        if self.human is not None:
            total += (1 - self.alpha) * self.human.distortion(picture)
        return np.array([total])

    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        y_hat, settings = self._dequantise(soft, self.t), (self.t, self.t + 1)
        machine, slopes = self.model.synthesise_machine_with_slopes(y_hat, self._hidden(latents), self.alpha, *settings)
        weight = min(self.alpha / HUMAN_BELOW, 1.0)
        human = picture = machine
        if weight < 1:
            human, kept = self.model.synthesise_with_slopes(y_hat, *settings)
            picture = blend(human, machine, self.alpha)
        height, width = picture.shape[1:]
        shown = views.varied(height, width, self.chance)
        by_pixel = self.classifier.gradient(shown, picture, self.pixels) * np.float32(self.alpha * 255)
        if self.human is not None:
            by_pixel += self.human.gradient(picture) * np.float32((1 - self.alpha) * 255)
        by_y_hat = self.model.synthesise_machine_vjp(
            _within(machine, by_pixel * np.float32(weight)), y_hat, self.alpha, *settings, slopes
        )
        if weight < 1:
            by_human = _within(human, by_pixel * np.float32(1 - weight))
            by_y_hat += self.model.synthesise_vjp(by_human, y_hat, *settings, kept)
        result: Floats = by_y_hat * self.model.steps.dequantise_gradient(soft[0], self.alpha, *settings)
        return result[None]

    def _hidden(self, latents: list[Floats]) -> Floats:
        """The decoder's hidden state (K, H, W), which is held fixed in gradients."""
        hidden = np.zeros((self.model.hidden, *latents[-1].shape[2:]), np.float32)
        for t, latent in enumerate(latents):
            hidden = self.model.recur(self._dequantise(latent, t), hidden, self.alpha, t)
        return hidden

    def _dequantise(self, codes: Floats, t: int) -> Floats:
        return self.model.steps.dequantise(codes[0], self.alpha, t, self.t + 1)


def _within(picture: Picture, gradient: Floats) -> Floats:
    """``gradient`` without the pixels that are cut off at black or white."""
    gradient[(picture == 0) | (picture == 255)] = 0
    return gradient
