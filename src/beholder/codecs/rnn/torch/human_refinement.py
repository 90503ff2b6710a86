"""Refinement of the human's picture: :mod:`.refinement` on the dequantised latent alone.

The encoder's latent optimisation needs its gradient without torch: :meth:`HumanRefinement.vjp` is the vector-Jacobian
product, written by hand.  :meth:`HumanRefinement.with_slopes` keeps what it needs of the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.torch.refinement import DEVIATION, STRIDE, UP, Refinement, Residual


class HumanRefinement(Refinement):
    """Network for alpha 0."""

    def forward(self, y_hat: Tensor, reconstruction: Tensor, index: Tensor) -> Tensor:
        """Correction of the linear reconstruction.

        Args:
            y_hat: (b, latent, a, b).
            reconstruction: (b, 3, 16a, 16b) YCbCr.
            index: (b,) as :func:`~beholder.codecs.rnn.torch.refinement.film_index` gives it.
        """
        codes = self.mid(F.silu(self.code(y_hat / self.spread)))
        return self.correct(codes, y_hat, reconstruction, index, self.film[index])

    def with_slopes(self, y_hat: Tensor, reconstruction: Tensor, index: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, and the derivatives of the activations in the order of their evaluation."""
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

        codes = through(self.mid, bent(self.code(y_hat / self.spread)))
        h = through(self.body, bent(self.modulate(self.join(codes, reconstruction), self.film[index])))
        return F.pixel_shuffle(self.scale(y_hat, index) * self.leave(h), STRIDE), slopes

    def vjp(self, y_hat: Tensor, index: Tensor, gradient: Tensor, slopes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Vector-Jacobian product of :meth:`forward`: by y_hat (but its activity) and by the reconstruction.

        Args:
            y_hat, index: as for :meth:`forward`.
            gradient: (N, 3, 16H, 16W) by the correction.
            slopes: of :meth:`with_slopes`.
        """
        left = list(slopes)

        def back(blocks: nn.Sequential, g: Tensor) -> Tensor:
            for block in reversed(list(blocks)):
                assert isinstance(block, Residual)
                g = g + _back(block.first, _back(block.second, g) * left.pop())
            return g

        factors = self.film[index]
        g = self.scale(y_hat, index) * F.pixel_unshuffle(gradient, STRIDE)
        g = back(self.body, _back(self.leave, g)) * left.pop()
        g = g * (1 + factors[:, :, None, None].chunk(2, 1)[0])
        by_reconstruction = F.pixel_shuffle(_back(self.enter, g), STRIDE) / DEVIATION
        g = back(self.mid, _back(self.up, F.pixel_unshuffle(g, UP))) * left.pop()
        return _back(self.code, g) / self.spread, by_reconstruction


def _back(conv: nn.Module, gradient: Tensor) -> Tensor:
    """Adjoint of a convolution of stride 1 that keeps the size."""
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.transpose(0, 1)
    if weight.shape[-1] > 1:
        weight = weight.flip(2, 3)
    return F.conv2d(gradient, weight, padding=weight.shape[-1] // 2)
