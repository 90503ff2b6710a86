"""Search at encode time (``--effort``): codes that serve the observer better, in files that any decoder reads.

Gradients of the observer's own distortion, through the decoder, say which codes this very image needs (Campos et al.,
"Content adaptive optimization for neural image compression", 2019; Yang, Bamler and Mandt, "Improving inference for
neural image compression", 2020).  Each round decodes, compares and moves the latent by Adam; gradients pass straight
through the quantiser.  What is minimised is

    d(alpha) + price * bits per pixel,    d(alpha) = (1 - alpha) d_human + alpha d_machine

with the distortions of training and a price at which files grow by a few per cent and gain more than that is worth.
A search that ends worse than it began is thrown away.

d_machine is EfficientNet-Lite0's, on a mirrored and shifted picture each round: what only holds for one view of one
network serves no other.  Needs torch and that network: the extra ``[train]``.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.model import Swift
from beholder.codecs.rnn.transform import from_ycc
from beholder.training.checkpoint import exported
from beholder.training.context import ContextModel
from beholder.training.losses import human_distortion
from beholder.training.machine import FeatureDistortion

WINDOW = 32
"""Side, in blocks, of the windows that are searched one by one: 512 pixels, or memory would grow with the image."""
MARGIN = 4
"""Blocks around a window that are decoded with it and stay as they are."""
SMALLEST = 4
"""Blocks: in smaller pictures classifiers see nothing, and nor does MS-SSIM."""
ROUNDS = {1: 5, 2: 16}
"""Effort -> how often the picture is decoded and compared."""
TRAVEL = (0.28, 1.0)
"""How far Adam moves a coefficient that is pushed one way all along, in cells of the quantiser: for the eye, for a
machine.  Farther, and files get worse: within a cell nothing tells a coefficient that it goes too far."""
PRICE = (0.9, 1.5)
"""Price of a bit per pixel times the image's bits per pixel, for the eye and for a machine."""
STEADY = 1.0
"""Added to Adam's denominator, in root mean squares of the first gradient: else noise moves what hardly matters."""
LEAST_BPP = 0.02
"""Images that need less are not charged more for a bit."""
NETWORKS, LOGITS = ("efficientnet_lite0",), 0.3
SHIFT = 16
"""Pixels by which a classifier's view is shifted at most."""


class Search:
    """The torch side of one exported codec.

    Args:
        folder: what `beholder export` wrote.
    """

    def __init__(self, folder: Path) -> None:
        config, states = exported(folder)
        self.codec = Swift(config)
        self.context = ContextModel(self.codec.layout, config.context)
        for module, state in zip((self.codec, self.context), states, strict=True):
            module.load_state_dict(module.state_dict() | state)
            module.eval().requires_grad_(False)
        self.context.set_quantise(True)

    @functools.cached_property
    def machine(self) -> FeatureDistortion:
        """Loaded for alpha > 0 only."""
        return FeatureDistortion(NETWORKS, LOGITS)

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
                found = _Descent(self, image, start, alpha, t).run(free, ROUNDS[effort])
                result[:, *inner] = found[0][:, *own].numpy()
        return result


class _Descent:
    """One window: its picture (1, 3, 16a, 16b), its latent (1, c, a, b) and what they are measured with."""

    def __init__(self, search: Search, image: Tensor, start: Tensor, alpha: float, t: int) -> None:
        self.search, self.image, self.start, self.alpha, self.t = search, image, start, alpha, t
        self.observer, self.last = torch.tensor([alpha]), torch.tensor([t])
        self.views = np.random.default_rng(0)
        self.price = 0.0

    def run(self, free: Tensor, rounds: int) -> Tensor:
        """The better of the start and where Adam ends, moving what is 1 in ``free``, (1, 1, a, b)."""
        gain = self.search.codec.quantiser.gain(self.observer, self.last)
        free = free * (gain > 0)
        free[:, 0] = 0  # the contrast decides the steps of all other codes
        width = free / torch.where(gain > 0, gain, 1.0)
        rate = 2 * self.between(TRAVEL) / (rounds + 1)
        moved = torch.zeros_like(self.start).requires_grad_(True)
        optimiser = torch.optim.Adam([moved], rate, betas=(0.8, 0.95))
        with torch.no_grad():
            before = float(self.cost(self.start, varied=False))
        for number in range(rounds):
            optimiser.zero_grad()
            self.cost(self.start + moved * width, varied=True).backward()  # type: ignore[no-untyped-call]
            assert moved.grad is not None
            if number == 0:
                size = float(moved.grad.square().sum() / free.sum().clamp(min=1)) ** 0.5
                optimiser.param_groups[0]["eps"] = STEADY * size + 1e-12
            optimiser.param_groups[0]["lr"] = rate * (1 - number / rounds)
            optimiser.step()
        with torch.no_grad():
            end = self.start + moved * width
            return end if float(self.cost(end, varied=False)) < before else self.start

    def cost(self, latent: Tensor, varied: bool) -> Tensor:
        """Distortion and priced rate of the codes of ``latent``; ``varied``: in another view than the last."""
        codec = self.search.codec
        states = [codec.quantiser(latent, self.observer, torch.tensor([i])) for i in range(self.t + 1)]
        rate = self.search.context.bits([codes for codes, _ in states]).sum() / self.image[0, 0].numel()
        if not self.price:
            self.price = self.between(PRICE) / max(float(rate.detach()), LEAST_BPP)
        total = self.price * rate
        belief = states[-1][1]
        if self.alpha == 0:  # its networks' share of the picture is nothing
            decoded = from_ycc(codec.synthesis.draft(belief))
        else:
            with torch.no_grad():
                memory = codec.remember([belief.detach() for _, belief in states], self.observer)[-1]
            decoded = codec.synthesis(belief, memory, self.observer, self.last)
        decoded = decoded.clamp(0, 1)
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
    return Search(folder)


def _windows(blocks: int) -> list[slice]:
    return [slice(start, min(start + WINDOW, blocks)) for start in range(0, blocks, WINDOW)]
