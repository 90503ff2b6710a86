"""The human's side of the loss: differentiable MS-SSIM; the machine's is in :mod:`.machine_distortion`.

Blend: ``d = (1 - alpha) d_human + alpha d_machine``, so alpha = 0 is people and alpha = 1 a machine.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn.optimise.ms_ssim import LEAST
from beholder.metrics import similarity
from beholder.metrics.ms_ssim import scale_weights

C1, C2 = similarity.C1 / 255**2, similarity.C2 / 255**2
"""Constants of luminance and contrast, for values up to 1."""


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM (Wang et al., 2003) of RGB batches (N, 3, H, W) in [0, 1], one value a sample, mean of channels.

    Five scales where the short side is at least 161 pixels; below that as many as fit an 11-pixel window, their
    weights renormalised.  The Gaussian filter runs as two banded matrix products, on CPUs several times faster
    than a depthwise convolution and its backward pass.
    """
    weights = scale_weights(min(a.shape[2:]))
    result: Tensor | float = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim_terms(a, b)
        term = contrast if scale < len(weights) - 1 else luminance * contrast
        result = result * F.relu(term.mean((2, 3))).clamp(min=LEAST) ** float(weight)
        if scale < len(weights) - 1:
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
    return torch.from_numpy(similarity.band(size - similarity.WINDOW + 1)).to(device, dtype)


def human_distortion(decoded: Tensor, original: Tensor) -> Tensor:
    """log(1 - MS-SSIM), one value a sample: every rate weighs alike, unlike the paper's 5000 (1 - MS-SSIM)."""
    return torch.log(1 - ms_ssim(decoded, original) + LEAST)
