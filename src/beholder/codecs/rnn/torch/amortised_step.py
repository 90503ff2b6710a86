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
_STEEP = 1e30
"""Numbers times this, plus 1, clamped to -1 and 1, are their signs, and 1 for 0.  ``where`` takes twice as long."""


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
        whole = begun.abs()
        nonzero, size = whole.clamp(max=1), torch.log2(1 + whole)
        multiplier = self._multiplier(nonzero, size, t)
        known = gradient * (self.coded[t] / multiplier[:, None])[:, :, None, None]
        sign = (place * _STEEP + 1).clamp(-1, 1)
        magnitude = place.abs()
        distance = magnitude - whole
        g = sign * _asinh(known)
        features = torch.cat([2 * distance, size - 0.3 * nonzero, 0.5 * g], 1)
        scale, shift = self.film[t][:, :, None, None].chunk(2, 1)
        h = self.body(F.silu(self.enter(features) * (1 + scale) + shift))
        assert self.leave.bias is not None
        # The table as part of the bias takes no pass over the codes of its own, and slices are faster than `chunk`.
        left = F.conv2d(F.silu(h), self.leave.weight, self.leave.bias + self.table[t][0])
        a, b, c = (left.narrow(1, part * begun.shape[1], begun.shape[1]) for part in range(3))
        moved = sign * (magnitude + LIMIT * torch.tanh((a + b * distance + c * g) / LIMIT))
        return torch.where(self.free[t][:, :, None, None] > 0, moved, begun)

    @property
    def has_fitted_rate(self) -> bool:
        """Whether :attr:`rate` has been fitted to an entropy model."""
        return bool((self.rate != self.rate.new_tensor(UNFITTED_RATE)).any())

    def multiplier(self, begun: Tensor, t: Tensor) -> Tensor:
        """Distortion that one bit is worth, (N, 1, 1, 1): the Lagrange multiplier over an estimate of the rate."""
        whole = begun.abs()
        return self._multiplier(whole.clamp(max=1), torch.log2(1 + whole), t)[:, None, None, None]

    def _multiplier(self, nonzero: Tensor, size: Tensor, t: Tensor) -> Tensor:
        """As :meth:`multiplier`, (N,), from 1 for each nonzero code and from log2(1 + |code|), (N, C, H, W) each."""
        positions = size.shape[2] * size.shape[3]
        count, sizes = (x.sum((2, 3))[:, 1:].sum(1) / positions for x in (nonzero, size))
        base, each, by_size = self.rate[t][0]
        bpp = ((base + each * count + by_size * sizes) / BLOCK**2).clamp(min=LEAST_BPP)
        return self.lagrange[t] / (bpp * (positions * BLOCK**2))


def _asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine, to 1e-6: ONNX Runtime's own takes ten times as long, and its sign three times as long as
    the last two operations, which give the result the sign of ``x``, whose size is larger."""
    size = x.abs()
    result = torch.log(size + torch.sqrt(size * size + 1))
    return torch.minimum(torch.maximum(x, -result), result)
