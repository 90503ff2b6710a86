"""Bits of integers under Laplace distributions, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def laplace_bits(q: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits, -log2 of the Laplace mass of the unit interval around ``q``: any shape, of one shape all three."""
    inverse = torch.exp(-log_scale)
    d = (q - mean).abs()
    inside = 1 - 0.5 * (torch.exp((d - 0.5).clamp(max=0) * inverse) + torch.exp(-(d + 0.5) * inverse))
    # log of 0.5 exp(-(d - 0.5) / b) (1 - exp(-1 / b)), stable far in the tail
    tail = -(d - 0.5).clamp(min=0) * inverse + torch.log(0.5 * -torch.expm1(-inverse))
    log_p = torch.where(d < 0.5, torch.log(inside.clamp(min=1e-6)), tail)
    return -log_p.clamp(min=-24) / 0.6931471805599453


def dead_zone_bits(q: Tensor, mean: Tensor, log_scale: Tensor, edge: Tensor) -> Tensor:
    """-log2 of the Laplace mass that truncation to 0 maps to ``q``: (-1, 1) for 0, [q, q + 1) for q > 0.

    Args:
        q: integers, any shape; the others are of one shape with it.
        mean: in [-1, 1].
        log_scale: natural logarithm of the Laplace scale.
        edge: where it is not 0, the value is known to lie in (-edge, edge), and so ``|q| < edge``.
    """
    inverse = torch.exp(-log_scale)

    def within(limit: Tensor | float) -> Tensor:
        return 1 - 0.5 * (torch.exp(-(limit - mean) * inverse) + torch.exp(-(limit + mean) * inverse))

    zero = torch.log(within(1.0).clamp(min=1e-6))
    toward = torch.where(q < 0, -mean, mean)
    tail = -(q.abs() - toward) * inverse + torch.log(0.5 * -torch.expm1(-inverse))
    log_p = torch.where(q.detach() == 0, zero, tail)
    known = torch.where(edge > 0, torch.log(within(edge).clamp(min=1e-6)), torch.zeros_like(edge))
    return -(log_p - known).clamp(min=-24) / 0.6931471805599453
