"""The human's side of the loss: differentiable MS-SSIM; the machine's is in :mod:`.machine_distortion`.

Blend: ``d = (1 - alpha) d_human + alpha d_machine``, so alpha = 0 is the human eye and alpha = 1 a machine.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
