"""Training of the encoder's learned step together with the human's synthesis, on codes that files really hold.

The step's output is rounded, so it has no gradient. Training rounds by chance instead: a code goes up with a
probability that a sigmoid of width ``dither`` gives (Agustsson and Theis, 2020), and down otherwise. Two mirrored
draws give the slope of the distortion between both neighbours. Where they differ, the mean of both gradients is the
difference quotient of a quadratic. With the finite difference of the rate that estimates the gradient of the expected
cost

    log(1 - MS-SSIM) + lambda * log(bits per pixel)

The synthesis sees whole codes only, and learns from both draws.  Soft codes and straight-through gradients of one draw
are worse (docs/log/2026-11-27-learned-step.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.model import LappedTransformCodec

LEAST_SPLIT = 0.02
"""Probability that both draws differ, below which a code's gradient is not enlarged any further."""


class StepObjective:
    """Cost of what the learned step proposes for one batch and one number of iterations.

    Args:
        codec: with a learned step.
        context: the entropy model; it does not learn here.
        image: (N, 3, 16H, 16W) in [0, 1].
        t: the last iteration that is sent, 0-based.
    """

    def __init__(self, codec: LappedTransformCodec, context: ContextModel, image: Tensor, t: int) -> None:
        assert codec.step is not None
        self.codec, self.context, self.image, self.step = codec, context, image, codec.step
        n = len(image)
        self.t = torch.full((n,), t, device=image.device)
        self.observer = image.new_zeros(n)
        gains = [self.codec.quantiser.gain(self.observer, torch.full_like(self.t, i), self.t + 1) for i in range(t + 1)]
        gain = torch.where(gains[-1] > 0, gains[-1], 1.0)
        self.step_ratios = [g / gain for g in gains]
        self.free = self.step.free[t][:, None, None]
        with torch.no_grad():
            scaled = self.codec.analysis(image) * gains[-1]
            self.begun = torch.trunc(scaled)
            self.place = torch.where(self.begun == 0, scaled / 2, scaled - 0.5 * scaled.sign())
            self.place[:, :1] = self.begun[:, :1]

    def propose(self) -> Tensor:
        """Real numbers (N, C, H, W) that rounding turns into codes; differentiable in the step's weights."""
        with torch.enable_grad():
            codes = self.begun.clone().requires_grad_(True)
            picture = self.codec.synthesis.linear_picture(self._dequantise(codes))
            picture = picture + (picture.clamp(0, 1) - picture).detach()
            (gradient,) = torch.autograd.grad(human_distortion(picture, self.image).sum(), codes)
        result: Tensor = self.step(self.begun, self.place, gradient.detach(), self.t[:1])
        return result

    def loss(self, dither: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Scalar whose gradient is the estimate, mean distortion, and mean bits per pixel of the first draw: shape ().

        Args:
            dither: width of the sigmoid, in quantiser cells.
            generator: for the draws; on the CPU, so that they are the same on every device.
        """
        n, pixels = len(self.image), self.image.shape[2] * self.image.shape[3]
        proposed = self.propose()
        with torch.no_grad():
            low = proposed.floor()
            curve = torch.tanh((proposed - low - 0.5) / (2 * dither))
            height = 0.5 / torch.tanh(torch.tensor(0.25 / dither)).to(curve)
            up = 0.5 + height * curve
            slope = (1 - curve * curve) * height / (2 * dither)
            chance = torch.rand(up.shape, generator=generator).to(up)
            draws = [torch.where(self.free > 0, low + (c < up), self.begun) for c in (chance, 1 - chance)]
        both = torch.cat(draws).requires_grad_(True)
        distortion = human_distortion(self._decode(both), torch.cat([self.image, self.image]))
        (by_both,) = torch.autograd.grad(distortion.sum(), both, retain_graph=True)
        with torch.no_grad():
            latents = [torch.trunc(draws[0] * ratio) for ratio in self.step_ratios]
            bits = self.context.bits(latents).sum(1)
            multiplier = self.step.multiplier(self.begun, self.t[:1])
            gradient = by_both.reshape(2, n, *by_both.shape[1:]).mean(0)
            direction = torch.where(draws[0] > low, -1.0, 1.0)
            for by_rate, ratio in zip(self.context.rate_gradient(latents, direction), self.step_ratios, strict=True):
                gradient = gradient + by_rate * (ratio * multiplier)
            split = (draws[0] != draws[1]) / (2 * torch.minimum(up, 1 - up)).clamp(min=LEAST_SPLIT)
            gradient = gradient * self.free * slope * split / n
        mean = distortion.mean()
        # Zero in value: the estimate reaches the step's weights, the distortion those of the synthesis.
        surrogate = (proposed * gradient).sum()
        return mean + surrogate - surrogate.detach(), mean.detach(), bits.mean() / pixels

    @torch.no_grad()
    def reconstruct(self) -> tuple[Tensor, Tensor]:
        """The decoded batch in [0, 1], and the bits of each sample by the entropy model, (N,)."""
        codes = torch.where(self.free > 0, self.propose().round(), self.begun)
        latents = [torch.trunc(codes * ratio) for ratio in self.step_ratios]
        return self._decode(codes).clamp(0, 1), self.context.bits(latents).sum(1)

    def _dequantise(self, codes: Tensor) -> Tensor:
        n = len(codes) // len(self.t)
        t = self.t.repeat(n)
        return self.codec.quantiser.dequantise(codes, self.observer.repeat(n), t, t + 1)

    def _decode(self, codes: Tensor) -> Tensor:
        index = self.t.repeat(len(codes) // len(self.t))
        picture = self.codec.synthesis.for_human(self._dequantise(codes), index)
        return picture + (picture.clamp(0, 1) - picture).detach()


@torch.no_grad()
def fit_rate(codec: LappedTransformCodec, context: ContextModel, image: Tensor) -> None:
    """Fit the step's estimate of the rate (``codec.step.rate``) to the entropy model, on (N, 3, 16H, 16W)."""
    assert codec.step is not None
    for t in range(len(codec.step.rate)):
        begun = StepObjective(codec, context, image, t)
        latents = [torch.trunc(begun.begun * ratio) for ratio in begun.step_ratios]
        bits = context.bits(latents).sum(1) * BLOCK**2 / (image.shape[2] * image.shape[3])
        codes = begun.begun[:, 1:].abs()
        count, size = (x.sum(1).mean((1, 2)) for x in ((codes > 0).float(), (1 + codes).log2()))
        # Relative errors count, and a little of what was there keeps few pictures from bending it.
        inputs = (torch.stack([torch.ones_like(bits), count, size], 1) / bits[:, None]).double().cpu()
        usual = codec.step.rate[t].double().cpu()
        ridge = 1e-3 * torch.eye(3, dtype=torch.float64)
        left = inputs.T @ inputs / len(inputs) + ridge
        right = inputs.mean(0) + ridge @ usual
        codec.step.rate[t] = torch.linalg.solve(left, right).to(codec.step.rate)
