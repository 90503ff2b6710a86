"""What corrects pictures for machines: :mod:`.picture_network`, told by codes, the decoder's memory and the observer.

It begins as the eye's network: what is wrong with a picture is mostly wrong for everyone, and learned from scratch on
classifiers' features it takes far longer (docs/codec.md).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.torch.human_refinement import EyeNetwork
from beholder.codecs.rnn.torch.refinement import PictureNetwork


class MachineNetwork(PictureNetwork):
    """A machine's.

    Args:
        hidden: channels of the decoder's memory.
        latent, width, blocks, codes, spread: of :class:`PictureNetwork`.
    """

    def __init__(self, hidden: int, latent: int, width: int, blocks: int, codes: int, spread: np.ndarray) -> None:
        super().__init__(latent, width, blocks, codes, spread)
        self.memory = nn.Conv2d(hidden, codes, 1)
        nn.init.zeros_(self.memory.weight)
        assert self.memory.bias is not None
        nn.init.zeros_(self.memory.bias)
        self.film_human = nn.Parameter(torch.zeros(2 * width))

    def forward(self, belief: Tensor, memory: Tensor, draft: Tensor, row: Tensor, alpha: Tensor) -> Tensor:
        """What to add to the draft.

        Args:
            belief: (b, latent, a, b).
            memory: (b, hidden, a, b).
            draft: (b, 3, 16a, 16b) YCbCr.
            row: (b,) as :func:`~beholder.codecs.rnn.torch.refinement.row_of` gives it.
            alpha: (b,).
        """
        codes = self.mid(F.silu(self.code(belief / self.spread) + self.memory(memory)))
        factors = self.film[row] + (1 - alpha)[:, None] * self.film_human
        return self.correct(codes, belief, draft, row, factors)

    def begin(self, eye: EyeNetwork) -> None:
        """Become ``eye``'s, if nothing has been learned yet."""
        if not bool(self.leave.weight.any()):
            self.load_state_dict(self.state_dict() | eye.state_dict())
