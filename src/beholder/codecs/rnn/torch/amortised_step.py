"""One learned step of the encoder's latent optimisation, as a torch module.

This is iterative amortised inference (Marino, Yue and Mandt, 2018). A network gets the codes and the gradient of the
distortion with respect to them. It proposes better codes at once. The gradient is that of MS-SSIM through the linear
reconstruction, which costs a fraction of the picture network's. Without it a network has to guess what this image
needs, and fails (docs/codec.md).

    v     = |code|, its distance from the middle of its cell, and its logarithm
    g     = asinh(gradient in bits, towards larger magnitudes)
    a,b,c = leave(silu(blocks(silu(film(enter([v, g]))))))          stride 16; film: by iteration
    |code| += a + b * distance + c * g, at most LIMIT
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, ITERATIONS, LOW_FREQUENCY, Layout
from beholder.codecs.rnn.optimise.objective import MS_SSIM_LAMBDA
from beholder.codecs.rnn.torch.refinement import Residual

LIMIT = 1.5
"""Quantiser cells that a code moves at most."""
LEAST_BPP = 0.02
"""Bits per pixel that an image counts as at least."""
UNFITTED_RATE = (0.0, 5.0, 0.0)
"""Bits: none for a block, 5 for each nonzero code, none for its size."""
FIRST_STEP = -0.03
"""Cells per unit of ``g`` before anything is learned: a plain step down the gradient."""


class AmortisedStep(nn.Module):
    """Codes and their gradient -> real numbers next to better codes.

    Args:
        layout: of the latent.
        width: channels at stride 16.
        blocks: residual blocks there.
    """

    lagrange: Tensor
    coded: Tensor
    free: Tensor

    def __init__(self, layout: Layout, width: int, blocks: int) -> None:
        super().__init__()
        latent = layout.latent
        self.enter = nn.Conv2d(3 * latent, width, 1)
        self.film = nn.Parameter(torch.zeros(ITERATIONS, 2 * width))
        self.body = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.leave = nn.Conv2d(width, 3 * latent, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        self.table = nn.Parameter(torch.zeros(ITERATIONS, 3 * latent))
        with torch.no_grad():
            self.table[:, 2 * latent :] = FIRST_STEP
        # Bits per block: a constant, for each nonzero code, for each unit of log2(1 + |code|); by iteration.  Fitted
        # to what the entropy model says before training, then fixed.
        self.rate = nn.Parameter(torch.tensor([UNFITTED_RATE]).repeat(ITERATIONS, 1), requires_grad=False)
        # The Lagrange multiplier of log(bits per pixel), by iteration.
        self.register_buffer("lagrange", torch.tensor(MS_SSIM_LAMBDA))
        coded = np.stack([layout.levels(t) >= 0 for t in range(ITERATIONS)])
        self.register_buffer("coded", torch.from_numpy(coded).float())
        # The low-frequency channels stay: their rates come from another entropy model (pyramid.py).
        stay = np.isin(np.arange(latent), LOW_FREQUENCY)
        self.register_buffer("free", torch.from_numpy(coded & ~stay).float())

    def forward(self, begun: Tensor, place: Tensor, gradient: Tensor, t: Tensor) -> Tensor:
        """Better codes, (N, C, H, W) real numbers that rounding turns into codes.

        Args:
            begun: (N, C, H, W) codes of the analysis, whole numbers.
            place: (N, C, H, W) where in its cell each lies: rounded, they are ``begun``.
            gradient: (N, C, H, W) of the distortion with respect to the codes.
            t: (1,) 0-based iteration.
        """
        free = self.free[t][:, :, None, None]
        known = gradient * self.coded[t][:, :, None, None] / self.multiplier(begun, t)
        sign = torch.where(place < 0, -1.0, 1.0)
        magnitude = place * sign
        whole = magnitude.round()
        distance = magnitude - whole
        g = _asinh(known * sign)
        size = torch.log2(1 + whole)
        features = torch.cat([2 * distance, size - 0.3 * (size > 0), 0.5 * g], 1)
        scale, shift = self.film[t][:, :, None, None].chunk(2, 1)
        h = self.body(F.silu(self.enter(features) * (1 + scale) + shift))
        a, b, c = (self.leave(F.silu(h)) + self.table[t][:, :, None, None]).chunk(3, 1)
        moved = place + sign * LIMIT * torch.tanh((a + b * distance + c * g) / LIMIT)
        return torch.where(free > 0, moved, begun)

    @property
    def has_fitted_rate(self) -> bool:
        """Whether :attr:`rate` has been fitted to an entropy model."""
        return bool((self.rate != self.rate.new_tensor(UNFITTED_RATE)).any())

    def multiplier(self, begun: Tensor, t: Tensor) -> Tensor:
        """Distortion that one bit is worth, (N, 1, 1, 1): the Lagrange multiplier over an estimate of the rate."""
        codes = begun[:, 1:].abs()
        count = (codes > 0).float().sum(1).mean((1, 2))
        logarithms = torch.log2(1 + codes).sum(1).mean((1, 2))
        base, each, size = self.rate[t][0]
        bpp = ((base + each * count + size * logarithms) / BLOCK**2).clamp(min=LEAST_BPP)
        pixels = begun.shape[2] * begun.shape[3] * BLOCK**2
        return (self.lagrange[t] / (bpp * pixels))[:, None, None, None]


def _asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine, to 1e-6: ONNX Runtime's own takes ten times as long as these five operations."""
    size = x.abs()
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))
