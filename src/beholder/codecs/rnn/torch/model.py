"""`swift`, the recurrent codec, as a torch module: the part that training needs and ONNX is exported from.

    y = analysis(image)                                 stride 16; y[0] is the contrast of each block, an integer
    h = 0                                               the decoder's memory
    for t = 1..n:
        q_t = trunc(y / step_t)                         finer with t; iteration t sends what q_{t-1} does not tell
        S_t = dequantise(q_t)
        h   = ConvGRU(S_t, h)
    image = synthesis(S_n + head(h), h)                 once, at whatever n is wanted

Analysis and synthesis are linear transforms (transform.py: initially a lapped DCT, divided by what the block's contrast
masks), so training starts from a working codec.  Codes depend on the image and on analysis alone; all that the
decoder's networks compute can be replaced without touching the entropy coder.  ``alpha`` enters every network as a
FiLM.

What the memory corrects is for machines: its share grows with alpha, from nothing for the eye.  Both have a linear
synthesis and a network that corrects its picture (picture_network.py) of their own.

Where the config asks for them, residual networks stand beside analysis; the codec that ships has none
(docs/codec.md).  Every residual branch is scaled to the error it may correct.  With larger scales the jitter of
its weights, a learning rate each step, outweighs what it can learn, and training turns it off.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import FULL_SHARE, ITERATIONS, SWIFT, Layout
from beholder.codecs.rnn.torch.human_refinement import EyeNetwork
from beholder.codecs.rnn.torch.machine_refinement import MachineNetwork
from beholder.codecs.rnn.torch.quantiser import Quantiser
from beholder.codecs.rnn.torch.refinement import Residual, row_of
from beholder.codecs.rnn.torch.transform import (
    COLOURS,
    PATCH,
    Basis,
    BorderFilter,
    border_filters,
    contrast_code,
    from_ycc,
    from_ycc_adjoint,
    masking,
    to_ycc,
)

ANALYSIS_REACH = 0.1
"""Scale of analysis' residual network, in coarse steps."""
FORMER = ("w", "synthesis_blocks", "pixel_blocks")
"""Sizes of networks that codecs of before had."""


@dataclass(frozen=True)
class SwiftConfig:
    """Sizes: ``hidden`` channels in the recurrent cell, ``context`` in the entropy model.

    ``eye_width`` channels and ``eye_blocks`` blocks at stride 4 and ``eye_codes`` channels at stride 16 in the network
    that corrects the eye's pictures, and with ``machine_network`` 1 in a machine's too; with a width of 0 there is
    neither.  ``analysis_blocks`` of ``m`` channels at stride 8, with ``n`` at stride 16, stand beside analysis.
    """

    n: int = 128
    m: int = 96
    hidden: int = 96
    context: int = 96
    analysis_blocks: int = 0
    eye_width: int = 0
    eye_blocks: int = 4
    eye_codes: int = 96
    machine_network: int = 0

    @classmethod
    def read(cls, sizes: dict[str, int]) -> SwiftConfig:
        """Of a config, a checkpoint or a model's card, which may be of before.

        Raises:
            TypeError: there is no such size.
        """
        return cls(**{name: value for name, value in sizes.items() if name not in FORMER})

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


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
    luma: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        n, m = config.n, config.m
        basis = Basis(layout.latent - 1)
        self.borders = BorderFilter(border_filters()[0])
        self.linear = nn.Conv2d(4 * COLOURS, layout.latent - 1, 1, bias=False)
        self.linear.weight.data = torch.from_numpy(basis.matrix)[:, :, None, None]
        self.register_buffer("step", torch.from_numpy(basis.step)[:, None, None])
        self.register_buffer("luma", torch.from_numpy(basis.luma)[:, None, None])
        self.residual = bool(config.analysis_blocks)
        if self.residual:
            self.enter = _conv(COLOURS, m)
            self.film = Film(m)
            self.fine = nn.Sequential(*(Residual(m) for _ in range(config.analysis_blocks)))
            self.down = _conv(m, n, stride=2)
            self.film_down = Film(n)
            self.coarse = Residual(n)
            self.leave = _zero(nn.Conv2d(n, layout.latent - 1, 1))

    def forward(self, image: Tensor, alpha: Tensor) -> Tensor:
        patches = F.pixel_unshuffle(self.borders(to_ycc(image)), PATCH)
        coefficients = self.linear(F.pixel_unshuffle(patches, 2))
        contrast = contrast_code(coefficients, self.luma)
        y = coefficients / self.step / masking(contrast)
        if self.residual:
            e = F.silu(self.film(self.enter(patches / 0.25), alpha))
            e = F.silu(self.film_down(self.down(self.fine(e)), alpha))
            y = y + ANALYSIS_REACH * self.leave(self.coarse(e))
        return torch.cat([contrast, y], 1)


def mixed_precision(on: bool, like: Tensor) -> AbstractContextManager[Any]:
    """Where ``on``, networks compute with 16-bit floats (bfloat16 has float32's range: no loss scaling)."""
    return torch.autocast(like.device.type, torch.bfloat16) if on else nullcontext()


class Recurrence(nn.Module):
    """One iteration of the decoder: memory takes in the dequantised latent ``S``."""

    spread: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        self.register_buffer("spread", torch.from_numpy(_spread(layout))[:, None, None])
        self.enter = nn.Conv2d(2 * layout.latent, config.hidden, 1)
        self.film = Film(config.hidden, ITERATIONS)
        self.cell = ConvGRU(config.hidden, config.hidden)
        self.mixed = False

    def forward(self, belief: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        seen = torch.cat([belief, belief.abs()], 1) / self.spread.repeat(2, 1, 1)
        with mixed_precision(self.mixed, belief):
            new: Tensor = self.cell(F.silu(self.film(self.enter(seen), alpha, t)), hidden)
        return new.float()


class Synthesis(nn.Module):
    """Belief and memory to image: (b, latent, a, b), (b, hidden, a, b) -> (b, 3, 16a, 16b)."""

    step: Tensor
    cell: Tensor

    def __init__(self, config: SwiftConfig, layout: Layout) -> None:
        super().__init__()
        basis = Basis(layout.latent - 1)
        self.borders = BorderFilter(border_filters()[1])
        self.linear = nn.Conv2d(layout.latent - 1, 4 * COLOURS, 1, bias=False)
        self.linear.weight.data = torch.from_numpy(basis.matrix.T.copy())[:, :, None, None]
        # The eye sees nothing but these: they learn what MS-SSIM makes of coarse codes.
        self.eye_linear = nn.Parameter(self.linear.weight.data[:, :, 0, 0].clone())
        self.eye_borders = nn.Parameter(self.borders.weight.data.clone())
        self.register_buffer("step", torch.from_numpy(basis.step)[:, None, None])
        # How far off the latent may be after each iteration: the width of a cell, or all of it.
        levels = np.stack([layout.levels(t) for t in range(ITERATIONS)])
        cell = np.where(levels < 0, _spread(layout), 0.5**levels)
        cell[:, 0] = 0
        self.register_buffer("cell", torch.from_numpy(0.3 * cell).float())
        self.film_head = Film(config.hidden, ITERATIONS)
        self.head = _zero(nn.Conv2d(config.hidden, layout.latent, 1))
        self.eye_network: EyeNetwork | None = None
        self.machine_network: MachineNetwork | None = None
        if config.eye_width:
            sizes = (layout.latent, config.eye_width, config.eye_blocks, config.eye_codes)
            self.eye_network = EyeNetwork(*sizes, _spread(layout))
            if config.machine_network:
                self.machine_network = MachineNetwork(config.hidden, *sizes, _spread(layout))
        self.mixed = False

    def forward(self, belief: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, target: Tensor | None = None) -> Tensor:
        """``target`` as for :meth:`Quantiser.gain`."""
        row = row_of(t, torch.zeros_like(t) if target is None else target)
        image = self.for_machine(belief, hidden, alpha, t, row)
        share = _share(alpha)
        if self.eye_network is None or not bool((share < 1).any()):
            return image
        eye = self.for_eye(belief, row)
        # The runtime blends pictures of whole numbers from 0 to 255.
        blended = torch.lerp(eye.clamp(0, 1), image.clamp(0, 1), share)
        return torch.where(share == 0, eye, torch.where(share < 1, blended, image))

    def for_machine(self, belief: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, row: Tensor) -> Tensor:
        """:meth:`forward` without the eye's network, which has no share in it from FULL_SHARE on; ``row`` (b,) as
        ``row_of`` gives it."""
        share = _share(alpha)
        with mixed_precision(self.mixed, belief):
            missed = self.head(self.film_head(hidden, alpha, t)).float()
        belief = belief + share * self.cell[t][:, :, None, None] * missed
        draft = self.draft(belief, share)
        if self.machine_network is not None:
            with mixed_precision(self.mixed, belief):
                correction = self.machine_network(belief, hidden, draft, row, alpha).float()
            draft = draft + share * correction
        return from_ycc(draft)

    def begin_machine(self) -> None:
        """A machine's network that has learned nothing begins as the eye's."""
        if self.machine_network is not None and self.eye_network is not None:
            self.machine_network.begin(self.eye_network)

    def eye_parameters(self) -> list[nn.Parameter]:
        """The weights that only the eye's pictures need."""
        network = [] if self.eye_network is None else list(self.eye_network.parameters())
        return [self.eye_linear, self.eye_borders, *network]

    def for_eye(self, belief: Tensor, row: Tensor) -> Tensor:
        """:meth:`forward` for alpha 0, without what has no share in it; ``row`` (b,) as ``row_of`` gives it."""
        draft = self.draft(belief)
        if self.eye_network is not None:
            with mixed_precision(self.mixed, belief):
                draft = draft + self.eye_network(belief, draft, row).float()
        return from_ycc(draft)

    def for_eye_adjoint(self, gradient: Tensor, belief: Tensor, row: Tensor) -> Tensor:
        """Gradient of :meth:`for_eye`: from how something grows with each pixel to how it grows with each belief.

        Args:
            gradient: (b, 3, 16a, 16b).
            belief: (b, latent, a, b); the contrast's own place in the result holds 0.
            row: (b,).
        """
        contrast = belief[:, :1]
        by_draft = from_ycc_adjoint(gradient)
        more: Tensor | None = None
        if self.eye_network is not None:
            more, corrected = self.eye_network.adjoint(belief, self.draft(belief), row, by_draft)
            by_draft = by_draft + corrected
        borders = self.eye_borders.T[None].expand(len(gradient), -1, -1)
        ycc = self.borders(by_draft, borders)
        patches = F.pixel_unshuffle(F.pixel_unshuffle(ycc, PATCH), 2)
        b, _, height, width = patches.shape
        coefficients = (self.eye_linear.T[None] @ patches.flatten(2)).reshape(b, -1, height, width)
        by_belief = coefficients * self.step * masking(contrast)
        if more is not None:
            by_belief = by_belief + more[:, 1:]
        return torch.cat([torch.zeros_like(contrast), by_belief], 1)

    def draft(self, belief: Tensor, share: Tensor | None = None) -> Tensor:
        """The linear part alone, (b, 3, 16a, 16b) YCbCr; the eye's ``share`` (b, 1, 1, 1) is 0."""
        b, _, height, width = belief.shape
        coefficients = belief[:, 1:] * self.step * masking(belief[:, :1])
        linear, borders = self.eye_linear[None], self.eye_borders[None]
        if share is not None:
            linear = torch.lerp(linear, self.linear.weight[None, :, :, 0, 0], share[:, :, 0])
            borders = torch.lerp(borders, self.borders.weight[None], share[:, :, 0])
        patches = (linear @ coefficients.flatten(2)).reshape(b, -1, height, width)
        return self.borders(F.pixel_shuffle(F.pixel_shuffle(patches, 2), PATCH), borders)


class Swift(nn.Module):
    """The whole codec; see the module's docstring."""

    def __init__(self, config: SwiftConfig | None = None, layout: Layout = SWIFT) -> None:
        super().__init__()
        self.config = config or SwiftConfig()
        self.layout = layout
        self.analysis = Analysis(self.config, layout)
        self.quantiser = Quantiser(layout)
        self.recurrence = Recurrence(self.config, layout)
        self.synthesis = Synthesis(self.config, layout)

    def encode(self, image: Tensor, alpha: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per iteration: the quantised latent, and what it stands for."""
        return self.quantise(self.analysis(image, alpha), alpha)

    def quantise(self, y: Tensor, alpha: Tensor, target: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """The same from the latent; ``target`` as for :meth:`Quantiser.gain`."""
        return [self.quantiser(y, alpha, _all(t, y), target) for t in range(ITERATIONS)]

    def remember(self, beliefs: list[Tensor], alpha: Tensor) -> list[Tensor]:
        """The decoder's memory after each iteration."""
        memories = [beliefs[0].new_zeros(len(alpha), self.config.hidden, *beliefs[0].shape[2:])]
        for t, belief in enumerate(beliefs):
            memories.append(self.recurrence(belief, memories[-1], alpha, _all(t, belief)))
        return memories[1:]

    def forward(self, image: Tensor, alpha: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Image decoded after iteration ``t`` (0-based, one a sample), and the quantised latents of all iterations.

        Args:
            image: (b, 3, h, w) in [0, 1], sides multiples of 16.
            alpha: (b,) in [0, 1].
            t: (b,) long.
        """
        states = self.encode(image, alpha)
        return self.decode([belief for _, belief in states], alpha, t), [latent for latent, _ in states]

    def decode(self, beliefs: list[Tensor], alpha: Tensor, t: Tensor, target: Tensor | None = None) -> Tensor:
        """Image after iteration ``t`` (one a sample), from what the decoder believes after each iteration."""
        memories = self.remember(beliefs, alpha)
        rows = torch.arange(len(t), device=t.device)
        belief, memory = (torch.stack(x, 1)[rows, t] for x in (beliefs, memories))
        return self.synthesis(belief, memory, alpha, t, target)


def _share(alpha: Tensor) -> Tensor:
    """Of what is a machine's, (b, 1, 1, 1)."""
    return (alpha / FULL_SHARE).clamp(max=1.0)[:, None, None, None]


def _all(t: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), t, dtype=torch.long, device=like.device)


def _spread(layout: Layout) -> np.ndarray:
    """Usual magnitude of every latent channel, (latent,) float32."""
    return np.concatenate([[4.0], Basis(layout.latent - 1).spread]).astype(np.float32)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
