"""Refinement of the human's picture: :mod:`.refinement` on the dequantised latent alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn.torch.refinement import Refinement


class HumanRefinement(Refinement):
    """Network for alpha 0."""

    def forward(self, y_hat: Tensor, reconstruction: Tensor, index: Tensor) -> Tensor:
        """Correction of the linear reconstruction.

        Args:
            y_hat: (N, C, H, W).
            reconstruction: (N, 3, 16H, 16W) YCbCr.
            index: (N,) as :func:`~beholder.codecs.rnn.torch.refinement.film_index` gives it.
        """
        codes = self.mid(F.silu(self.code(y_hat / self.spread)))
        return self.correct(codes, y_hat, reconstruction, index, self.film[index])

    def with_slopes(self, y_hat: Tensor, reconstruction: Tensor, index: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, and the derivatives of the activations in the order of their evaluation."""
        entered = self.code(y_hat / self.spread)
        return self.correct_with_slopes(entered, y_hat, reconstruction, index, self.film[index])

    def vjp(self, y_hat: Tensor, index: Tensor, gradient: Tensor, slopes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Vector-Jacobian product of :meth:`forward`: by y_hat (but its activity) and by the reconstruction.

        Args:
            y_hat, index: as for :meth:`forward`.
            gradient: (N, 3, 16H, 16W) by the correction.
            slopes: of :meth:`with_slopes`.
        """
        return self.correct_vjp(gradient, y_hat, index, self.film[index], slopes)
