"""Search at encode time (``--effort``): codes that serve the observer better, in files that any decoder reads.

Gradients of the observer's own distortion, through the decoder, say which codes this very image needs (Campos et al.,
"Content adaptive optimization for neural image compression", 2019; Yang, Bamler and Mandt, "Improving inference for
neural image compression", 2020).  Each round decodes, compares and moves the codes by Adam.  What is minimised is

    d(alpha) + price * bits per pixel,    d(alpha) = (1 - alpha) d_human + alpha d_machine

with the distortions of training and a price at which files hardly grow.  A search that ends worse than it began is
thrown away.

While the search runs a code is a real number.  What is decoded is that number rounded softly (Agustsson and Theis,
"Universally quantized neural compression", 2020), the harder the later; its rate is that of the whole number next to
it plus a slope: what the entropy model would charge for moving to the other neighbour.

d_machine is EfficientNet-Lite0's, on a mirrored and shifted picture each round: what only holds for one view of one
network serves no other.  Needs torch and that network: the extra ``[train]``.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.model import Swift
from beholder.training.checkpoint import exported
from beholder.training.context import ContextModel
from beholder.training.losses import human_distortion
from beholder.training.machine import FeatureDistortion

WINDOW = 64
"""Side, in blocks, of the windows that are searched one by one: 1024 pixels, or memory would grow with the image."""
MARGIN = 4
"""Blocks around a window that are decoded with it and stay as they are."""
SMALLEST = 4
"""Blocks: in smaller pictures classifiers see nothing, and nor does MS-SSIM."""
ROUNDS = {0: 4, 1: 8, 2: 16}
"""Effort -> how often the picture is decoded and compared; 0: in training."""
RATES = {0: (0.25, 0.15), 1: (0.15, 0.1), 2: (0.15, 0.07)}
"""Effort -> how far Adam moves a code at first, for the eye and for a machine; less and less, down to nothing."""
STEADY = (0.0, 0.3)
"""Added to Adam's denominator, in root mean squares of the first gradient: else noise moves what hardly matters to a
machine."""
SOFTNESS = (0.3, 0.02)
"""Width of the soft rounding's step in the first and in the last round."""
EYE_PRICE, MACHINE_PRICE = (1.2, 1.2, 1.7, 2.2, 2.2, 2.4, 2.4, 2.2), 1.5
"""Price of a bit per pixel times the image's bits per pixel: for the eye after each iteration, and for a machine."""
LEAST_BPP = 0.02
"""Images that need less are not charged more for a bit."""
NETWORKS, LOGITS = ("efficientnet_lite0",), 0.3
SHIFT = 16
"""Pixels by which a classifier's view is shifted at most."""


class Search:
    """The torch side of one codec: searches for codes of pictures of any size.

    Args:
        codec, context: frozen, or in training; the search changes neither.
    """

    def __init__(self, codec: Swift, context: ContextModel) -> None:
        self.codec, self.context = codec, context

    @classmethod
    def exported(cls, folder: Path) -> Search:
        """For the codec that `beholder export` wrote to ``folder``."""
        config, states = exported(folder)
        codec = Swift(config)
        context = ContextModel(codec.layout, config.context)
        for module, state in zip((codec, context), states, strict=True):
            module.load_state_dict(module.state_dict() | state)
            module.eval().requires_grad_(False)
        context.set_quantise(True)
        return cls(codec, context)

    @functools.cached_property
    def machine(self) -> FeatureDistortion:
        """Loaded for alpha > 0 only."""
        return FeatureDistortion(NETWORKS, LOGITS).to(self.codec.analysis.step.device)

    def improve(
        self, pixels: NDArray[np.uint8], latent: NDArray[np.float32], alpha: float, t: int, effort: int
    ) -> NDArray[np.float32]:
        """A latent whose codes serve the observer better; the same every time.

        Args:
            pixels: (3, 16a, 16b).
            latent: (c, a, b) as analysis gave it.
            alpha: the observer.
            t: the last iteration that will be sent, 0-based.
            effort: 1 or 2.
        """
        result = latent.copy()
        height, width = latent.shape[1:]
        if min(height, width) < SMALLEST:
            return result
        for rows in _windows(height):
            for columns in _windows(width):
                inner = (rows, columns)
                outer = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in inner)
                area = tuple(slice(s.start * BLOCK, s.stop * BLOCK) for s in outer)
                image = torch.from_numpy(np.ascontiguousarray(pixels[:, *area])).float()[None] / 255
                start = torch.from_numpy(np.ascontiguousarray(result[:, *outer]))[None]
                free = torch.zeros(1, 1, *start.shape[2:])
                own = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
                free[:, :, *own] = 1
                found = _Descent(self, image, start, alpha, t).run(free, ROUNDS[effort], RATES[effort])
                result[:, *inner] = found[0][:, *own].numpy()
        return result

    def improve_crop(self, image: Tensor, latent: Tensor, alpha: float, t: int) -> Tensor:
        """The same for a picture in training, with few rounds.

        Args:
            image: (1, 3, 16a, 16b) in [0, 1].
            latent: (1, c, a, b); so is the result.
        """
        return _Descent(self, image, latent, alpha, t).run(torch.ones_like(latent[:, :1]), ROUNDS[0], RATES[0])


class _Descent:
    """One window: its picture (1, 3, 16a, 16b), its latent (1, c, a, b) and what they are measured with."""

    def __init__(self, search: Search, image: Tensor, start: Tensor, alpha: float, t: int) -> None:
        self.search, self.image, self.start, self.alpha, self.t = search, image, start, alpha, t
        self.observer = torch.tensor([alpha], device=image.device)
        self.passed = [torch.tensor([i], device=image.device) for i in range(t + 1)]
        self.last = self.passed[-1]
        self.views = np.random.default_rng(0)
        self.price = self.between((EYE_PRICE[t], MACHINE_PRICE))
        quantiser = search.codec.quantiser
        gains = [quantiser.gain(self.observer, i) for i in self.passed]
        self.coded = gains[-1] > 0
        self.gain = torch.where(self.coded, gains[-1], 1.0)
        self.shares = [gain / self.gain for gain in gains]

    def run(self, free: Tensor, rounds: int, rates: tuple[float, float]) -> Tensor:
        """The better of the start and where Adam ends, moving what is 1 in ``free``, (1, 1, a, b)."""
        free = free * self.coded
        free[:, 0] = 0  # the contrast decides the steps of all other codes
        scaled = self.start * self.gain * self.coded
        begun = torch.trunc(scaled)
        # Within a cell, codes begin on their own side of it: rounding gives what truncation gave.
        place = torch.where(begun == 0, scaled / 2, scaled - 0.5 * torch.sign(scaled))
        codes = torch.where(free > 0, place, begun).requires_grad_(True)
        rate = self.between(rates)
        optimiser = torch.optim.Adam([codes], rate, betas=(0.8, 0.95))
        with torch.no_grad():
            bits = self.search.context.bits(self.latents(begun))
        self.price /= max(float(bits.sum()) / self.image[0, 0].numel(), LEAST_BPP)
        before = self.cost(begun)
        for number in range(rounds):
            softness = SOFTNESS[0] * (SOFTNESS[1] / SOFTNESS[0]) ** (number / max(rounds - 1, 1))
            codes.grad = free * self.gradient(codes, free, softness)
            if number == 0:
                size = float(codes.grad.square().sum() / free.sum().clamp(min=1)) ** 0.5
                optimiser.param_groups[0]["eps"] = self.between(STEADY) * size + 1e-12
            optimiser.param_groups[0]["lr"] = rate * (1 - number / rounds)
            optimiser.step()
        end = torch.round(codes.detach())
        if self.cost(end) >= before:
            return self.start
        # Inside the cells, so that no rounding error moves a code.
        inside = (end + 0.3 * torch.sign(end)) / self.gain
        return torch.where(free > 0, inside, self.start)

    @torch.enable_grad()
    def gradient(self, codes: Tensor, free: Tensor, softness: float) -> Tensor:
        """How the cost of softly rounded codes grows with each."""
        low = torch.floor(codes.detach())
        part = codes - low
        soft = low + 0.5 + torch.tanh((part - 0.5) / (2 * softness)) / (2 * math.tanh(0.25 / softness))
        hard = torch.where(free > 0, torch.round(codes.detach()), codes.detach())
        soft = torch.where(free > 0, soft, hard)
        direction = torch.where(hard > low, -1.0, 1.0)
        slopes = self.search.context.slopes(self.latents(hard), direction)
        slope = sum(slope * share for slope, share in zip(slopes, self.shares, strict=True))
        rates = (soft * slope).sum() * (self.price / self.image[0, 0].numel())
        return torch.autograd.grad(self.distortion(soft, hard, varied=True) + rates, codes)[0]

    @torch.no_grad()
    def cost(self, codes: Tensor) -> float:
        """Distortion and priced rate of whole codes."""
        bits = self.search.context.bits(self.latents(codes)).sum()
        rate = float(bits) / self.image[0, 0].numel()
        return self.price * rate + float(self.distortion(codes, codes, varied=False))

    def latents(self, codes: Tensor) -> list[Tensor]:
        """The quantised latent after each iteration, from that after the last."""
        return [torch.trunc(codes * share) for share in self.shares]

    def distortion(self, soft: Tensor, hard: Tensor, varied: bool) -> Tensor:
        """d(alpha) of what ``soft`` decodes to; ``varied``: in another view than the last."""
        codec = self.search.codec
        belief = codec.quantiser.dequantise(soft, self.observer, self.last)
        if self.alpha == 0:  # its networks' share of the picture is nothing
            decoded = codec.synthesis.for_eye(belief)
        else:
            with torch.no_grad():
                beliefs = [
                    codec.quantiser.dequantise(latent, self.observer, i)
                    for i, latent in zip(self.passed, self.latents(hard), strict=True)
                ]
                memory = codec.remember(beliefs, self.observer)[-1]
            decoded = codec.synthesis(belief, memory, self.observer, self.last)
        decoded = decoded.clamp(0, 1)
        total = decoded.new_zeros(())
        if self.alpha < 1:
            total = total + (1 - self.alpha) * human_distortion(decoded, self.image)[0]
        if self.alpha > 0:
            pair = self.view(decoded, self.image) if varied else (decoded, self.image)
            total = total + self.alpha * self.search.machine.forward(*pair)[0]
        return total

    def between(self, ends: tuple[float, float]) -> float:
        """The eye's value, a machine's, or between them."""
        return ends[0] + self.alpha * (ends[1] - ends[0])

    def view(self, *images: Tensor) -> list[Tensor]:
        """The same images mirrored and shifted, by chance."""
        mirrored = bool(self.views.integers(2))
        y, x = self.views.integers(SHIFT, size=2)
        _, _, height, width = self.image.shape
        cut = [image[:, :, y : height - SHIFT + y, x : width - SHIFT + x] for image in images]
        return [image.flip(3) for image in cut] if mirrored else cut


@functools.lru_cache(maxsize=2)
def load(folder: Path) -> Search:
    """The search for the codec in ``folder``, loaded once."""
    return Search.exported(folder)


def _windows(blocks: int) -> list[slice]:
    return [slice(start, min(start + WINDOW, blocks)) for start in range(0, blocks, WINDOW)]
