"""What corrects pictures for the eye: convolutions at stride 4 that see the draft, told by the codes at stride 16.

    c = shuffle(up(blocks(silu(code(belief / spread)))))               stride 16 -> 4
    h = silu(film(enter(unshuffle(draft)) + c))                        film: by iteration, and by how codes came about
    correction = shuffle(reach * leave(blocks(h)))                     reach: how large errors are here

The encoder's search asks how its result depends on the codes, without torch: :meth:`EyeNetwork.adjoint` is its gradient
as a graph of its own, written by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.codecs.rnn.transform import masking

STRIDE = 4
UP = BLOCK // STRIDE
PIXELS = 3 * STRIDE**2
CODE_BLOCKS = 2
REACH = 0.04
"""Scale of what is corrected after the first iteration, in pixels of [0, 1]; each further one brings it down by half a
halving."""
DEVIATION = 0.25
"""Of a photograph's pixels."""


class Residual(nn.Module):
    """x + conv(silu(conv(x))), the second convolution starting small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = _conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(x)))


class EyeNetwork(nn.Module):
    """Corrects the linear synthesis' draft.

    Args:
        latent: channels of a belief.
        width: channels at stride 4.
        blocks: residual blocks there.
        codes: channels at stride 16.
        spread: (latent, 1, 1) usual magnitude of a belief.
    """

    spread: Tensor
    reach: Tensor

    def __init__(self, latent: int, width: int, blocks: int, codes: int, spread: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("spread", torch.from_numpy(spread)[:, None, None])
        self.code = _conv(latent, codes)
        self.mid = nn.Sequential(*(Residual(codes) for _ in range(CODE_BLOCKS)))
        self.up = nn.Conv2d(codes, width * UP**2, 1)
        self.enter = _conv(PIXELS, width)
        self.film = nn.Parameter(torch.zeros(2 * ITERATIONS, 2 * width))
        self.body = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.leave = _conv(width, PIXELS)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        reach = REACH * 2.0 ** (-torch.arange(ITERATIONS) / 2)
        self.register_buffer("reach", torch.cat([reach, reach]))

    def forward(self, belief: Tensor, draft: Tensor, row: Tensor) -> Tensor:
        """What to add to the draft.

        Args:
            belief: (b, latent, a, b).
            draft: (b, 3, 16a, 16b) YCbCr.
            row: (b,) as :func:`row_of` gives it.
        """
        c = self.mid(F.silu(self.code(belief / self.spread)))
        h = F.silu(self._film(self._enter(c, draft), row))
        return F.pixel_shuffle(self._scale(belief, row) * self.leave(self.body(h)), STRIDE)

    def adjoint(self, belief: Tensor, draft: Tensor, row: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """From how something grows with the correction to how it grows with belief (but its contrast) and draft."""
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

        def back(blocks: nn.Sequential, g: Tensor) -> Tensor:
            for block in reversed(list(blocks)):
                assert isinstance(block, Residual)
                g = g + _back(block.first, _back(block.second, g) * slopes.pop())
            return g

        c = through(self.mid, bent(self.code(belief / self.spread)))
        through(self.body, bent(self._film(self._enter(c, draft), row)))
        g = self._scale(belief, row) * F.pixel_unshuffle(gradient, STRIDE)
        g = back(self.body, _back(self.leave, g)) * slopes.pop()
        g = g * (1 + self._factors(row)[0])
        by_draft = F.pixel_shuffle(_back(self.enter, g), STRIDE) / DEVIATION
        g = back(self.mid, _back(self.up, F.pixel_unshuffle(g, UP))) * slopes.pop()
        return _back(self.code, g) / self.spread, by_draft

    def _enter(self, codes: Tensor, draft: Tensor) -> Tensor:
        seen: Tensor = self.enter(F.pixel_unshuffle(draft / DEVIATION, STRIDE))
        return seen + F.pixel_shuffle(self.up(codes), UP)

    def _factors(self, row: Tensor) -> tuple[Tensor, ...]:
        return self.film[row][:, :, None, None].chunk(2, 1)

    def _film(self, x: Tensor, row: Tensor) -> Tensor:
        scale, shift = self._factors(row)
        return x * (1 + scale) + shift

    def _scale(self, belief: Tensor, row: Tensor) -> Tensor:
        # Errors are as large as the quantiser's steps, which grow with the contrast.
        scale = masking(belief[:, :1]) * self.reach[row][:, None, None, None]
        return F.interpolate(scale, scale_factor=float(UP), mode="nearest")


def row_of(t: Any, target: Any) -> Any:
    """Which row of :attr:`EyeNetwork.film` belongs to codes.

    Args:
        t: 0-based iteration, a number or a tensor.
        target: the number of iterations that they were searched for, 0 where they were not.
    """
    return t + ITERATIONS * (target == 0)


def _back(conv: nn.Module, gradient: Tensor) -> Tensor:
    """Adjoint of a convolution of stride 1 that keeps the size."""
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.transpose(0, 1)
    if weight.shape[-1] > 1:
        weight = weight.flip(2, 3)
    return F.conv2d(gradient, weight, padding=weight.shape[-1] // 2)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
