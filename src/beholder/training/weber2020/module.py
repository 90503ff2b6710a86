"""Training module of the `paper` architecture: the mean over all iterations of the distortion d; its rate is fixed.

    d = (1 - alpha) d_human + alpha d_machine        d_human = 5000 (1 - MS-SSIM)

The paper's machine is the mean squared difference of VGG-16's relu1_1 and relu5_1; the setting ``vgg16`` names the file
of its weights.  Without it, ``FeatureDistortion`` stands in: mean squared difference relative to the features' energy,
scaled so that it is about as large as d_human.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.codecs.rnn.torch.human_distortion import ms_ssim
from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion, Vgg16
from beholder.errors import BadOptionError
from beholder.training.weber2020.model import BPP, Weber2020
from beholder.training.weber2020.settings import Weber2020Settings

HUMAN_WEIGHT = 5000.0
MACHINE_WEIGHT = 1000.0


class Weber2020Module(nn.Module):
    """The codec and its distortion.  One network serves one observer: ``alpha`` is a number.

    Raises:
        BadOptionError: ``alpha`` is None (any).
    """

    def __init__(self, settings: Weber2020Settings, alpha: float | None) -> None:
        super().__init__()
        if alpha is None:
            raise BadOptionError("The network of Weber et al. serves one observer: give --alpha a number, not any.")
        self.codec = Weber2020(settings.model)
        self.alpha = alpha
        self.machine: FeatureDistortion | None = None
        self.vgg: Vgg16 | None = None
        if alpha and settings.vgg16 is not None:
            self.vgg = Vgg16(Path(settings.vgg16))
        elif alpha:
            self.machine = FeatureDistortion(**asdict(settings.machine))

    def begin_step(self, step: int, average: list[nn.Module]) -> None:
        """Nothing here changes with the step."""

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """One group: all weights learn at the same rate."""
        return [{"params": list(self.codec.parameters()), "lr": lr, "peak": lr}]

    def averaged(self) -> list[nn.Module]:
        """The modules whose exponential moving average is kept."""
        return [self.codec]

    def loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """image (N, 3, H, W) in [0, 1] -> scalar loss and figures for the log; bpp counts raw bits."""
        images, _ = self.codec(image)
        distortion = torch.stack([self.distortion(decoded, image).mean() for decoded in images])
        loss = distortion.mean()
        figures = {f"train/bpp_{i + 1}": BPP * (i + 1) for i in range(len(images))}
        figures |= {f"train/distortion_{i + 1}": float(d) for i, d in enumerate(distortion.detach())}
        return loss, figures | {"train/distortion": float(loss.detach())}

    def distortion(self, decoded: Tensor, image: Tensor) -> Tensor:
        """(1 - alpha) d_human + alpha d_machine, one value a sample; a side of weight 0 is not computed."""
        total = image.new_zeros(len(image))
        if self.alpha < 1:
            total = total + (1 - self.alpha) * HUMAN_WEIGHT * (1 - ms_ssim(decoded, image))
        if self.vgg is not None:
            total = total + self.alpha * self.vgg_distortion(decoded, image)
        if self.machine is not None:
            # FeatureDistortion gives a logarithm; the paper's machine loss is linear.
            total = total + self.alpha * MACHINE_WEIGHT * torch.exp(self.machine(decoded, image))
        return total

    def vgg_distortion(self, decoded: Tensor, image: Tensor) -> Tensor:
        """Mean squared differences of VGG-16's relu1_1 and relu5_1, added up; one value a sample."""
        assert self.vgg is not None
        with torch.no_grad():
            original_features, _ = self.vgg(image)
        features, _ = self.vgg(decoded)
        differences = [(a - b).square().mean((1, 2, 3)) for a, b in zip(features, original_features, strict=True)]
        return torch.stack(differences).sum(0)

    @torch.no_grad()
    def reconstruct(self, image: Tensor, alpha: float) -> list[tuple[Tensor, Tensor]]:
        """Per iteration: the decoded batch (N, 3, H, W) in [0, 1] and the raw bits a pixel of each sample, (N,).

        Call ``eval()`` first: in training mode the codes are drawn at random.
        """
        images, codes = self.codec(image)
        area = image.shape[2] * image.shape[3]
        bits = torch.tensor([c[0].numel() for c in codes], device=image.device).cumsum(0) / area
        return [(x.clamp(0, 1), b.expand(len(image))) for x, b in zip(images, bits, strict=True)]
