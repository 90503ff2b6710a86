"""Layers of the trainable entropy model that compute, where ``quantise`` is on, what integers will."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.entropy.rounding import ACTIVATION_MAX, ACTIVATION_SCALE, SCALE_STEPS, UNIT, WEIGHT_SCALE
from beholder.codecs.rnn.entropy.tables import LOG_SCALE_RANGE, SCALES


class IntLayer(nn.Module):
    """A convolution whose weights can be rounded to multiples of 1/WEIGHT_SCALE."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.quantise = False

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W) -> (N, outputs, H, W), with rounded weights when ``quantise`` is on."""
        weight, bias = self.conv.weight, self.conv.bias
        if self.quantise:
            weight = round_through(weight, WEIGHT_SCALE)
            bias = None if bias is None else round_through(bias, UNIT)
        return F.conv2d(x, weight, bias, padding=self.conv.padding, groups=self.conv.groups)


class IntNetwork(nn.Module):
    """A network of one stage whose layers, activations and predictions are rounded together."""

    def __init__(self) -> None:
        super().__init__()
        self.quantise = False

    def set_quantise(self, on: bool) -> None:
        """Compute as integers will, here and in every layer."""
        self.quantise = on
        for layer in self.modules():
            if isinstance(layer, IntLayer):
                layer.quantise = on

    def activate(self, x: Tensor) -> Tensor:
        """Clip to the range of an activation, 0 to 255/32; any shape."""
        if self.quantise:
            x = floor_through(x, ACTIVATION_SCALE)
        return x.clamp(0, ACTIVATION_MAX / ACTIVATION_SCALE)

    def round_mean(self, mean: Tensor, parts: int) -> Tensor:
        """Mean to the nearest of ``parts`` parts of a step; any shape."""
        return floor_through(mean + 0.5 / parts, parts) if self.quantise else mean

    def log_scale(self, out: Tensor) -> Tensor:
        """The network's output, of any shape, as the natural logarithm of a scale that the tables have."""
        low, high = LOG_SCALE_RANGE
        if self.quantise:
            index = floor_through(out * SCALE_STEPS, 1).add(SCALES // 2).clamp(0, SCALES - 1)
            return low + (high - low) / (SCALES - 1) * index
        return (out * SCALE_STEPS * (high - low) / (SCALES - 1) + (low + high) / 2).clamp(low, high)


def round_through(x: Tensor, scale: float) -> Tensor:
    """Round to multiples of 1 / scale, any shape; the gradient passes straight through."""
    return _through(x, torch.round(x * scale) / scale)


def floor_through(x: Tensor, scale: float) -> Tensor:
    """Round down to multiples of 1 / scale, any shape; the gradient passes straight through."""
    return _through(x, torch.floor(x * scale) / scale)


def _through(x: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, with the gradient passed straight to ``x``; exact where no gradient is asked for."""
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded


def round_maybe(x: Tensor, on: bool) -> Tensor:
    """Round to the unit of biases if ``on``; any shape."""
    return round_through(x, UNIT) if on else x
