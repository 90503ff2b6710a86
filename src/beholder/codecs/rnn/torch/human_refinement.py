"""What corrects pictures for the eye: :mod:`.picture_network`, told by the codes.

The encoder's search asks how its result depends on the codes, without torch: :meth:`EyeNetwork.adjoint` is its gradient
as a graph of its own, written by hand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.torch.refinement import DEVIATION, STRIDE, UP, PictureNetwork, Residual


class EyeNetwork(PictureNetwork):
    """The eye's."""

    def forward(self, belief: Tensor, draft: Tensor, row: Tensor) -> Tensor:
        """What to add to the draft.

        Args:
            belief: (b, latent, a, b).
            draft: (b, 3, 16a, 16b) YCbCr.
            row: (b,) as :func:`~beholder.codecs.rnn.torch.refinement.row_of` gives it.
        """
        codes = self.mid(F.silu(self.code(belief / self.spread)))
        return self.correct(codes, belief, draft, row, self.film[row])

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
        factors = self.film[row]
        through(self.body, bent(self.modulate(self.join(c, draft), factors)))
        g = self.scale(belief, row) * F.pixel_unshuffle(gradient, STRIDE)
        g = back(self.body, _back(self.leave, g)) * slopes.pop()
        g = g * (1 + factors[:, :, None, None].chunk(2, 1)[0])
        by_draft = F.pixel_shuffle(_back(self.enter, g), STRIDE) / DEVIATION
        g = back(self.mid, _back(self.up, F.pixel_unshuffle(g, UP))) * slopes.pop()
        return _back(self.code, g) / self.spread, by_draft


def _back(conv: nn.Module, gradient: Tensor) -> Tensor:
    """Adjoint of a convolution of stride 1 that keeps the size."""
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.transpose(0, 1)
    if weight.shape[-1] > 1:
        weight = weight.flip(2, 3)
    return F.conv2d(gradient, weight, padding=weight.shape[-1] // 2)
