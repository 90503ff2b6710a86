"""Trainable form of :mod:`beholder.codecs.rnn.entropy.pyramid`: the low-frequency channels' entropy model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn.entropy.pyramid import before, count_features, inputs, pyramid
from beholder.codecs.rnn.entropy.rounding import ACTIVATION_SCALE
from beholder.codecs.rnn.entropy.tables import DEAD_ZONE_MEAN_SCALE, MEAN_LIMIT, MEAN_SCALE
from beholder.codecs.rnn.layout import Layout
from beholder.codecs.rnn.torch.entropy.integers import IntLayer, IntNetwork, round_maybe
from beholder.codecs.rnn.torch.entropy.laplace import dead_zone_bits, laplace_bits

PASSES = 11
WIDTH = 48


class PyramidContext(IntNetwork):
    """Entropy model of one low-frequency channel; the interface is that of
    :class:`beholder.codecs.rnn.torch.entropy.models.StageContext`."""

    def __init__(self, layout: Layout, stage: int, width: int = WIDTH) -> None:
        super().__init__()
        self.earlier = before(layout, stage)
        self.step_in_finest_units = int(layout.step_in_finest_units(stage).max()) or 1
        differences, every = count_features(len(self.earlier))
        self.by_pass = nn.Parameter(torch.zeros(PASSES, width))
        self.enter = IntLayer(every, 2 * width, bias=False)
        self.mix = IntLayer(width, width)
        self.out = IntLayer(width, 2)
        self.linear = IntLayer(differences, 2, bias=False)
        for layer in (self.out, self.linear):
            nn.init.zeros_(layer.conv.weight)
        assert self.out.conv.bias is not None
        nn.init.zeros_(self.out.conv.bias)

    def forward(self, total: Tensor, old: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (of the latent for truncated codes, in steps) and log scale, both (N, 1, H, W).

        Args:
            total: (N, prior channels, H, W) quantised latent before this stage, in units of the finest step.
            old: not used: these channels are coded once here.
            codes: (N, 1, H, W) this stage's codes.
        """
        b, _, height, width = codes.shape

        def constant(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(codes.device)

        planes = [
            *(total[:, c].detach().long() // self.step_in_finest_units for c in self.earlier),
            codes[:, 0].detach().long(),
        ]
        steps = pyramid(height, width)
        known = [inputs(planes, step, torch, constant) for step in steps]
        reference, differences, every = (torch.cat([x[i] for x in known], 1).to(codes.dtype) for i in range(3))
        sizes = [len(step.where[0]) for step in steps]
        number = constant(np.repeat(np.arange(len(steps)), sizes))
        corners = constant(np.repeat([step.kind for step in steps], sizes)) == 1
        by_pass = round_maybe(self.by_pass, self.quantise)
        sides, diagonal = self.enter(_channels(every / ACTIVATION_SCALE)).chunk(2, 1)
        hidden = torch.where(corners[:, None], diagonal, sides) + by_pass[number].T[..., None]
        out = self.out(self.activate(self.mix(self.activate(hidden))))[..., 0]
        linear = self.linear(_channels(differences / MEAN_SCALE))[..., 0]
        more = torch.where(corners, linear[:, 1], linear[:, 0]) + out[:, 0]
        more = self.round_mean(more, MEAN_SCALE)
        log_scale = self.log_scale(out[:, 1])
        mean = (reference / MEAN_SCALE + more).clamp(-MEAN_LIMIT - 0.5, MEAN_LIMIT + 0.5)
        rows, columns = (np.concatenate([s.where[i] for s in steps]) for i in range(2))
        place = constant(np.argsort(rows * width + columns))
        shape = (b, 1, height, width)
        return mean[:, place].reshape(shape), log_scale[:, place].reshape(shape)

    def bits(self, codes: Tensor, old: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Bits of each code, (N, 1, H, W), given :meth:`forward`'s prediction; differentiable."""
        if not self.earlier:
            return laplace_bits(codes, mean, log_scale)
        far = laplace_bits(codes, mean - 0.5 * torch.sign(mean.detach()), log_scale)
        most = 1 - 1 / DEAD_ZONE_MEAN_SCALE
        near = self.round_mean(mean.clamp(-1, most), DEAD_ZONE_MEAN_SCALE).clamp(-1, most)
        close = dead_zone_bits(codes, near, log_scale, torch.zeros_like(mean))
        return torch.where(mean.detach().abs() < 1, close, far)


def _channels(x: Tensor) -> Tensor:
    """(N, p, n) -> (N, n, p, 1)."""
    return x.transpose(1, 2)[..., None]
