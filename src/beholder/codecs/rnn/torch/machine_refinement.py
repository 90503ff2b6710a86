"""Refinement of a machine's picture: :mod:`.refinement` on the dequantised latent, the hidden state and alpha.

Its weights begin as a copy of the human's network, since most errors of a picture are errors for every observer. To
learn them from scratch on classifiers' features takes far longer (docs/codec.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.torch.human_refinement import HumanRefinement
from beholder.codecs.rnn.torch.refinement import Refinement


class MachineRefinement(Refinement):
    """Network for alpha above 0.

    Args:
        hidden: channels of the decoder's hidden state.
        latent, width, blocks, codes, channel_rms: as for :class:`Refinement`.
    """

    def __init__(self, hidden: int, latent: int, width: int, blocks: int, codes: int, channel_rms: np.ndarray) -> None:
        super().__init__(latent, width, blocks, codes, channel_rms)
        self.memory = nn.Conv2d(hidden, codes, 1)
        nn.init.zeros_(self.memory.weight)
        assert self.memory.bias is not None
        nn.init.zeros_(self.memory.bias)
        self.film_human = nn.Parameter(torch.zeros(2 * width))

    def forward(self, y_hat: Tensor, hidden: Tensor, reconstruction: Tensor, index: Tensor, alpha: Tensor) -> Tensor:
        """Correction of the linear reconstruction.

        Args:
            y_hat: (N, latent, H, W).
            hidden: (N, K, H, W), the decoder's hidden state.
            reconstruction: (N, 3, 16H, 16W) YCbCr.
            index: (N,) as :func:`~beholder.codecs.rnn.torch.refinement.film_index` gives it.
            alpha: (N,).
        """
        codes = self.mid(F.silu(self._entered(y_hat, hidden)))
        return self.correct(codes, y_hat, reconstruction, index, self._factors(index, alpha))

    def with_slopes(
        self, y_hat: Tensor, hidden: Tensor, reconstruction: Tensor, index: Tensor, alpha: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, with the derivatives of all activations for :meth:`vjp`."""
        factors = self._factors(index, alpha)
        return self.correct_with_slopes(self._entered(y_hat, hidden), y_hat, reconstruction, index, factors)

    def vjp(
        self, y_hat: Tensor, index: Tensor, alpha: Tensor, gradient: Tensor, slopes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Vector-Jacobian product of :meth:`forward`: by y_hat (but its activity) and by the reconstruction.

        Args:
            y_hat, index, alpha: as for :meth:`forward`.
            gradient: by the correction, (N, 3, 16H, 16W).
            slopes: of :meth:`with_slopes`.
        """
        return self.correct_vjp(gradient, y_hat, index, self._factors(index, alpha), slopes)

    def _entered(self, y_hat: Tensor, hidden: Tensor) -> Tensor:
        entered: Tensor = self.code(y_hat / self.spread) + self.memory(hidden)
        return entered

    def _factors(self, index: Tensor, alpha: Tensor) -> Tensor:
        return self.film[index] + (1 - alpha)[:, None] * self.film_human

    def begin(self, human: HumanRefinement) -> None:
        """Copy the weights of the network for people, if nothing has been learned yet."""
        if not bool(self.leave.weight.any()):
            self.load_state_dict(self.state_dict() | human.state_dict())
