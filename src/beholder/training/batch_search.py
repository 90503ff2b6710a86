"""The encoder's search for the eye (:mod:`beholder.codecs.rnn.search`), for many crops at once on the device.

A decoder should know the codes that it will be given.  One by one, as the encoder goes about it, they cost far more
than a training step; a GPU searches a batch nearly as fast as one crop.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from beholder.codecs.rnn.eye import PACES
from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.model import Swift
from beholder.codecs.rnn.search import BETAS, EYE_PRICE, LEAST_BPP, SOFTNESS, Pace
from beholder.training.context import ContextModel
from beholder.training.losses import human_distortion


@torch.no_grad()
def improve(
    codec: Swift, context: ContextModel, image: Tensor, latent: Tensor, t: int, pace: Pace = PACES[1]
) -> Tensor:
    """Latents whose codes after iteration ``t`` (0-based) serve the eye better, or as they were.

    Args:
        codec, context: in training or not; nothing of them changes.
        image: (b, 3, 16a, 16b) in [0, 1].
        latent: (b, c, a, b); so is the result.
        t: the last iteration that is sent.
        pace: of the search.
    """
    eye = torch.zeros(len(image), device=image.device)
    target = torch.full((len(image),), t + 1, device=image.device)
    passed = [torch.full_like(target, i) for i in range(t + 1)]
    gains = [codec.quantiser.gain(eye, i, target) for i in passed]
    coded = gains[-1] > 0
    gain = torch.where(coded, gains[-1], 1.0)
    shares = [g / gain for g in gains]
    free = coded.float().expand_as(latent).clone()
    free[:, 0] = 0  # the contrast decides the steps of all other codes

    def latents(codes: Tensor) -> list[Tensor]:
        return [torch.trunc(codes * share) for share in shares]

    def distortion(codes: Tensor) -> Tensor:
        belief = codec.quantiser.dequantise(codes, eye, passed[-1], target)
        return human_distortion(codec.synthesis.for_eye(belief, passed[-1]).clamp(0, 1), image)

    def cost(codes: Tensor) -> tuple[Tensor, Tensor]:
        return context.bits(latents(codes)).sum(1), distortion(codes)

    scaled = latent * gain * coded
    begun = torch.trunc(scaled)
    place = torch.where(begun == 0, scaled / 2, scaled - 0.5 * scaled.sign())
    codes = torch.where(free > 0, place, begun)
    area = latent.shape[2] * latent.shape[3] * BLOCK**2
    bits, before = cost(begun)
    price = EYE_PRICE[t] * pace.price / (bits / area).clamp(min=LEAST_BPP) / area
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
            (gradient,) = torch.autograd.grad(distortion(soft).sum(), soft)
        for slope, share in zip(slopes, shares, strict=True):
            gradient = gradient + slope * (share * price)
        gradient = gradient * free * (1 - curve * curve) * (height / (2 * softness))
        mean = torch.lerp(gradient, mean, BETAS[0])
        square = torch.lerp(gradient * gradient, square, BETAS[1])
        step = mean / (1 - BETAS[0] ** (number + 1))
        step = step / ((square / (1 - BETAS[1] ** (number + 1))).sqrt() + 1e-12)
        codes = codes - pace.rate * (1 - number / pace.rounds) * step
    end = codes.round()
    bits, after = cost(end)
    better = (price[:, 0, 0, 0] * bits + after < worst)[:, None, None, None]
    # Inside the cells, so that no rounding error moves a code.
    inside = (end + 0.3 * end.sign()) / gain
    return torch.where(better & (free > 0), inside, latent)
