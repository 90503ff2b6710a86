"""`swift`, the recurrent codec, as a torch module: the part that training needs and ONNX is exported from.

    X = pixels of 8x8 patches as YCbCr                     analysis:   y  = transform(X)            stride 16
    S = 0, h = 0                                           (S: what the decoder believes y to be; h: its memory)
    for t = 1..q:
        codes_t = round((y - S) * gain_t)                  only the channels iteration t codes (layout.py)
        S       = S + codes_t / gain_t
        h       = ConvGRU([codes_t / gain_t, S], h)
        S       = S + head(h)                              what neighbours and other channels tell about the rest
    image = synthesis(S, h)                                once, at whatever q is wanted

The loop is closed: an iteration codes what the recurrent decoder could not predict, so no iteration can stall,
and all the heavy work happens once, outside the loop.  Both transforms are a linear block transform (initially
a 16x16 DCT) plus a residual network, so training starts from a working codec.  ``alpha`` enters every network
as a FiLM and scales the gains.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, ITERATIONS, SWIFT, Layout

PATCH = 8
COLOURS = 3 * PATCH * PATCH
STEP = 0.194
"""Coarse quantiser step of the lowest frequency, for pixels in [0, 1] and an orthonormal DCT."""
STEP_SLOPE = 16.0
"""How much coarser high frequencies are: the step of function i is STEP (1 + 16 (i / 256)^1.5)."""
CHROMA_STEP = 0.6
"""Chroma's initial step relative to luma's."""
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-R BT.601, full range, as JPEG uses it."""


@dataclass(frozen=True)
class SwiftConfig:
    """Sizes: ``n`` channels at stride 16, ``m`` at stride 8, ``hidden`` in the recurrent cell."""

    n: int = 128
    m: int = 96
    hidden: int = 96
    context: int = 64
    analysis_blocks: int = 2
    synthesis_blocks: int = 4

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


YCC_TO_RGB = np.linalg.inv(np.array(RGB_TO_YCC)).tolist()


class Film(nn.Module):
    """Scale and shift by observer and, where ``iterations`` is given, by iteration (Perez et al., 2018)."""

    def __init__(self, channels: int, iterations: int = 1) -> None:
        super().__init__()
        self.by_alpha = nn.Parameter(torch.zeros(2, 2 * channels))
        self.by_iteration = nn.Parameter(torch.zeros(iterations, 2 * channels))

    def forward(self, x: Tensor, alpha: Tensor, t: Tensor | None = None) -> Tensor:
        """x: (b, c, h, w); alpha: (b,) in [0, 1]; t: (b,) 0-based iteration."""
        powers = torch.stack([alpha, alpha * alpha], 1)
        scale_shift = powers @ self.by_alpha
        scale_shift = scale_shift + (self.by_iteration[0] if t is None else self.by_iteration[t])
        scale, shift = scale_shift[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class Residual(nn.Module):
    """x + conv(silu(conv(x))), the second convolution starting small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = _conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(x)))


class ConvGRU(nn.Module):
    """Convolutional GRU, input kernel 3, hidden kernel 1 (Ballas et al., 2016)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inputs = _conv(inputs, 3 * hidden)
        self.gates = nn.Conv2d(hidden, 2 * hidden, 1, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z, c = self.inputs(x).chunk(3, 1)
        hr, hz = self.gates(h).chunk(2, 1)
        candidate = torch.tanh(c + self.candidate(torch.sigmoid(r + hr) * h))
        z = torch.sigmoid(z + hz)
        return h + z * (candidate - h)


class Analysis(nn.Module):
    """Image to latent: (b, 3, 16a, 16b) in [0, 1] -> (b, latent, a, b)."""

    step: Tensor
    spread: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        n, m = config.n, config.m
        self.linear = nn.Conv2d(4 * COLOURS, layout.latent, 1, bias=False)
        basis, step, spread = dct_basis(layout.latent)
        self.linear.weight.data = torch.from_numpy(basis)[:, :, None, None]
        self.register_buffer("step", torch.from_numpy(step)[:, None, None])
        self.register_buffer("spread", torch.from_numpy(spread)[:, None, None])
        self.enter = _conv(COLOURS, m)
        self.film = Film(m)
        self.fine = nn.Sequential(*(Residual(m) for _ in range(config.analysis_blocks)))
        self.down = _conv(m, n, stride=2)
        self.film_down = Film(n)
        self.coarse = Residual(n)
        self.leave = _zero(nn.Conv2d(n, layout.latent, 1))

    def forward(self, image: Tensor, alpha: Tensor) -> Tensor:
        patches = to_patches(image)
        e = F.silu(self.film(self.enter(patches / 0.25), alpha))
        e = F.silu(self.film_down(self.down(self.fine(e)), alpha))
        return self.linear(F.pixel_unshuffle(patches, 2)) / self.step + self.spread * self.leave(self.coarse(e))


class Recurrence(nn.Module):
    """One iteration of the decoder: takes in codes, updates belief ``S`` and memory ``h``."""

    mask: Tensor
    spread: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        gains = np.stack([layout.initial_gain(t) for t in range(ITERATIONS)])
        self.register_buffer("spread", torch.from_numpy(dct_basis(layout.latent)[2])[:, None, None])
        self.register_buffer("mask", torch.from_numpy((gains > 0).astype(np.float32)))
        self.log_gain = nn.Parameter(torch.from_numpy(np.log(np.where(gains > 0, gains, 1.0))).float())
        self.log_gain_alpha = nn.Parameter(torch.zeros(ITERATIONS, layout.latent))
        self.enter = nn.Conv2d(3 * layout.latent, config.hidden, 1)
        self.film = Film(config.hidden, ITERATIONS)
        self.cell = ConvGRU(config.hidden, config.hidden)
        self.film_head = Film(config.hidden, ITERATIONS)
        self.head = _zero(nn.Conv2d(config.hidden, layout.latent, 1))

    def gain(self, alpha: Tensor, t: Tensor) -> Tensor:
        """1 / step as (b, latent, 1, 1); 0 where iteration ``t`` codes nothing."""
        log_gain = self.log_gain[t] + alpha[:, None] * self.log_gain_alpha[t]
        return (torch.exp(log_gain) * self.mask[t])[:, :, None, None]

    def forward(self, codes: Tensor, belief: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        news = codes / (self.gain(alpha, t) + (1 - self.mask[t])[:, :, None, None])
        belief = belief + news
        seen = torch.cat([news, belief, belief.abs()], 1) / self.spread.repeat(3, 1, 1)
        x = F.silu(self.film(self.enter(seen), alpha, t))
        hidden = self.cell(x, hidden)
        return belief + self.spread * self.head(self.film_head(hidden, alpha, t)), hidden


class Synthesis(nn.Module):
    """Belief and memory to image: (b, latent, a, b), (b, hidden, a, b) -> (b, 3, 16a, 16b)."""

    step: Tensor
    spread: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        n, m = config.n, config.m
        self.linear = nn.Conv2d(layout.latent, 4 * COLOURS, 1, bias=False)
        basis, step, spread = dct_basis(layout.latent)
        self.linear.weight.data = torch.from_numpy(basis.T.copy())[:, :, None, None]
        self.register_buffer("step", torch.from_numpy(step)[:, None, None])
        self.register_buffer("spread", torch.from_numpy(spread)[:, None, None])
        self.enter = _conv(layout.latent + config.hidden, n)
        self.film = Film(n, ITERATIONS)
        self.coarse = Residual(n)
        self.up = nn.Conv2d(n, 4 * m, 1)
        self.film_up = Film(m, ITERATIONS)
        self.fine = nn.Sequential(*(Residual(m) for _ in range(config.synthesis_blocks)))
        self.leave = _zero(_conv(m, COLOURS))

    def forward(self, belief: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        d = F.silu(self.film(self.enter(torch.cat([belief / self.spread, hidden], 1)), alpha, t))
        d = self.film_up(F.pixel_shuffle(self.up(self.coarse(d)), 2), alpha, t)
        patches = F.pixel_shuffle(self.linear(belief * self.step), 2) + 0.25 * self.leave(self.fine(d))
        return from_patches(patches)


class Swift(nn.Module):
    """The whole codec; see the module's docstring."""

    def __init__(self, config: SwiftConfig | None = None, layout: Layout = SWIFT) -> None:
        super().__init__()
        self.config = config or SwiftConfig()
        self.layout = layout
        self.analysis = Analysis(self.config, layout)
        self.recurrence = Recurrence(self.config, layout)
        self.synthesis = Synthesis(self.config, layout)

    def encode(self, image: Tensor, alpha: Tensor, iterations: int = ITERATIONS) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per iteration: codes, belief and memory after it.  Rounding passes gradients straight through."""
        y = self.analysis(image, alpha)
        belief = torch.zeros_like(y)
        hidden = y.new_zeros(y.shape[0], self.config.hidden, *y.shape[2:])
        states = []
        for i in range(iterations):
            t = torch.full((y.shape[0],), i, dtype=torch.long, device=y.device)
            scaled = (y - belief) * self.recurrence.gain(alpha, t)
            codes = scaled + (torch.round(scaled) - scaled).detach()
            belief, hidden = self.recurrence(codes, belief, hidden, alpha, t)
            states.append((codes, belief, hidden))
        return states

    def forward(self, image: Tensor, alpha: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Image decoded after iteration ``t`` (0-based, one a sample), and the codes of all iterations.

        Args:
            image: (b, 3, h, w) in [0, 1], sides multiples of 16.
            alpha: (b,) in [0, 1].
            t: (b,) long.
        """
        states = self.encode(image, alpha)
        rows = torch.arange(len(t), device=t.device)
        belief = torch.stack([s[1] for s in states], 1)[rows, t]
        hidden = torch.stack([s[2] for s in states], 1)[rows, t]
        return self.synthesis(belief, hidden, alpha, t), [s[0] for s in states]


def to_patches(image: Tensor) -> Tensor:
    """(b, 3, h, w) RGB in [0, 1] -> (b, 192, h/8, w/8), centred YCbCr, 8x8 patches as channels."""
    matrix = image.new_tensor(RGB_TO_YCC)
    ycc = F.conv2d(image - 0.5, matrix[:, :, None, None])
    return F.pixel_unshuffle(ycc, PATCH)


def from_patches(patches: Tensor) -> Tensor:
    """Inverse of :func:`to_patches`, not clamped."""
    matrix = patches.new_tensor(YCC_TO_RGB)
    return F.conv2d(F.pixel_shuffle(patches, PATCH), matrix[:, :, None, None]) + 0.5


def dct_basis(latent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ``latent`` most important functions of a 16x16 DCT of luma and chroma, lowest first.

    Beside the basis: each function's coarse step (finest for low frequencies, as MS-SSIM wants it), and the root
    mean square that its coefficients, divided by that step, have in photographs (a power law, fitted).  Networks
    see coefficients divided by it: raw ones span two orders of magnitude.

    Columns of the basis follow ``pixel_unshuffle(patches, 2)`` of 8x8 patches: colour, row and column in the
    patch, patch row, patch column; 768 in all.
    """
    k = np.arange(BLOCK)
    dct = np.sqrt(2 / BLOCK) * np.cos(math.pi * (k[None] + 0.5) * k[:, None] / BLOCK)
    dct[0] /= math.sqrt(2)
    # Chroma matters less: its functions count as if of a higher frequency.
    order = sorted(
        (math.hypot(u, v) * (2.6 if colour else 1.0) + (2.0 if colour else 0.0), colour, u, v)
        for colour in range(3)
        for u in range(BLOCK)
        for v in range(BLOCK)
    )[:latent]
    basis = np.zeros((latent, 3, BLOCK, BLOCK), np.float32)
    for row, (_, colour, u, v) in enumerate(order):
        basis[row, colour] = np.outer(dct[u], dct[v])
    # 16x16 pixels -> (colour, row in patch, column in patch, patch row, patch column)
    split = basis.reshape(latent, 3, 2, PATCH, 2, PATCH).transpose(0, 1, 3, 5, 2, 4)
    weight = 1 + STEP_SLOPE * (np.arange(latent) / 256) ** 1.5
    step = STEP * weight * [CHROMA_STEP if colour else 1.0 for _, colour, _, _ in order]
    usual = [1.4 * (importance + 0.5) ** -1.4 * (2 if colour else 1) for importance, colour, _, _ in order]
    spread = usual / step
    return np.ascontiguousarray(split.reshape(latent, 4 * COLOURS)), step.astype(np.float32), spread.astype(np.float32)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
