"""Rate and distortion for any observer: the torch side of :mod:`beholder.codecs.rnn.optimise.loop`.

d_machine is EfficientNet-Lite0's, in two views of the picture that change each round: what only holds for one view of
one network serves no other.  Small pictures are enlarged a little; of large ones a machine sees the whole shrunk to its
input, or a part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn import onnx_model as runtime
from beholder.codecs.rnn.optimise import loop as search
from beholder.codecs.rnn.torch.entropy_models import ContextModel
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion
from beholder.codecs.rnn.torch.model import Swift
from beholder.codecs.rnn.torch.weights import exported

Floats = NDArray[np.float32]

NETWORKS, LOGITS = ("efficientnet_lite0",), 0.05
"""Its class probabilities hardly count: what keeps one network's opinion does not keep its relatives'."""
PACES = {0: (4, 0.25, 0.15, 1), 1: (12, 0.2, 0.18, 4), 2: (24, 0.25, 0.2, 4)}
"""Effort (0: in training) -> rounds of the search, how far a code moves at first for the eye and for a machine, and
after how many rounds prices are made anew."""
SMALL = 400 * 400
"""Pictures of at most so many pixels are seen twice from near, others once as a whole and once in part."""
SHIFT = 16
"""Pixels by which a view is shifted at most."""
ENLARGED = 0.25
"""By how much views of small pictures are enlarged at most."""
WHOLE = (224, 320)
"""Short side that large pictures are shrunk to: the inputs of common classifiers, and more."""
PART = 352
"""Side of the square that is seen of a large picture as it is."""

Pair = tuple[Tensor, Tensor]
"""What is decoded and its original, (n, 3, h, w) each."""


class Judges:
    """Makes judges of pictures for one codec.

    Args:
        codec: frozen, or in training; no judge changes it.
        prices: what codes cost, from the latents after each iteration.
    """

    def __init__(self, codec: Swift, prices: Callable[[list[Floats]], search.Prices]) -> None:
        self.codec, self.prices = codec, prices

    @classmethod
    def exported(cls, folder: Path) -> Judges:
        """For the codec that `beholder export` wrote to ``folder``; codes cost what they will in the file."""
        config, (state, _) = exported(folder)
        codec = Swift(config)
        codec.load_state_dict(codec.state_dict() | state)
        codec.eval().requires_grad_(False)
        _speed_up(codec)
        return cls(codec, runtime.load(folder).entropy.prices)

    @functools.cached_property
    def machine(self) -> FeatureDistortion:
        """Loaded for alpha > 0 only."""
        networks = FeatureDistortion(NETWORKS, LOGITS).to(self.codec.analysis.step.device)
        _speed_up(networks)
        return networks

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
        gains = [self.codec.quantiser.gain(judge.observer, i, judge.target)[0].cpu().numpy() for i in judge.passed]
        start = latent[0].cpu().numpy()
        found = search.descend(judge, start, np.ones_like(start[:1]), gains, alpha, effort=0)
        return torch.from_numpy(found)[None].to(latent)


class ContextPrices:
    """What codes cost by an entropy model in training: exact for all latents."""

    def __init__(self, context: ContextModel) -> None:
        self.context = context

    def bits(self, latents: list[Floats]) -> float:
        with torch.no_grad():
            return float(self.context.bits(self._tensors(latents)).sum())

    def slopes(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        slopes = self.context.slopes(self._tensors(latents), self._tensors([direction])[0])
        return [slope[0].cpu().numpy() for slope in slopes]

    def _tensors(self, arrays: list[Floats]) -> list[Tensor]:
        device = next(self.context.parameters()).device
        return [torch.from_numpy(array)[None].to(device) for array in arrays]


class TorchJudge:
    """A :class:`~beholder.codecs.rnn.optimise.loop.Judge` for any alpha."""

    def __init__(self, judges: Judges, image: Tensor, alpha: float, t: int) -> None:
        self.judges, self.image, self.alpha = judges, image, alpha
        self.observer = torch.tensor([alpha], device=image.device)
        self.passed = [torch.tensor([i], device=image.device) for i in range(t + 1)]
        self.target = self.passed[-1] + 1
        self.chance = np.random.default_rng(0)

    def pace(self, effort: int) -> search.Pace:
        rounds, eye, machine, refresh = PACES[effort]
        return search.Pace(rounds, eye + self.alpha * (machine - eye), refresh)

    def prices(self, latents: list[Floats]) -> search.Prices:
        return self.judges.prices(latents)

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
        belief = codec.quantiser.dequantise(codes, self.observer, self.passed[-1], self.target)
        if self.alpha == 0:  # a machine's networks' share of the picture is nothing
            decoded = codec.synthesis.for_eye(belief, self.passed[-1])
        else:
            with torch.no_grad():
                beliefs = [
                    codec.quantiser.dequantise(latent, self.observer, i, self.target)
                    for i, latent in zip(self.passed, self._tensors(latents), strict=True)
                ]
                memory = codec.remember(beliefs, self.observer)[-1]
            decoded = codec.synthesis(belief, memory, self.observer, self.passed[-1], self.target)
        decoded = decoded.clamp(0, 1)
        total = decoded.new_zeros(())
        if self.alpha < 1:
            total = total + (1 - self.alpha) * human_distortion(decoded, self.image)[0]
        if self.alpha > 0:
            views = varied_views(decoded, self.image, self.chance) if varied else [(decoded, self.image)]
            seen = [self.judges.machine.forward(*pair).mean() for pair in views]
            total = total + self.alpha * torch.stack(seen).mean()
        return total


def varied_views(decoded: Tensor, original: Tensor, chance: np.random.Generator) -> list[Pair]:
    """Two of each of n pictures, chosen by chance; those of the same size are one pair of 2n pictures."""
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
    """A part of at most that size, somewhere."""
    spare = (max(have - want, 0) for have, want in zip(pictures.shape[2:], (height, width), strict=True))
    y, x = (int(chance.integers(max(left, 1))) for left in spare)
    return pictures[:, :, y : y + height, x : x + width]


def _speed_up(network: torch.nn.Module) -> None:
    """Weights come to lie in memory as a processor's convolutions like them."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def machine_pace(effort: int) -> search.Pace:
    """How to search for a machine (alpha 1)."""
    rounds, _, machine, refresh = PACES[effort]
    return search.Pace(rounds, machine, refresh)


@functools.lru_cache(maxsize=2)
def load(folder: Path) -> Judges:
    """The judges for the codec in ``folder``, loaded once."""
    return Judges.exported(folder)
