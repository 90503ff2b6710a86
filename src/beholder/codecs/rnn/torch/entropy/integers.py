"""Layers of the trainable entropy model that compute, where ``quantise`` is on, what integers will."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.entropy.stage_network import ACTIVATION_SCALE, WEIGHT_SCALE


class IntLayer(nn.Module):
    """A convolution whose weights can be rounded to multiples of 1/WEIGHT_SCALE."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.quantise = False

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        if self.quantise:
            weight = round_through(weight, WEIGHT_SCALE)
            bias = None if bias is None else round_through(bias, WEIGHT_SCALE * ACTIVATION_SCALE)
        return F.conv2d(x, weight, bias, padding=self.conv.padding, groups=self.conv.groups)


def round_through(x: Tensor, scale: float) -> Tensor:
    return _through(x, torch.round(x * scale) / scale)


def floor_through(x: Tensor, scale: float) -> Tensor:
    return _through(x, torch.floor(x * scale) / scale)


def _through(x: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, with the gradient passed straight to ``x``; exact where no gradient is asked for."""
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded


def round_maybe(x: Tensor, on: bool) -> Tensor:
    return round_through(x, WEIGHT_SCALE * ACTIVATION_SCALE) if on else x
