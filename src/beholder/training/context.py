"""The entropy model in its trainable form: predicts a Laplace distribution for every code of an iteration.

It may read only what the decoder already has in integers: codes of earlier iterations, and those passes of the
same iteration that come before.  Its layers are shaped so that they can be frozen to integer arithmetic
(:mod:`beholder.codecs.rnn.entropy` runs them): inputs are integers, activations are clamped and, when
``quantise`` is on, rounded to multiples of 1/32, weights to multiples of 1/256.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.entropy import (
    ACTIVATION_MAX,
    ACTIVATION_SCALE,
    INPUT_LIMIT,
    LOG_SCALE_RANGE,
    MEAN_LIMIT,
    MEAN_SCALE,
    SCALES,
    WEIGHT_SCALE,
    log_table,
)
from beholder.codecs.rnn.layout import ITERATIONS, Layout, lattice


class IntLayer(nn.Module):
    """A convolution whose weights can be rounded to multiples of 1/WEIGHT_SCALE."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.quantise = False

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        if self.quantise:
            weight = _round(weight, WEIGHT_SCALE)
            bias = None if bias is None else _round(bias, WEIGHT_SCALE * ACTIVATION_SCALE)
        return F.conv2d(x, weight, bias, padding=self.conv.padding, groups=self.conv.groups)


class IterationContext(nn.Module):
    """Entropy model of one iteration: integer codes -> mean and log scale of each active channel."""

    def __init__(self, layout: Layout, t: int, width: int) -> None:
        super().__init__()
        self.active = layout.active(t)
        self.seen = layout.seen(t)
        self.passes = layout.passes[t]
        k = len(self.active)
        self.before = IntLayer(2 * self.seen, width) if self.seen else None
        self.current = IntLayer(2 * k, width)
        self.spread_before = IntLayer(width, width, 3) if self.seen else None
        self.spread_current = IntLayer(width, width, 3, bias=False)
        self.by_pass = nn.Parameter(torch.zeros(self.passes, width))
        self.mix = IntLayer(width, width)
        self.out = IntLayer(width, 2 * k)
        self.neighbours = IntLayer(k, k, 3, groups=k, bias=False)
        nn.init.zeros_(self.out.conv.weight)
        assert self.out.conv.bias is not None
        nn.init.zeros_(self.out.conv.bias)
        nn.init.zeros_(self.neighbours.conv.weight)
        self.quantise = False

    def set_quantise(self, on: bool) -> None:
        self.quantise = on
        for layer in self.modules():
            if isinstance(layer, IntLayer):
                layer.quantise = on

    def forward(self, total: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale for all positions, each as its own pass sees them.

        Args:
            total: (b, seen, h, w) integer belief before this iteration, in fine steps.
            codes: (b, k, h, w) this iteration's codes.

        Returns:
            mean, log scale, both (b, k, h, w).
        """
        b, _, h, w = codes.shape
        which = torch.from_numpy(lattice(h, w, self.passes)).to(codes.device)
        base = codes.new_zeros(b, self.by_pass.shape[1], h, w)
        if self.before is not None and self.spread_before is not None:
            base = self.spread_before(self._activate(self.before(features(total))))
        current = self._activate(self.current(features(codes)))
        hidden = base + _maybe_round(self.by_pass, self.quantise)[0][:, None, None]
        linear = torch.zeros_like(codes)
        for p in range(1, self.passes):
            known = (which < p).to(codes.dtype)
            bias = _maybe_round(self.by_pass, self.quantise)[p][:, None, None]
            seen = base + self.spread_current(current * known) + bias
            hidden = torch.where(which == p, seen, hidden)
            linear = torch.where(which == p, self.neighbours(codes.clamp(-INPUT_LIMIT, INPUT_LIMIT) * known), linear)
        out = self.out(self._activate(self.mix(self._activate(hidden))))
        mean, log_scale = out.chunk(2, 1)
        mean = mean + linear
        low, high = LOG_SCALE_RANGE
        if self.quantise:
            step = (high - low) / (SCALES - 1)
            mean = _floor(mean, MEAN_SCALE)
            log_scale = low + step * _floor(log_scale * 4, 1).add(SCALES // 2).clamp(0, SCALES - 1)
        else:
            log_scale = (log_scale * 4 * (high - low) / (SCALES - 1) + (low + high) / 2).clamp(low, high)
        return mean.clamp(-MEAN_LIMIT, MEAN_LIMIT), log_scale

    def _activate(self, x: Tensor) -> Tensor:
        if self.quantise:
            x = _floor(x, ACTIVATION_SCALE)
        return x.clamp(0, ACTIVATION_MAX / ACTIVATION_SCALE)


class ContextModel(nn.Module):
    """One :class:`IterationContext` an iteration."""

    def __init__(self, layout: Layout, width: int = 64) -> None:
        super().__init__()
        self.layout = layout
        self.iterations = nn.ModuleList(IterationContext(layout, t, width) for t in range(ITERATIONS))

    def set_quantise(self, on: bool) -> None:
        """Round weights and activations as the integer runtime does; gradients pass straight through."""
        for model in self.iterations:
            model.set_quantise(on)  # type: ignore[operator]

    def bits(self, codes: list[Tensor]) -> Tensor:
        """Bits that each iteration's codes cost, (b, iterations); differentiable in codes and parameters.

        Args:
            codes: per iteration, (b, latent, h, w), rounded with gradients passed straight through.
        """
        total = torch.zeros_like(codes[0])
        result = []
        for t, model in enumerate(self.iterations):
            active = torch.from_numpy(self.layout.active(t)).to(total.device)
            q = codes[t].index_select(1, active)
            mean, log_scale = model(total[:, : self.layout.seen(t)], q.detach())
            result.append(laplace_bits(q, mean, log_scale).sum((1, 2, 3)))
            worth = torch.from_numpy(self.layout.weights(t)).to(total)
            total = total + codes[t].detach() * worth[:, None, None]
        return torch.stack(result, 1)


def features(codes: Tensor) -> Tensor:
    """Integer codes -> clipped value and companded magnitude, in units of 1/ACTIVATION_SCALE of an integer."""
    clipped = codes.clamp(-INPUT_LIMIT, INPUT_LIMIT)
    table = torch.from_numpy(log_table()).to(codes)
    return torch.cat([clipped / ACTIVATION_SCALE, table[clipped.abs().long()] / ACTIVATION_SCALE], 1)


def laplace_bits(q: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of the Laplace mass of the unit interval around ``q``."""
    inverse = torch.exp(-log_scale)
    d = (q - mean).abs()
    inside = 1 - 0.5 * (torch.exp((d - 0.5).clamp(max=0) * inverse) + torch.exp(-(d + 0.5) * inverse))
    # log of 0.5 exp(-(d - 0.5) / b) (1 - exp(-1 / b)), stable far in the tail
    tail = -(d - 0.5).clamp(min=0) * inverse + torch.log(0.5 * -torch.expm1(-inverse))
    log_p = torch.where(d < 0.5, torch.log(inside.clamp(min=1e-6)), tail)
    return -log_p.clamp(min=-24) / 0.6931471805599453


def _round(x: Tensor, scale: float) -> Tensor:
    return _through(x, torch.round(x * scale) / scale)


def _floor(x: Tensor, scale: float) -> Tensor:
    return _through(x, torch.floor(x * scale) / scale)


def _through(x: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, with the gradient passed straight to ``x``; exact where no gradient is asked for."""
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded


def _maybe_round(x: Tensor, on: bool) -> Tensor:
    return _round(x, WEIGHT_SCALE * ACTIVATION_SCALE) if on else x
