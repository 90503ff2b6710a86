"""The quantiser as a torch module: latent to integers on nested levels, and back to centroids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn.layout import ITERATIONS, Layout

Ranges = Sequence[tuple[int, int, float]]


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
        # Natural logarithm of how much finer the steps of human and machine are than the layout's.
        self.register_buffer("log_ratio", torch.zeros(2, layout.latent))
        # The human's in optimised files, a row for each number of iterations that they are optimised for.
        self.register_buffer("searched_ratio", torch.zeros(ITERATIONS, layout.latent))
        centroid = np.full((2, ITERATIONS, layout.latent), 0.42, np.float32)
        centroid[:, :, 0] = 0
        # Offsets of human and machine: MS-SSIM needs detail restored that a machine does not need.
        self.centroid = nn.Parameter(torch.from_numpy(centroid))
        # The human's in optimised files: offsets for abs(q) = 1, and the extra offset for abs(q) > 1.
        self.searched = nn.Parameter(torch.from_numpy(np.stack([centroid[0], np.zeros_like(centroid[0])])))

    def set_steps(self, human: Ranges, optimised: Sequence[Ranges]) -> None:
        """Make the human's steps coarser or finer than the layout's.

        Args:
            human: (first channel, end, factor on the step) each, for files without latent optimisation.
            optimised: the same for optimised files, by the number of iterations that they are optimised for.
        """
        latent = self.log_ratio.shape[1]
        self.log_ratio[0] = torch.from_numpy(_log_ratio(latent, human))
        self.searched_ratio[:] = torch.from_numpy(np.stack([_log_ratio(latent, ranges) for ranges in optimised]))

    def gain(self, alpha: Tensor, t: Tensor, optimised_for: Tensor | None = None) -> Tensor:
        """1 / step, (N, latent, 1, 1); 0 where nothing has been coded by iteration ``t``.

        Args:
            alpha, t: (N,).
            optimised_for: (N,) number of iterations that latent optimisation served, 0 without it; None: 0 for all.
        """
        human, machine = self.log_ratio
        if optimised_for is not None:
            human = torch.cat([human[None], self.searched_ratio])[optimised_for]
        ratio = torch.exp(torch.lerp(human, machine, alpha[:, None]))
        return (ratio * self.fineness[t])[:, :, None, None]

    def forward(
        self, y: Tensor, alpha: Tensor, t: Tensor, optimised_for: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Integers and their y_hat, (N, latent, H, W) each; rounding passes gradients straight through.

        Args:
            y: (N, latent, H, W).
            alpha, t, optimised_for: as for :meth:`gain`.
        """
        gain = self.gain(alpha, t, optimised_for)
        scaled = y * gain
        whole = torch.trunc(scaled).detach()
        q = scaled + (whole - scaled).detach()
        return q, self.dequantise(q, alpha, t, optimised_for)

    def dequantise(self, q: Tensor, alpha: Tensor, t: Tensor, optimised_for: Tensor | None = None) -> Tensor:
        """The centroid of each cell, between the human's and a machine's; linear between whole numbers.

        Args:
            q: (N, latent, H, W) integers.
            alpha, t, optimised_for: as for :meth:`gain`.
        """
        gain = self.gain(alpha, t, optimised_for)
        human, machine = self.centroid[:, t]
        beyond = torch.zeros_like(human)
        if optimised_for is not None:
            is_optimised = (optimised_for > 0)[:, None].to(human)
            first, further = self.searched[:, t]
            human, beyond = torch.lerp(human, first, is_optimised), further * is_optimised
        centroid = torch.lerp(human, machine, alpha[:, None])[:, :, None, None]
        beyond = (beyond * (1 - alpha[:, None]))[:, :, None, None]
        sign = q.clamp(-1, 1)
        return (q + centroid * sign + beyond * (q - sign).clamp(-1, 1)) / torch.where(gain > 0, gain, 1.0)


def _log_ratio(latent: int, ranges: Ranges) -> np.ndarray:
    """(C,) natural logarithm of how much finer the steps become, as 16-bit floats hold it."""
    ratio = np.zeros(latent, np.float32)
    for low, high, factor in ranges:
        ratio[low:high] = np.float16(-math.log(factor))
    return ratio
