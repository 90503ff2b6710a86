"""The entropy model in its trainable form: predicts a Laplace distribution for every code of a stage.

It may read only what the decoder already has in integers: codes of earlier stages, and those passes of the same stage
that come before. Its layers can be frozen to integer arithmetic, in which
:mod:`beholder.codecs.rnn.entropy.stage_network` runs them. Inputs are integers and activations are clamped. When
``quantise`` is on, activations are rounded to multiples of 1/32, and weights to multiples of 1/256.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.entropy.rounding import ACTIVATION_SCALE, INPUT_LIMIT, log_table
from beholder.codecs.rnn.entropy.stage_network import CLASSES
from beholder.codecs.rnn.entropy.tables import (
    DEAD_ZONE_MEAN_SCALE,
    EVEN,
    LEVELS_SPLIT,
    MEAN_LIMIT,
    MEAN_SCALE,
    MEANS,
    family,
)
from beholder.codecs.rnn.layout import Layout, lattice
from beholder.codecs.rnn.torch.entropy.integers import IntLayer, IntNetwork, round_maybe
from beholder.codecs.rnn.torch.entropy.laplace import dead_zone_bits, laplace_bits
from beholder.codecs.rnn.torch.entropy.pyramid import PyramidContext

Prediction = tuple[Tensor, Tensor]
"""Mean and log scale of the codes of a stage, (N, k, H, W) each."""


class StageContext(IntNetwork):
    """Entropy model of one stage: integer codes -> mean and log scale of each of its channels."""

    family: Tensor
    edge: Tensor

    def __init__(self, layout: Layout, stage: int, width: int) -> None:
        super().__init__()
        self.prior_channels = layout.prior_channels(stage)
        self.passes = layout.stages[stage].passes
        refinement = layout.refinement(stage)
        self.refines = bool((refinement >= 0).any())
        k = len(refinement)
        kind = torch.from_numpy(family(layout, stage))[:, None, None]
        self.register_buffer("family", kind, persistent=False)
        split = [1 << LEVELS_SPLIT[f] if f in LEVELS_SPLIT else 0 for f in kind.flatten().tolist()]
        self.register_buffer("edge", torch.tensor(split).float()[:, None, None], persistent=False)
        self.before = IntLayer(2 * self.prior_channels, width) if self.prior_channels else None
        self.current = IntLayer(2 * k, width)
        self.gather_before = IntLayer(width, width, 3) if self.prior_channels else None
        self.spread_before = IntLayer(width, width, 3) if self.prior_channels else None
        self.spread_current = IntLayer(width, width, 3, bias=False)
        self.by_pass = nn.Parameter(torch.zeros(self.passes, width))
        self.mix = IntLayer(width, width)
        self.out = IntLayer(width, 2 * k)
        self.neighbours = IntLayer(k, k, 3, groups=k, bias=False)
        self.activity = IntLayer(k, k, 3, groups=k, bias=False)
        self.own = IntLayer(k, k, 3, groups=k, bias=False) if self.refines else None
        for layer in (self.out, self.neighbours, self.activity, self.own):
            if layer is not None:
                nn.init.zeros_(layer.conv.weight)
        assert self.out.conv.bias is not None
        self.out.conv.bias.data.copy_(torch.cat([torch.zeros(k), torch.full((k,), -3.0)]))
        # Where a channel is refined, nonzero codes become 0 .. 2^r - 1, nearly uniform.
        middle = torch.from_numpy(0.5 * (2.0 ** np.maximum(refinement, 0) - 1)).float()[:, None]
        known = torch.tensor([0.0] + [1.0] * (CLASSES - 1))
        self.state_mean = nn.Parameter(middle * known)
        self.state_scale = nn.Parameter((-5.0 * known).repeat(k, 1))

    def forward(self, total: Tensor, old: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale for all positions, each as its own pass sees them.

        Args:
            total: (N, prior channels, H, W) quantised latent before this stage, in units of the finest step.
            old: (N, k, H, W) quantised latent of the stage's channels before it, in their own steps.
            codes: (N, k, H, W) this stage's codes.

        Returns:
            mean, log scale, both (N, k, H, W).
        """
        b, _, h, w = codes.shape
        which = torch.from_numpy(lattice(h, w, self.passes)).to(codes.device)
        by_pass = round_maybe(self.by_pass, self.quantise)[:, :, None, None]
        base = codes.new_zeros(b, self.by_pass.shape[1], h, w)
        if self.before is not None and self.gather_before is not None and self.spread_before is not None:
            known = self.activate(self.gather_before(self.activate(self.before(features(total)))))
            base = self.spread_before(known)
        clipped = codes.clamp(-INPUT_LIMIT, INPUT_LIMIT)
        magnitude = magnitudes(codes)
        current = self.activate(self.current(torch.cat([clipped / ACTIVATION_SCALE, magnitude], 1)))
        hidden = base + by_pass[0]
        linear = torch.zeros_like(codes)
        active = torch.zeros_like(codes)
        for p in range(1, self.passes):
            known = (which < p).to(codes.dtype)
            here = which == p
            hidden = torch.where(here, base + self.spread_current(current * known) + by_pass[p], hidden)
            linear = torch.where(here, self.neighbours(clipped * known), linear)
            active = torch.where(here, self.activity(magnitude * known), active)
        out = self.out(self.activate(self.mix(self.activate(hidden))))
        mean, log_scale = out.chunk(2, 1)
        mean, log_scale = mean + linear, log_scale + active
        if self.own is not None:
            log_scale = log_scale + self.own(magnitudes(old))
            member = F.one_hot(old.abs().clamp(max=CLASSES - 1).long(), CLASSES).to(codes.dtype)
            # How a nonzero value is split hardly depends on its surroundings: its class alone decides.
            mean, log_scale = mean * member[..., 0], log_scale * member[..., 0]
            mean = mean + torch.einsum("bkhwc,kc->bkhw", member, round_maybe(self.state_mean, self.quantise))
            log_scale = log_scale + torch.einsum("bkhwc,kc->bkhw", member, round_maybe(self.state_scale, self.quantise))
        log_scale = self.log_scale(log_scale)
        eighths = self.round_mean(mean, DEAD_ZONE_MEAN_SCALE)
        mean = torch.where(self.uniform(old), self.round_mean(mean, MEAN_SCALE), eighths)
        most = (MEANS // 2 - 1) / DEAD_ZONE_MEAN_SCALE
        mean = torch.where(self.uniform(old), mean.clamp(-MEAN_LIMIT, MEAN_LIMIT), mean.clamp(-1, most))
        return mean, log_scale

    def uniform(self, old: Tensor) -> Tensor:
        """Where a code's cells are one step wide each (family EVEN), rather than that of 0 two: (N, k, H, W)."""
        return (self.family == EVEN) | (old != 0)

    def bits(self, codes: Tensor, old: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Bits of each code, (N, k, H, W), given :meth:`forward`'s prediction; differentiable."""
        even = laplace_bits(codes, mean, log_scale)
        if bool((self.family == EVEN).all()):
            return even
        return torch.where(self.uniform(old), even, dead_zone_bits(codes, mean.clamp(-1, 1), log_scale, self.edge))


class ContextModel(nn.Module):
    """One :class:`StageContext` or :class:`PyramidContext` a stage."""

    def __init__(self, layout: Layout, width: int = 64) -> None:
        super().__init__()
        self.layout = layout
        self.stages = nn.ModuleList(
            PyramidContext(layout, i) if stage.pyramid else StageContext(layout, i, width)
            for i, stage in enumerate(layout.stages)
        )

    def set_quantise(self, on: bool) -> None:
        """Round weights and activations as the integer runtime does; gradients pass straight through."""
        for model in self.stages:
            model.set_quantise(on)  # type: ignore[operator]

    def bits(self, latents: list[Tensor]) -> Tensor:
        """Bits that each iteration costs, (N, len(latents)); differentiable in latents and parameters.

        Args:
            latents: quantised latent after each iteration, the first or more of all, (N, latent, H, W), rounded with
                gradients passed straight through.
        """
        result: list[Tensor] = [latents[0].new_zeros(len(latents[0])) for _ in latents]
        for step in self._steps(latents):
            soft = latents[step.iteration].index_select(1, step.channels)
            codes = step.codes + (soft - soft.detach()) * torch.where(step.old < 0, -1.0, 1.0)
            cost = step.model.bits(codes, step.old, step.mean, step.log_scale).sum((1, 2, 3))
            result[step.iteration] = result[step.iteration] + cost
        return torch.stack(result, 1)

    @torch.no_grad()
    def predict(self, latents: list[Tensor]) -> list[Prediction]:
        """Mean and log scale of each stage's codes, (N, k, H, W), as the quantised ``latents`` predict them.

        Args:
            latents: (N, latent, H, W) after each iteration.
        """
        return [(step.mean, step.log_scale) for step in self._steps(latents)]

    @torch.no_grad()
    def rate_gradient(
        self, latents: list[Tensor], direction: Tensor, predictions: list[Prediction] | None = None
    ) -> list[Tensor]:
        """Finite differences of the bits by each code while all others stay.

        Args:
            latents: quantised latent after each iteration, whole numbers.
            direction: 1 or -1, (N, latent, H, W): which way each would move.
            predictions: of :meth:`predict` for latents like these; they take nearly all of the time.

        Returns:
            For each iteration (N, latent, H, W): bits for each unit of its codes, 0 where nothing is coded or the code
            could not move.
        """
        result = [torch.zeros_like(latent) for latent in latents]
        for step in self._steps(latents, predictions):
            mirrored = torch.where(step.old < 0, -1.0, 1.0)
            way = direction.index_select(1, step.channels) * mirrored
            moved = step.codes + way
            costs = [step.model.bits(codes, step.old, step.mean, step.log_scale) for codes in (step.codes, moved)]
            # A refinement stays within the cell that it splits.
            split = (moved >= 0) & (moved < step.factor)
            free = torch.where(step.old != 0, split, (step.factor == 1) | (moved.abs() < step.factor))
            gradient = torch.where(free, (costs[1] - costs[0]) * way * mirrored, 0.0)
            result[step.iteration].index_copy_(1, step.channels, gradient)
        return result

    def _steps(self, latents: list[Tensor], predictions: list[Prediction] | None = None) -> Iterator[_Step]:
        """Yield the stages in coding order, each with its codes and their predictions."""
        state = torch.zeros_like(latents[0])
        for i, (stage, model) in enumerate(zip(self.layout.stages, self.stages, strict=True)):
            if stage.iteration == len(latents):
                break
            channels = torch.from_numpy(stage.channels).to(state.device)
            prior = self.layout.prior_channels(i)
            step = torch.from_numpy(self.layout.step_in_finest_units(i)[:prior]).to(state)[:, None, None]
            factor = torch.from_numpy(2.0 ** np.maximum(self.layout.refinement(i), 0)).to(state)[:, None, None]
            soft, old = latents[stage.iteration].index_select(1, channels), state.index_select(1, channels)
            new = torch.round(soft.detach())  # soft is whole but for rounding errors
            codes = torch.where(old == 0, new, new * torch.sign(old) - factor * old.abs())
            if predictions is None:
                mean, log_scale = model(state[:, :prior] * step, old, codes)
            else:
                mean, log_scale = predictions[i]
            assert isinstance(model, StageContext | PyramidContext)
            yield _Step(model, stage.iteration, channels, factor, old, codes, mean, log_scale)
            state = state.index_copy(1, channels, new)


@dataclass(frozen=True)
class _Step:
    """One stage: ``old`` holds the values of its channels before the stage. ``factor`` (k, 1, 1) is the number of
    cells into which the stage splits one cell, 1 where nothing was known. The rest is as in :class:`StageContext`."""

    model: StageContext | PyramidContext
    iteration: int
    channels: Tensor
    factor: Tensor
    old: Tensor
    codes: Tensor
    mean: Tensor
    log_scale: Tensor


def features(codes: Tensor) -> Tensor:
    """Integer codes (N, k, H, W) -> clipped values and companded magnitudes, (N, 2k, H, W), in units of
    1/ACTIVATION_SCALE of an integer."""
    return torch.cat([codes.clamp(-INPUT_LIMIT, INPUT_LIMIT) / ACTIVATION_SCALE, magnitudes(codes)], 1)


def magnitudes(codes: Tensor) -> Tensor:
    """log2(1 + |codes|), clipped and rounded as the integer runtime does; any shape."""
    table = torch.from_numpy(log_table()).to(codes)
    return table[codes.abs().clamp(max=INPUT_LIMIT).long()] / ACTIVATION_SCALE
