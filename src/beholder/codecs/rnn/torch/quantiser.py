"""The quantiser of `swift` as a torch module: latent to integers on nested levels, and back to centroids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn.layout import ITERATIONS, Layout
from beholder.codecs.rnn.torch.transform import SEARCHED_STEPS, eye_log_ratio


class Quantiser(nn.Module):
    """Embedded dead-zone quantiser: latent <-> integers, on the level that each channel has after iteration ``t``."""

    fineness: Tensor
    log_ratio: Tensor
    searched_ratio: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        levels = np.stack([layout.levels(t) for t in range(ITERATIONS)])
        fineness = np.where(levels < 0, 0.0, 2.0**levels)
        self.register_buffer("fineness", torch.from_numpy(fineness).float())
        # The eye's and a machine's: by how much finer than the layout's their steps are, as a natural logarithm.
        log_ratio = np.stack([eye_log_ratio(layout.latent), np.zeros(layout.latent, np.float32)])
        self.register_buffer("log_ratio", torch.from_numpy(log_ratio))
        # The eye's for codes that were searched for, which serve one number of iterations: a row for each.
        searched_ratio = np.stack([eye_log_ratio(layout.latent, steps) for steps in SEARCHED_STEPS])
        self.register_buffer("searched_ratio", torch.from_numpy(searched_ratio))
        centroid = np.full((2, ITERATIONS, layout.latent), 0.42, np.float32)
        centroid[:, :, 0] = 0
        # The eye's and a machine's: MS-SSIM wants contrast back that a machine does not ask for.
        self.centroid = nn.Parameter(torch.from_numpy(centroid))
        # The eye's where the encoder has searched, which leaves other values in a cell: of the first cell on either
        # side of 0's, and what is added to it in those beyond.
        self.searched = nn.Parameter(torch.from_numpy(np.stack([centroid[0], np.zeros_like(centroid[0])])))

    def gain(self, alpha: Tensor, t: Tensor, target: Tensor | None = None) -> Tensor:
        """1 / step, (b, latent, 1, 1); 0 where nothing has been coded by iteration ``t``.

        Args:
            alpha, t: (b,).
            target: (b,) number of iterations that a sample's codes were searched for, 0 where they were not; None:
                nowhere.
        """
        eye, machine = self.log_ratio
        if target is not None:
            eye = torch.cat([eye[None], self.searched_ratio])[target]
        ratio = torch.exp(torch.lerp(eye, machine, alpha[:, None]))
        return (ratio * self.fineness[t])[:, :, None, None]

    def forward(self, y: Tensor, alpha: Tensor, t: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integers and what they stand for; rounding passes gradients straight through."""
        gain = self.gain(alpha, t, target)
        scaled = y * gain
        whole = torch.trunc(scaled).detach()
        q = scaled + (whole - scaled).detach()
        return q, self.dequantise(q, alpha, t, target)

    def dequantise(self, q: Tensor, alpha: Tensor, t: Tensor, target: Tensor | None = None) -> Tensor:
        """The centroid of each cell, between the eye's and a machine's; linear between whole numbers.

        Args:
            q: (b, latent, h, w) integers.
            alpha, t, target: as for :meth:`gain`.
        """
        gain = self.gain(alpha, t, target)
        eye, machine = self.centroid[:, t]
        beyond = torch.zeros_like(eye)
        if target is not None:
            searched = (target > 0)[:, None].to(eye)
            first, further = self.searched[:, t]
            eye, beyond = torch.lerp(eye, first, searched), further * searched
        centroid = torch.lerp(eye, machine, alpha[:, None])[:, :, None, None]
        beyond = (beyond * (1 - alpha[:, None]))[:, :, None, None]
        sign = q.clamp(-1, 1)
        return (q + centroid * sign + beyond * (q - sign).clamp(-1, 1)) / torch.where(gain > 0, gain, 1.0)
