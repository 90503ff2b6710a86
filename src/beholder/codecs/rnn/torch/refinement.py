"""Refinement after the linear synthesis: convolutions at stride 4 on the reconstruction and on the latent at stride 16.

    c = shuffle(up(blocks(silu(code(y_hat / spread)))))                   stride 16 -> 4
    h = silu(film(enter(unshuffle(reconstruction)) + c))                  film: by iteration and latent optimisation
    correction = shuffle(reach * leave(blocks(h)))                        reach: expected size of the errors

Humans (:mod:`.human_refinement`) and machines (:mod:`.machine_refinement`) have one network each. Attributes are
named like the stored weights.

The encoder's latent optimisation needs gradients without torch: :meth:`Refinement.correct_vjp` is the vector-Jacobian
product, written by hand, so that it can be a graph of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.codecs.rnn.torch.transform import masking

STRIDE = 4
UP = BLOCK // STRIDE
PIXELS = 3 * STRIDE**2
CODE_BLOCKS = 2
RESIDUAL_SCALE = 0.04
"""Scale of corrections after the first iteration, for pixels in [0, 1]. Each further iteration divides it by the
square root of 2, as the quantiser's errors shrink."""
DEVIATION = 0.25
"""Standard deviation of the pixels of photographs, in [0, 1]."""


class Residual(nn.Module):
    """x + conv(silu(conv(x))), the second convolution starting small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3(channels, channels)
        self.second = conv3(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W); the shape stays."""
        return x + self.second(F.silu(self.first(x)))


class Refinement(nn.Module):
    """Network that corrects the linear reconstruction; subclasses compute the features of the latent.

    Args:
        latent: channels of y_hat.
        width: channels at stride 4.
        blocks: residual blocks there.
        codes: channels at stride 16.
        channel_rms: (C,) root mean square of each channel of y_hat.
    """

    spread: Tensor
    reach: Tensor

    def __init__(self, latent: int, width: int, blocks: int, codes: int, channel_rms: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("spread", torch.from_numpy(channel_rms)[:, None, None])
        self.code = conv3(latent, codes)
        self.mid = nn.Sequential(*(Residual(codes) for _ in range(CODE_BLOCKS)))
        self.up = nn.Conv2d(codes, width * UP**2, 1)
        self.enter = conv3(PIXELS, width)
        self.film = nn.Parameter(torch.zeros(2 * ITERATIONS, 2 * width))
        self.body = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.leave = conv3(width, PIXELS)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        scale = RESIDUAL_SCALE * 2.0 ** (-torch.arange(ITERATIONS) / 2)
        self.register_buffer("reach", torch.cat([scale, scale]))

    def correct(self, codes: Tensor, y_hat: Tensor, reconstruction: Tensor, index: Tensor, factors: Tensor) -> Tensor:
        """Correction of the linear reconstruction, (N, 3, 16H, 16W) YCbCr.

        Args:
            codes: (N, codes, H, W) features at stride 16.
            y_hat: (N, latent, H, W), whose first channel is the activity.
            reconstruction: (N, 3, 16H, 16W) YCbCr.
            index: (N,) as :func:`film_index` gives it.
            factors: (N, 2 width) scales and shifts.
        """
        h = F.silu(self.modulate(self.join(codes, reconstruction), factors))
        return F.pixel_shuffle(self.scale(y_hat, index) * self.leave(self.body(h)), STRIDE)

    def correct_with_slopes(
        self, entered: Tensor, y_hat: Tensor, reconstruction: Tensor, index: Tensor, factors: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Correction as :meth:`correct` gives it, and the derivatives of all activations for :meth:`correct_vjp`.

        Args:
            entered: (N, codes, H, W) features at stride 16 before the first activation.
            y_hat, reconstruction, index, factors: as for :meth:`correct`.
        """
        slopes: list[Tensor] = []

        def bent(x: Tensor) -> Tensor:
            gate = torch.sigmoid(x)
            slopes.append(gate * (1 + x * (1 - gate)))
            return x * gate

        def through(blocks: nn.Sequential, x: Tensor) -> Tensor:
            for block in blocks:
                assert isinstance(block, Residual)
                x = x + block.second(bent(block.first(x)))
            return x

        codes = through(self.mid, bent(entered))
        h = through(self.body, bent(self.modulate(self.join(codes, reconstruction), factors)))
        return F.pixel_shuffle(self.scale(y_hat, index) * self.leave(h), STRIDE), slopes

    def correct_vjp(
        self, gradient: Tensor, y_hat: Tensor, index: Tensor, factors: Tensor, slopes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Vector-Jacobian product: by y_hat (but its activity) and by the reconstruction.

        Args:
            gradient: by the correction, (N, 3, 16H, 16W).
            y_hat, index, factors: as for :meth:`correct`.
            slopes: of :meth:`correct_with_slopes`.
        """
        left = list(slopes)

        def back(blocks: nn.Sequential, g: Tensor) -> Tensor:
            for block in reversed(list(blocks)):
                assert isinstance(block, Residual)
                g = g + _back(block.first, _back(block.second, g) * left.pop())
            return g

        g = self.scale(y_hat, index) * _unshuffle(gradient, STRIDE)
        g = back(self.body, _back(self.leave, g)) * left.pop()
        g = g * (1 + factors[:, :, None, None].chunk(2, 1)[0])
        by_reconstruction = F.pixel_shuffle(_back(self.enter, g), STRIDE) / DEVIATION
        g = back(self.mid, self._up_adjoint(g)) * left.pop()
        return _back(self.code, g) / self.spread, by_reconstruction

    def _up_adjoint(self, gradient: Tensor) -> Tensor:
        """Adjoint of shuffling what ``up`` gives, (N, width, 4H, 4W) -> (N, codes, H, W), as one convolution."""
        weight = self.up.weight[:, :, 0, 0].T.reshape(-1, gradient.shape[1], UP, UP)
        return F.conv2d(gradient, weight, stride=UP)

    def join(self, codes: Tensor, reconstruction: Tensor) -> Tensor:
        """Sum of both inputs at stride 4, (N, width, 4H, 4W); inputs as for :meth:`correct`."""
        entered: Tensor = self.enter(F.pixel_unshuffle(reconstruction / DEVIATION, STRIDE))
        return entered + F.pixel_shuffle(self.up(codes), UP)

    def modulate(self, x: Tensor, factors: Tensor) -> Tensor:
        """Scale and shift every channel of (N, width, 4H, 4W) by ``factors``, (N, 2 width)."""
        scale, shift = factors[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift

    def scale(self, y_hat: Tensor, index: Tensor) -> Tensor:
        """Scale of the corrections, (N, 1, 4H, 4W): errors grow with the quantiser's steps, these with the activity."""
        scale = masking(y_hat[:, :1]) * self.reach[index][:, None, None, None]
        return F.interpolate(scale, scale_factor=float(UP), mode="nearest")


def film_index(t: Any, optimised_for: Any) -> Any:
    """Index into :attr:`Refinement.film`.

    Args:
        t: 0-based iteration, a number or a tensor.
        optimised_for: the number of iterations that latent optimisation served, 0 without it.
    """
    return t + ITERATIONS * (optimised_for == 0)


def _unshuffle(x: Tensor, stride: int) -> Tensor:
    """As ``pixel_unshuffle``, by a convolution: ONNX Runtime transposes six axes ten times as slowly."""
    one_hot = torch.diag(x.new_ones(x.shape[1] * stride**2))
    return F.conv2d(x, one_hot.reshape(len(one_hot), -1, stride, stride), stride=stride)


def _back(conv: nn.Module, gradient: Tensor) -> Tensor:
    """Adjoint of a convolution of stride 1 that keeps the size."""
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.transpose(0, 1)
    if weight.shape[-1] > 1:
        weight = weight.flip(2, 3)
    return F.conv2d(gradient, weight, padding=weight.shape[-1] // 2)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)
