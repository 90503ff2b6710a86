"""What codes are worth to any observer: the torch side of the encoder's search (:mod:`beholder.codecs.rnn.search`).

d_machine is EfficientNet-Lite0's, in views of the picture that are shifted, mirrored and (small pictures) enlarged anew
each round: what only holds for one view of one network serves no other.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn import search
from beholder.codecs.rnn.model import Swift
from beholder.training.checkpoint import exported
from beholder.training.context import ContextModel
from beholder.training.losses import human_distortion
from beholder.training.machine import FeatureDistortion

Floats = NDArray[np.float32]

NETWORKS, LOGITS = ("efficientnet_lite0",), 0.05
"""Its class probabilities hardly count: what keeps one network's opinion does not keep its relatives'."""
SMALL, VIEWS = 400 * 400, 2
"""Pictures of at most so many pixels are compared in so many views a round, others, for the sake of time, in one."""
SHIFT = 16
"""Pixels by which a view is shifted at most."""
ENLARGED = 0.25
"""By how much views of small pictures are enlarged at most."""


class Judges:
    """Makes judges of pictures for one codec.

    Args:
        codec, context: frozen, or in training; no judge changes them.
    """

    def __init__(self, codec: Swift, context: ContextModel) -> None:
        self.codec, self.context = codec, context

    @classmethod
    def exported(cls, folder: Path) -> Judges:
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

    def __call__(self, alpha: float, t: int, pixels: NDArray[np.uint8]) -> TorchJudge:
        """For a picture (3, 16a, 16b) whose last iteration sent is ``t``, 0-based."""
        return TorchJudge(self, torch.from_numpy(pixels).float()[None] / 255, alpha, t)

    def improve(self, image: Tensor, latent: Tensor, alpha: float, t: int) -> Tensor:
        """A better latent of a picture in training, with few rounds.

        Args:
            image: (1, 3, 16a, 16b) in [0, 1].
            latent: (1, c, a, b); so is the result.
        """
        judge = TorchJudge(self, image, alpha, t)
        gains = [self.codec.quantiser.gain(judge.observer, i)[0].cpu().numpy() for i in judge.passed]
        start = latent[0].cpu().numpy()
        found = search.descend(judge, start, np.ones_like(start[:1]), gains, alpha, effort=0)
        return torch.from_numpy(found)[None].to(latent)


class TorchJudge:
    """A :class:`~beholder.codecs.rnn.search.Judge` for any alpha."""

    def __init__(self, judges: Judges, image: Tensor, alpha: float, t: int) -> None:
        self.judges, self.image, self.alpha = judges, image, alpha
        self.observer = torch.tensor([alpha], device=image.device)
        self.passed = [torch.tensor([i], device=image.device) for i in range(t + 1)]
        self.chance = np.random.default_rng(0)

    def bits(self, latents: list[Floats]) -> float:
        with torch.no_grad():
            return float(self.judges.context.bits(self._tensors(latents)).sum())

    def slopes(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        slopes = self.judges.context.slopes(self._tensors(latents), self._tensors([direction])[0])
        return [slope[0].cpu().numpy() for slope in slopes]

    def distortion(self, latents: list[Floats]) -> float:
        with torch.no_grad():
            return float(self._distortion(self._tensors(latents)[-1], latents, varied=False))

    @torch.enable_grad()
    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        codes = self._tensors([soft])[0].requires_grad_(True)
        result: Floats = torch.autograd.grad(self._distortion(codes, latents, varied=True), codes)[0][0].cpu().numpy()
        return result

    def _tensors(self, arrays: list[Floats]) -> list[Tensor]:
        return [torch.from_numpy(array)[None].to(self.image.device) for array in arrays]

    def _distortion(self, codes: Tensor, latents: list[Floats], varied: bool) -> Tensor:
        """d(alpha) of what ``codes`` decode to; ``varied``: in another view than the last."""
        codec = self.judges.codec
        belief = codec.quantiser.dequantise(codes, self.observer, self.passed[-1])
        if self.alpha == 0:  # its networks' share of the picture is nothing
            decoded = codec.synthesis.for_eye(belief)
        else:
            with torch.no_grad():
                beliefs = [
                    codec.quantiser.dequantise(latent, self.observer, i)
                    for i, latent in zip(self.passed, self._tensors(latents), strict=True)
                ]
                memory = codec.remember(beliefs, self.observer)[-1]
            decoded = codec.synthesis(belief, memory, self.observer, self.passed[-1])
        decoded = decoded.clamp(0, 1)
        total = decoded.new_zeros(())
        if self.alpha < 1:
            total = total + (1 - self.alpha) * human_distortion(decoded, self.image)[0]
        if self.alpha > 0:
            pair = self._views(decoded) if varied else (decoded, self.image)
            total = total + self.alpha * self.judges.machine.forward(*pair).mean()
        return total

    def _views(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """The picture and its original, (n, 3, h, w) each, mirrored, shifted and enlarged by chance."""
        _, _, height, width = self.image.shape
        small = height * width <= SMALL
        scale = 1 + ENLARGED * self.chance.random() if small else 1.0
        size = [round(scale * (side - SHIFT)) for side in (height, width)]
        both = []
        for number in range(VIEWS) if small else [int(self.chance.integers(2))]:
            y, x = self.chance.integers(SHIFT, size=2)
            cut = torch.cat([decoded, self.image])[:, :, y : height - SHIFT + y, x : width - SHIFT + x]
            if small:
                cut = F.interpolate(cut, size, mode="bilinear", align_corners=False)
            both.append(cut.flip(3) if number % 2 else cut)
        views = torch.stack(both, 1)
        return views[0], views[1]


@functools.lru_cache(maxsize=2)
def load(folder: Path) -> Judges:
    """The judges for the codec in ``folder``, loaded once."""
    return Judges.exported(folder)
