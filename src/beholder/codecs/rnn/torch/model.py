"""The codec as torch modules: a lapped transform with a recurrent decoder (config architecture `swift`).

    y = analysis(image)                                 stride 16; y[0] is the activity of each block, an integer
    h = 0                                               the decoder's hidden state
    for t = 1..n:
        q_t = trunc(y / step_t)                         finer with t; iteration t sends what q_{t-1} leaves open
        y_hat_t = dequantise(q_t)
        h   = ConvGRU(y_hat_t, h)                       for alpha > 0
    image = synthesis(y_hat_n + head(h), h)             once, at whatever n is wanted

Analysis and synthesis are linear transforms (transform.py: initially a lapped DCT, divided by the masking of the
block's activity), so training starts from a working codec.  Codes depend on the image and on the analysis alone: the
decoder's networks can be replaced without touching the entropy coder.

Alpha enters the quantiser's steps and offsets, the recurrence and the machine's refinement. At alpha 0 the picture is
the human's linear synthesis with the human's refinement. The hidden state has no part in it. Between alpha 0 and
``HUMAN_BELOW`` the pictures of human and machine are blended.

Every residual branch is scaled to the error that it may correct.  With larger scales the noise of its weights, a
learning rate each step, outweighs what it can learn, and training turns it off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, HUMAN_BELOW, ITERATIONS, LAYOUT, MASKING_POWER, Layout
from beholder.codecs.rnn.torch.amortised_step import AmortisedStep
from beholder.codecs.rnn.torch.human_refinement import HumanRefinement
from beholder.codecs.rnn.torch.layers import ConvGRU, Film, mixed_precision
from beholder.codecs.rnn.torch.machine_refinement import MachineRefinement
from beholder.codecs.rnn.torch.quantiser import Quantiser
from beholder.codecs.rnn.torch.refinement import film_index
from beholder.codecs.rnn.torch.transform import (
    COLOURS,
    PATCH,
    Basis,
    BorderFilter,
    block_activity,
    border_filters,
    from_ycc,
    from_ycc_adjoint,
    masking,
    to_ycc,
)


@dataclass(frozen=True)
class CodecConfig:
    """Sizes: ``hidden`` channels in the recurrent cell, ``context`` in the entropy model.

    ``eye_width`` channels and ``eye_blocks`` blocks at stride 4 and ``eye_codes`` channels at stride 16 in the network
    that corrects the human's pictures, and with ``machine_network`` 1 in a machine's too; with a width of 0 there is
    neither.  ``step_width`` channels and ``step_blocks`` blocks at stride 16 in the encoder's learned step
    (amortised_step.py); with a width of 0 there is none.
    """

    hidden: int = 96
    context: int = 96
    eye_width: int = 0
    eye_blocks: int = 4
    eye_codes: int = 96
    machine_network: int = 0
    step_width: int = 0
    step_blocks: int = 1

    def as_dict(self) -> dict[str, int]:
        """The config as ``model.json`` stores it."""
        return asdict(self)


class Analysis(nn.Module):
    """Image to latent: (N, 3, 16H, 16W) in [0, 1] -> (N, latent, H, W)."""

    step: Tensor
    luma: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        basis = Basis(layout.latent - 1)
        self.borders = BorderFilter(border_filters()[0])
        self.linear = nn.Conv2d(4 * COLOURS, layout.latent - 1, 1, bias=False)
        self.linear.weight.data = torch.from_numpy(basis.matrix)[:, :, None, None]
        self.register_buffer("step", torch.from_numpy(basis.step)[:, None, None])
        self.register_buffer("luma", torch.from_numpy(basis.luma)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 16H, 16W) in [0, 1] -> (N, latent, H, W).

        Channel 0 is the block activity, an integer; the others are coefficients in units of the step at level 0.
        """
        patches = F.pixel_unshuffle(self.borders(to_ycc(image)), PATCH)
        coefficients = self.linear(F.pixel_unshuffle(patches, 2))
        activity = block_activity(coefficients, self.luma)
        y = coefficients / self.step / masking(activity)
        return torch.cat([activity, y], 1)


class Recurrence(nn.Module):
    """One iteration of the decoder: updates the hidden state with y_hat."""

    spread: Tensor

    def __init__(self, config: CodecConfig, layout: Layout) -> None:
        super().__init__()
        self.register_buffer("spread", torch.from_numpy(_channel_rms(layout))[:, None, None])
        self.enter = nn.Conv2d(2 * layout.latent, config.hidden, 1)
        self.film = Film(config.hidden, ITERATIONS)
        self.cell = ConvGRU(config.hidden, config.hidden)
        self.mixed = False

    def forward(self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        """y_hat: (N, latent, H, W); hidden: (N, K, H, W); alpha, t: (N,) -> hidden state after iteration t."""
        features = torch.cat([y_hat, y_hat.abs()], 1) / self.spread.repeat(2, 1, 1)
        with mixed_precision(self.mixed, y_hat):
            new: Tensor = self.cell(F.silu(self.film(self.enter(features), alpha, t)), hidden)
        return new.float()


class Synthesis(nn.Module):
    """y_hat (N, C, H, W) and hidden state (N, K, H, W) to image (N, 3, 16H, 16W) in [0, 1], not clamped."""

    step: Tensor
    cell: Tensor

    def __init__(self, config: CodecConfig, layout: Layout) -> None:
        super().__init__()
        basis = Basis(layout.latent - 1)
        self.borders = BorderFilter(border_filters()[1])
        self.linear = nn.Conv2d(layout.latent - 1, 4 * COLOURS, 1, bias=False)
        self.linear.weight.data = torch.from_numpy(basis.matrix.T.copy())[:, :, None, None]
        # The human's picture has its own linear synthesis, which learns from MS-SSIM.
        self.eye_linear = nn.Parameter(self.linear.weight.data[:, :, 0, 0].clone())
        self.eye_borders = nn.Parameter(self.borders.weight.data.clone())
        self.register_buffer("step", torch.from_numpy(basis.step)[:, None, None])
        # Largest error of y_hat after each iteration: the width of a cell, or all of it.
        levels = np.stack([layout.levels(t) for t in range(ITERATIONS)])
        cell = np.where(levels < 0, _channel_rms(layout), 0.5**levels)
        cell[:, 0] = 0
        self.register_buffer("cell", torch.from_numpy(0.3 * cell).float())
        self.film_head = Film(config.hidden, ITERATIONS)
        self.head = _zero(nn.Conv2d(config.hidden, layout.latent, 1))
        self.eye_network: HumanRefinement | None = None
        self.machine_network: MachineRefinement | None = None
        if config.eye_width:
            sizes = (layout.latent, config.eye_width, config.eye_blocks, config.eye_codes)
            self.eye_network = HumanRefinement(*sizes, _channel_rms(layout))
            if config.machine_network:
                self.machine_network = MachineRefinement(config.hidden, *sizes, _channel_rms(layout))
        self.mixed = False

    def forward(
        self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, optimised_for: Tensor | None = None
    ) -> Tensor:
        """The picture of one iteration, (N, 3, 16H, 16W) RGB in [0, 1], not clamped.

        Args:
            y_hat: (N, C, H, W).
            hidden: (N, K, H, W).
            alpha, t, optimised_for: as for :meth:`Quantiser.gain`.
        """
        index = film_index(t, torch.zeros_like(t) if optimised_for is None else optimised_for)
        image = self.for_machine(y_hat, hidden, alpha, t, index)
        machine_weight = _machine_weight(alpha)
        if self.eye_network is None or not bool((machine_weight < 1).any()):
            return image
        human = self.for_human(y_hat, index)
        # The runtime blends pictures of whole numbers from 0 to 255.
        blended = torch.lerp(human.clamp(0, 1), image.clamp(0, 1), machine_weight)
        return torch.where(machine_weight == 0, human, torch.where(machine_weight < 1, blended, image))

    def for_machine(self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """The machine's picture: :meth:`forward` from ``HUMAN_BELOW`` on; ``index`` (N,) of :func:`film_index`."""
        machine_weight = _machine_weight(alpha)
        y_hat = self._found(y_hat, hidden, alpha, t)
        reconstruction = self.linear_reconstruction(y_hat, machine_weight)
        if self.machine_network is not None:
            with mixed_precision(self.mixed, y_hat):
                correction = self.machine_network(y_hat, hidden, reconstruction, index, alpha).float()
            reconstruction = reconstruction + machine_weight * correction
        return from_ycc(reconstruction)

    def for_machine_with_slopes(
        self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, index: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`for_machine`, with the derivatives of all activations for :meth:`for_machine_vjp`."""
        machine_weight, slopes = _machine_weight(alpha), list[Tensor]()
        y_hat = self._found(y_hat, hidden, alpha, t)
        reconstruction = self.linear_reconstruction(y_hat, machine_weight)
        if self.machine_network is not None:
            correction, slopes = self.machine_network.with_slopes(y_hat, hidden, reconstruction, index, alpha)
            reconstruction = reconstruction + machine_weight * correction
        return from_ycc(reconstruction), slopes

    def for_machine_vjp(
        self, gradient: Tensor, y_hat: Tensor, alpha: Tensor, index: Tensor, slopes: Sequence[Tensor]
    ) -> Tensor:
        """Vector-Jacobian product of :meth:`for_machine`, the hidden state held fixed.

        Args:
            gradient: (N, 3, 16H, 16W).
            y_hat: (N, C, H, W); the activity's own gradient in the result is 0.
            alpha, index: (N,).
            slopes: of :meth:`for_machine_with_slopes`.
        """
        machine_weight, activity = _machine_weight(alpha), y_hat[:, :1]
        by_reconstruction = from_ycc_adjoint(gradient)
        more: Tensor | None = None
        if self.machine_network is not None:
            by_correction = machine_weight * by_reconstruction
            more, corrected = self.machine_network.vjp(y_hat, index, alpha, by_correction, slopes)
            by_reconstruction = by_reconstruction + corrected
        by_y_hat = self._linear_vjp(by_reconstruction, activity, machine_weight)
        if more is not None:
            by_y_hat = by_y_hat + more[:, 1:]
        return torch.cat([torch.zeros_like(activity), by_y_hat], 1)

    def _found(self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        """y_hat and what the hidden state estimates that quantisation lost; the activity stays."""
        with mixed_precision(self.mixed, y_hat):
            missed = self.head(self.film_head(hidden, alpha, t)).float()
        return y_hat + _machine_weight(alpha) * self.cell[t][:, :, None, None] * missed

    def begin_machine(self) -> None:
        """Initialise a machine's network that has learned nothing with the human's weights."""
        if self.machine_network is not None and self.eye_network is not None:
            self.machine_network.begin(self.eye_network)

    def human_parameters(self) -> list[nn.Parameter]:
        """Weights that only the human's pictures need."""
        network = [] if self.eye_network is None else list(self.eye_network.parameters())
        return [self.eye_linear, self.eye_borders, *network]

    def for_human(self, y_hat: Tensor, index: Tensor) -> Tensor:
        """The human's picture, which is :meth:`forward` at alpha 0; ``index`` (N,) of :func:`film_index`."""
        reconstruction = self.linear_reconstruction(y_hat)
        if self.eye_network is not None:
            with mixed_precision(self.mixed, y_hat):
                reconstruction = reconstruction + self.eye_network(y_hat, reconstruction, index).float()
        return from_ycc(reconstruction)

    def for_human_with_slopes(self, y_hat: Tensor, index: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`for_human`, and what :meth:`for_human_vjp` needs of the forward pass."""
        reconstruction = self.linear_reconstruction(y_hat)
        slopes: list[Tensor] = []
        if self.eye_network is not None:
            correction, slopes = self.eye_network.with_slopes(y_hat, reconstruction, index)
            reconstruction = reconstruction + correction
        return from_ycc(reconstruction), slopes

    def for_human_vjp(self, gradient: Tensor, y_hat: Tensor, index: Tensor, slopes: Sequence[Tensor]) -> Tensor:
        """Vector-Jacobian product of :meth:`for_human`.

        Args:
            gradient: (N, 3, 16H, 16W).
            y_hat: (N, C, H, W); the activity's own gradient in the result is 0.
            index: (N,).
            slopes: of :meth:`for_human_with_slopes`.
        """
        activity = y_hat[:, :1]
        by_reconstruction = from_ycc_adjoint(gradient)
        more: Tensor | None = None
        if self.eye_network is not None:
            more, corrected = self.eye_network.vjp(y_hat, index, by_reconstruction, slopes)
            by_reconstruction = by_reconstruction + corrected
        by_y_hat = self._linear_vjp(by_reconstruction, activity)
        if more is not None:
            by_y_hat = by_y_hat + more[:, 1:]
        return torch.cat([torch.zeros_like(activity), by_y_hat], 1)

    def linear_picture(self, y_hat: Tensor) -> Tensor:
        """The human's linear reconstruction, (N, 3, 16H, 16W) RGB, not clamped."""
        return from_ycc(self.linear_reconstruction(y_hat))

    def linear_picture_vjp(self, gradient: Tensor, y_hat: Tensor) -> Tensor:
        """Vector-Jacobian product of :meth:`linear_picture`, that of the activity included.

        Args:
            gradient: (N, 3, 16H, 16W).
            y_hat: (N, C, H, W).
        """
        by_y_hat = self._linear_vjp(from_ycc_adjoint(gradient), y_hat[:, :1])
        # Every coefficient grows with the activity as its step does.
        by_activity = (by_y_hat * y_hat[:, 1:]).sum(1, keepdim=True) * (math.log(2) * MASKING_POWER)
        return torch.cat([by_activity, by_y_hat], 1)

    def _linear_vjp(self, gradient: Tensor, activity: Tensor, machine_weight: Tensor | None = None) -> Tensor:
        """Vector-Jacobian product of :meth:`linear_reconstruction` for all channels but the activity."""
        linear, borders = self._linear_filters(machine_weight)
        borders = borders.transpose(1, 2).expand(len(gradient), -1, -1)
        filtered = self.borders(gradient, borders)
        if machine_weight is None:  # one matrix for all: a convolution, where nothing is transposed
            # Rows: colour, row and column in the patch, patch row, patch column -> colour, row, column.
            blocks = linear[0].reshape(3, PATCH, PATCH, 2, 2, -1).permute(5, 0, 3, 1, 4, 2)
            coefficients = F.conv2d(filtered, blocks.reshape(-1, 3, BLOCK, BLOCK), stride=BLOCK)
        else:
            patches = F.pixel_unshuffle(F.pixel_unshuffle(filtered, PATCH), 2)
            b, _, height, width = patches.shape
            coefficients = (linear.transpose(1, 2) @ patches.flatten(2)).reshape(b, -1, height, width)
        return coefficients * self.step * masking(activity)

    def linear_reconstruction(self, y_hat: Tensor, machine_weight: Tensor | None = None) -> Tensor:
        """The linear synthesis, (N, 3, 16H, 16W) YCbCr; the human's without ``machine_weight`` (N, 1, 1, 1)."""
        b, _, height, width = y_hat.shape
        coefficients = y_hat[:, 1:] * self.step * masking(y_hat[:, :1])
        linear, borders = self._linear_filters(machine_weight)
        patches = (linear @ coefficients.flatten(2)).reshape(b, -1, height, width)
        return self.borders(F.pixel_shuffle(F.pixel_shuffle(patches, 2), PATCH), borders)

    def _linear_filters(self, machine_weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Matrices of the inverse transform and of the border filter, (N or 1, ...) each."""
        linear, borders = self.eye_linear[None], self.eye_borders[None]
        if machine_weight is not None:
            linear = torch.lerp(linear, self.linear.weight[None, :, :, 0, 0], machine_weight[:, :, 0])
            borders = torch.lerp(borders, self.borders.weight[None], machine_weight[:, :, 0])
        return linear, borders


class LappedTransformCodec(nn.Module):
    """The whole codec; see the module's docstring."""

    def __init__(self, config: CodecConfig | None = None, layout: Layout = LAYOUT) -> None:
        super().__init__()
        self.config = config or CodecConfig()
        self.layout = layout
        self.analysis = Analysis(layout)
        self.quantiser = Quantiser(layout)
        self.recurrence = Recurrence(self.config, layout)
        self.synthesis = Synthesis(self.config, layout)
        self.step: AmortisedStep | None = None
        if self.config.step_width:
            self.step = AmortisedStep(layout, self.config.step_width, self.config.step_blocks)

    def encode(self, image: Tensor, alpha: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Quantised latent and y_hat of each iteration, (N, latent, H, W) each.

        Args:
            image: (N, 3, 16H, 16W) in [0, 1].
            alpha: (N,) from 0 to 1.
        """
        return self.quantise(self.analysis(image), alpha)

    def quantise(self, y: Tensor, alpha: Tensor, optimised_for: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """As :meth:`encode`, from the latent; ``optimised_for`` as for :meth:`Quantiser.gain`."""
        return [self.quantiser(y, alpha, _all(t, y), optimised_for) for t in range(ITERATIONS)]

    def recur(self, y_hats: list[Tensor], alpha: Tensor) -> list[Tensor]:
        """The decoder's hidden state (N, K, H, W) after each iteration."""
        hidden_states = [y_hats[0].new_zeros(len(alpha), self.config.hidden, *y_hats[0].shape[2:])]
        for t, y_hat in enumerate(y_hats):
            hidden_states.append(self.recurrence(y_hat, hidden_states[-1], alpha, _all(t, y_hat)))
        return hidden_states[1:]

    def decode(self, y_hats: list[Tensor], alpha: Tensor, t: Tensor, optimised_for: Tensor | None = None) -> Tensor:
        """Image (N, 3, 16H, 16W) in [0, 1] after iteration ``t`` (one a sample), not clamped.

        Args:
            y_hats: (N, latent, H, W) after each iteration.
            alpha, t, optimised_for: as for :meth:`Quantiser.gain`.
        """
        hidden_states = self.recur(y_hats, alpha)
        rows = torch.arange(len(t), device=t.device)
        y_hat, hidden = (torch.stack(x, 1)[rows, t] for x in (y_hats, hidden_states))
        return self.synthesis(y_hat, hidden, alpha, t, optimised_for)


def _machine_weight(alpha: Tensor) -> Tensor:
    """Weight of the machine's picture, (N, 1, 1, 1)."""
    return (alpha / HUMAN_BELOW).clamp(max=1.0)[:, None, None, None]


def _all(t: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), t, dtype=torch.long, device=like.device)


def _channel_rms(layout: Layout) -> np.ndarray:
    """Root mean square of every latent channel, (C,) float32."""
    return np.concatenate([[4.0], Basis(layout.latent - 1).channel_rms]).astype(np.float32)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
