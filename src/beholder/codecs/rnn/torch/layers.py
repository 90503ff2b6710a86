"""Layers that the codec's networks share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Film(nn.Module):
    """Scale and shift by observer and, where ``iterations`` is given, by iteration (Perez et al., 2018)."""

    def __init__(self, channels: int, iterations: int = 1) -> None:
        super().__init__()
        self.by_alpha = nn.Parameter(torch.zeros(2, 2 * channels))
        self.by_iteration = nn.Parameter(torch.zeros(iterations, 2 * channels))

    def forward(self, x: Tensor, alpha: Tensor, t: Tensor | None = None) -> Tensor:
        """x: (N, C, H, W); alpha: (N,) in [0, 1]; t: (N,) 0-based iteration."""
        powers = torch.stack([alpha, alpha * alpha], 1)
        scale_shift = powers @ self.by_alpha
        scale_shift = scale_shift + (self.by_iteration[0] if t is None else self.by_iteration[t])
        scale, shift = scale_shift[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class ConvGRU(nn.Module):
    """Convolutional GRU, input kernel 3, hidden kernel 1 (Ballas et al., 2016)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Conv2d(inputs, 3 * hidden, 3, padding=1)
        self.gates = nn.Conv2d(hidden, 2 * hidden, 1, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x: (N, inputs, H, W); h: (N, hidden, H, W) -> new hidden state, (N, hidden, H, W)."""
        r, z, c = self.inputs(x).chunk(3, 1)
        hr, hz = self.gates(h).chunk(2, 1)
        candidate = torch.tanh(c + self.candidate(torch.sigmoid(r + hr) * h))
        z = torch.sigmoid(z + hz)
        return h + z * (candidate - h)


def mixed_precision(on: bool, like: Tensor) -> AbstractContextManager[Any]:
    """Where ``on``, networks compute with 16-bit floats (bfloat16 has float32's range: no loss scaling).

    Args:
        on: whether they do.
        like: a tensor of any shape on the device where they compute.
    """
    return torch.autocast(like.device.type, torch.bfloat16) if on else nullcontext()
