"""The encoder's search (:mod:`beholder.codecs.rnn.optimise.loop`), for many crops at once on the device.

A decoder should know the codes that it will be given.  One by one, as the encoder goes about it, they cost far more
than a training step; a GPU searches a batch nearly as fast as one crop.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.optimise.loop import (
    BETAS,
    EYE_PRICE,
    LEAST_BPP,
    MACHINE_PRICE,
    MACHINE_STEADY,
    SOFTNESS,
    Pace,
)
from beholder.codecs.rnn.optimise.ms_ssim import PACES
from beholder.codecs.rnn.torch.entropy_models import ContextModel
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion
from beholder.codecs.rnn.torch.model import Swift
from beholder.codecs.rnn.torch.objective import machine_pace, varied_views


@torch.no_grad()
def improve(
    codec: Swift,
    context: ContextModel,
    image: Tensor,
    latent: Tensor,
    t: int,
    pace: Pace | None = None,
    machine: FeatureDistortion | None = None,
) -> Tensor:
    """Latents whose codes after iteration ``t`` (0-based) serve the eye better, or a machine, or as they were.

    Args:
        codec, context: in training or not; nothing of them changes.
        image: (b, 3, 16a, 16b) in [0, 1].
        latent: (b, c, a, b); so is the result.
        t: the last iteration that is sent.
        pace: of the search; None: that of effort 1.
        machine: what stands for the machine; None: it is the eye.
    """
    alpha = 0 if machine is None else 1
    if pace is None:
        pace = PACES[1] if machine is None else machine_pace(1)
    observer = torch.full((len(image),), float(alpha), device=image.device)
    chance = np.random.default_rng(0)
    target = torch.full((len(image),), t + 1, device=image.device)
    passed = [torch.full_like(target, i) for i in range(t + 1)]
    gains = [codec.quantiser.gain(observer, i, target) for i in passed]
    coded = gains[-1] > 0
    gain = torch.where(coded, gains[-1], 1.0)
    shares = [g / gain for g in gains]
    free = coded.float().expand_as(latent).clone()
    free[:, 0] = 0  # the contrast decides the steps of all other codes

    def latents(codes: Tensor) -> list[Tensor]:
        return [torch.trunc(codes * share) for share in shares]

    def believed(codes: Tensor, i: Tensor) -> Tensor:
        return codec.quantiser.dequantise(codes, observer, i, target)

    def distortion(codes: Tensor, whole: list[Tensor], varied: bool) -> Tensor:
        belief = believed(codes, passed[-1])
        if machine is None:
            return human_distortion(codec.synthesis.for_eye(belief, passed[-1]).clamp(0, 1), image)
        with torch.no_grad():
            memory = codec.remember([believed(x, i) for x, i in zip(whole, passed, strict=True)], observer)[-1]
        decoded = codec.synthesis(belief, memory, observer, passed[-1], target).clamp(0, 1)
        views = varied_views(decoded, image, chance) if varied else [(decoded, image)]
        seen = [machine.forward(*pair).reshape(-1, len(image)).mean(0) for pair in views]
        return torch.stack(seen).mean(0)

    def cost(codes: Tensor) -> tuple[Tensor, Tensor]:
        whole = latents(codes)
        return context.bits(whole).sum(1), distortion(codes, whole, varied=False)

    scaled = latent * gain * coded
    begun = torch.trunc(scaled)
    place = torch.where(begun == 0, scaled / 2, scaled - 0.5 * scaled.sign())
    codes = torch.where(free > 0, place, begun)
    area = latent.shape[2] * latent.shape[3] * BLOCK**2
    bits, before = cost(begun)
    price = (MACHINE_PRICE if alpha else EYE_PRICE[t] * pace.price) / (bits / area).clamp(min=LEAST_BPP) / area
    worst = price * bits + before
    price = price[:, None, None, None]
    mean, square = torch.zeros_like(codes), torch.zeros_like(codes)
    predictions = context.predict(latents(begun))
    for number in range(pace.rounds):
        softness = SOFTNESS[0] * (SOFTNESS[1] / SOFTNESS[0]) ** (number / max(pace.rounds - 1, 1))
        low = codes.floor()
        curve = torch.tanh((codes - low - 0.5) / (2 * softness))
        height = 1 / (2 * math.tanh(0.25 / softness))
        hard = torch.where(free > 0, codes.round(), codes)
        whole = latents(hard)
        if number and number % pace.refresh == 0:
            predictions = context.predict(whole)
        slopes = context.slopes(whole, torch.where(hard > low, -1.0, 1.0), predictions)
        with torch.enable_grad():
            soft = torch.where(free > 0, low + 0.5 + height * curve, codes).requires_grad_(True)
            (gradient,) = torch.autograd.grad(distortion(soft, whole, varied=True).sum(), soft)
        for slope, share in zip(slopes, shares, strict=True):
            gradient = gradient + slope * (share * price)
        gradient = gradient * free * (1 - curve * curve) * (height / (2 * softness))
        if number == 0:
            size = gradient.square().sum((1, 2, 3), keepdim=True) / free.sum((1, 2, 3), keepdim=True).clamp(min=1)
            steady = alpha * MACHINE_STEADY[t] * size.sqrt() + 1e-12
        mean = torch.lerp(gradient, mean, BETAS[0])
        square = torch.lerp(gradient * gradient, square, BETAS[1])
        step = mean / (1 - BETAS[0] ** (number + 1))
        step = step / ((square / (1 - BETAS[1] ** (number + 1))).sqrt() + steady)
        codes = codes - pace.rate * (1 - number / pace.rounds) * step
    end = codes.round()
    bits, after = cost(end)
    better = (price[:, 0, 0, 0] * bits + after < worst)[:, None, None, None]
    # Inside the cells, so that no rounding error moves a code.
    inside = (end + 0.3 * end.sign()) / gain
    return torch.where(better & (free > 0), inside, latent)
