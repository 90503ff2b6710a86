"""What corrects a picture after the linear synthesis: convolutions at stride 4 that see the draft, told by the codes at
stride 16.

    c = shuffle(up(blocks(silu(code(belief / spread)))))               stride 16 -> 4
    h = silu(film(enter(unshuffle(draft)) + c))                        film: by iteration, and by how codes came about
    correction = shuffle(reach * leave(blocks(h)))                     reach: how large errors are here

The eye (:mod:`.eye_network`) and machines (:mod:`.machine_network`) have one each.
"""

from __future__ import annotations

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
REACH = 0.04
"""Scale of what is corrected after the first iteration, in pixels of [0, 1]; each further one brings it down by half a
halving."""
DEVIATION = 0.25
"""Of a photograph's pixels."""


class Residual(nn.Module):
    """x + conv(silu(conv(x))), the second convolution starting small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3(channels, channels)
        self.second = conv3(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(x)))


class PictureNetwork(nn.Module):
    """Corrects the linear synthesis' draft; :meth:`correct` with what a subclass makes of the codes.

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
        reach = REACH * 2.0 ** (-torch.arange(ITERATIONS) / 2)
        self.register_buffer("reach", torch.cat([reach, reach]))

    def correct(self, codes: Tensor, belief: Tensor, draft: Tensor, row: Tensor, factors: Tensor) -> Tensor:
        """What to add to the draft.

        Args:
            codes: (b, codes, a, b) what stride 16 has to tell.
            belief: (b, latent, a, b), of which the contrast is asked.
            draft: (b, 3, 16a, 16b) YCbCr.
            row: (b,) as :func:`row_of` gives it.
            factors: (b, 2 width) scales and shifts.
        """
        h = F.silu(self.modulate(self.join(codes, draft), factors))
        return F.pixel_shuffle(self.scale(belief, row) * self.leave(self.body(h)), STRIDE)

    def join(self, codes: Tensor, draft: Tensor) -> Tensor:
        """Both at stride 4."""
        seen: Tensor = self.enter(F.pixel_unshuffle(draft / DEVIATION, STRIDE))
        return seen + F.pixel_shuffle(self.up(codes), UP)

    def modulate(self, x: Tensor, factors: Tensor) -> Tensor:
        """Scale and shift of every channel."""
        scale, shift = factors[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift

    def scale(self, belief: Tensor, row: Tensor) -> Tensor:
        """How large corrections are: errors are as large as the quantiser's steps, which grow with the contrast."""
        scale = masking(belief[:, :1]) * self.reach[row][:, None, None, None]
        return F.interpolate(scale, scale_factor=float(UP), mode="nearest")


def row_of(t: Any, target: Any) -> Any:
    """Which row of :attr:`PictureNetwork.film` belongs to codes.

    Args:
        t: 0-based iteration, a number or a tensor.
        target: the number of iterations that they were searched for, 0 where they were not.
    """
    return t + ITERATIONS * (target == 0)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
