"""Objective of latent optimisation for any alpha, with torch: for batches in training.

The machine is EfficientNet-Lite0, which sees two views of the picture that change each round, as
:mod:`beholder.codecs.rnn.optimise.views` describes them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn.optimise import human, loop
from beholder.codecs.rnn.optimise.objective import Floats, OptimiserSchedule, RateEstimate
from beholder.codecs.rnn.optimise.views import ENLARGED, PART, SHIFT, SMALL, WHOLE
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion
from beholder.codecs.rnn.torch.model import LappedTransformCodec

NETWORKS, LOGITS = ("efficientnet_lite0",), 0.05
"""The weight of the logits is small: matching one network's logits does not transfer to others."""
BETWEEN = OptimiserSchedule(rounds=4, rate=0.2)
"""Schedule between alpha 0 and 1."""
MACHINE = OptimiserSchedule(rounds=12, rate=0.18, refresh=4)
"""Schedule at alpha 1."""

Pair = tuple[Tensor, Tensor]
"""Decoded pictures and their originals, (N, 3, H, W) each."""


class TorchObjectives:
    """Makes objectives for one codec.

    Args:
        codec: frozen, or in training; no objective changes it.
        rate_estimate: rate estimate from the latents (N, C, H, W) after each iteration.
    """

    def __init__(self, codec: LappedTransformCodec, rate_estimate: Callable[[list[Floats]], RateEstimate]) -> None:
        self.codec, self.rate_estimate = codec, rate_estimate

    @functools.cached_property
    def machine(self) -> FeatureDistortion:
        """Loaded for alpha > 0 only."""
        networks = FeatureDistortion(NETWORKS, LOGITS).to(self.codec.analysis.step.device)
        # Weights lie in memory as a processor's convolutions read them.
        return networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def improve(
        self, image: Tensor, latent: Tensor, alpha: float, t: int, schedule: OptimiserSchedule | None = None
    ) -> Tensor:
        """Optimise the latents of a batch in training.

        Args:
            image: (N, 3, 16H, 16W) in [0, 1].
            latent: (N, C, H, W); so is the result.
            alpha: the observer, the same for all.
            t: the last iteration that is sent, 0-based.
            schedule: None for that of effort 2 at alpha 0, of ``MACHINE`` at 1, of ``BETWEEN`` else.
        """
        if schedule is None:
            schedule = human.SCHEDULES[2] if alpha == 0 else MACHINE if alpha == 1 else BETWEEN
        objective = TorchObjective(self, image, alpha, t)
        gains = [
            self.codec.quantiser.gain(objective.observer[:1], i[:1], objective.optimised_for[:1])[0].cpu().numpy()
            for i in objective.iterations
        ]
        start = latent.cpu().numpy()
        found = loop.descend(objective, start, np.ones_like(start[:, :1]), gains, alpha, schedule)
        return torch.from_numpy(found).to(latent)


class EntropyModelRate:
    """Rate estimate by an entropy model in training, whose predictions are held fixed at ``latents``.

    Args:
        context: the entropy model.
        latents: (N, C, H, W) after each iteration.
    """

    def __init__(self, context: ContextModel, latents: list[Floats]) -> None:
        self.context = context
        self.predictions = context.predict(self._tensors(latents))

    @torch.no_grad()
    def bits(self, latents: list[Floats]) -> NDArray[np.float64]:
        """Bits of each picture, (N,), exact whatever latents the predictions were made at."""
        return self.context.bits(self._tensors(latents)).sum(1).double().cpu().numpy()

    def rate_gradient(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        gradients = self.context.rate_gradient(self._tensors(latents), self._tensors([direction])[0], self.predictions)
        return [gradient.cpu().numpy() for gradient in gradients]

    def _tensors(self, arrays: list[Floats]) -> list[Tensor]:
        device = next(self.context.parameters()).device
        return [torch.from_numpy(array).to(device) for array in arrays]


class TorchObjective:
    """An :class:`~beholder.codecs.rnn.optimise.objective.Objective` for any alpha and batches of any size.

    Args:
        objectives: codec, rate estimate and machine.
        image: (N, 3, 16H, 16W) in [0, 1].
        alpha: the observer.
        t: the last iteration that is sent, 0-based.
    """

    def __init__(self, objectives: TorchObjectives, image: Tensor, alpha: float, t: int) -> None:
        self.objectives, self.image, self.alpha = objectives, image, alpha
        count, device = len(image), image.device
        self.observer = torch.full((count,), float(alpha), device=device)
        self.iterations = [torch.full((count,), i, device=device) for i in range(t + 1)]
        self.optimised_for = self.iterations[-1] + 1
        self.chance = np.random.default_rng(0)

    def rate_estimate(self, latents: list[Floats]) -> RateEstimate:
        return self.objectives.rate_estimate(latents)

    @torch.no_grad()
    def distortion(self, latents: list[Floats]) -> NDArray[np.float64]:
        values = self._distortion(self._tensors(latents)[-1], latents, varied=False)
        return values.double().cpu().numpy()

    @torch.enable_grad()
    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        codes = self._tensors([soft])[0].requires_grad_(True)
        distortion = self._distortion(codes, latents, varied=True).sum()
        result: Floats = torch.autograd.grad(distortion, codes)[0].cpu().numpy()
        return result

    def _tensors(self, arrays: list[Floats]) -> list[Tensor]:
        return [torch.from_numpy(array).to(self.image.device) for array in arrays]

    def _distortion(self, codes: Tensor, latents: list[Floats], varied: bool) -> Tensor:
        """d(alpha) of the pictures that ``codes`` decode to, (N,); ``varied``: in other views than the last."""
        codec = self.objectives.codec
        y_hat = codec.quantiser.dequantise(codes, self.observer, self.iterations[-1], self.optimised_for)
        if self.alpha == 0:
            decoded = codec.synthesis.for_human(y_hat, self.iterations[-1])
        else:
            with torch.no_grad():
                y_hats = [
                    codec.quantiser.dequantise(latent, self.observer, i, self.optimised_for)
                    for i, latent in zip(self.iterations, self._tensors(latents), strict=True)
                ]
                hidden = codec.recur(y_hats, self.observer)[-1]
            decoded = codec.synthesis(y_hat, hidden, self.observer, self.iterations[-1], self.optimised_for)
        decoded = decoded.clamp(0, 1)
        total = decoded.new_zeros(len(decoded))
        if self.alpha < 1:
            total = total + (1 - self.alpha) * human_distortion(decoded, self.image)
        if self.alpha > 0:
            views = varied_views(decoded, self.image, self.chance) if varied else [(decoded, self.image)]
            machine = self.objectives.machine
            distances = [machine.forward(*pair).reshape(-1, len(decoded)).mean(0) for pair in views]
            total = total + self.alpha * torch.stack(distances).mean(0)
        return total


def varied_views(decoded: Tensor, original: Tensor, chance: np.random.Generator) -> list[Pair]:
    """Two views of each of N pictures (N, 3, H, W), chosen by chance; views of one size are one pair of 2N pictures."""
    n, _, height, width = original.shape
    both = torch.cat([decoded, original])
    if height * width <= SMALL:
        scale = 1 + ENLARGED * chance.random()
        size = [round(scale * (side - SHIFT)) for side in (height, width)]
        first, second = (
            F.interpolate(_cut(both, height - SHIFT, width - SHIFT, chance), size, mode="bilinear") for _ in range(2)
        )
        second = second.flip(3)
        return [(torch.cat([first[:n], second[:n]]), torch.cat([first[n:], second[n:]]))]
    whole = _cut(both, height - SHIFT, width - SHIFT, chance)
    scale = chance.integers(WHOLE[0], WHOLE[1] + 1) / min(whole.shape[2:])
    if scale < 1:
        size = [round(scale * side) for side in whole.shape[2:]]
        whole = F.interpolate(whole, size, mode="bilinear", antialias=True)
    part = _cut(both, PART, PART, chance)
    mirrored = (view.flip(3) if chance.random() < 0.5 else view for view in (whole, part))
    return [(view[:n], view[n:]) for view in mirrored]


def _cut(pictures: Tensor, height: int, width: int, chance: np.random.Generator) -> Tensor:
    """A random part of at most that size."""
    spare = (max(have - want, 0) for have, want in zip(pictures.shape[2:], (height, width), strict=True))
    y, x = (int(chance.integers(max(left, 1))) for left in spare)
    return pictures[:, :, y : y + height, x : x + width]
