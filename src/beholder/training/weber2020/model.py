"""`paper`, the reference's recurrent codec, as a torch module (Weber et al., arXiv 1910.03472).

    r_1 = x, states 0                                   x: image, each channel shifted and scaled by MEAN, VARIANCE
    for t = 1..8:
        b_t = binarize(encoder(r_t))                    32 codes of +-1 per 16x16 block: 0.125 bpp
        p_t = decoder(b_t)
        y_t = y_{t-1} + p_t  (additive)   or   y_t = p_t  (one-shot)
        r_{t+1} = x - y_t                               the reference's one-shot subtracts from r_t, which is wrong

    encoder: conv 3x3 /2 64 - cell 256 /2 - cell 512 /2 - cell 512 /2          input kernel 3, hidden kernel 1
    binarizer: conv 1x1 32 - tanh - sign
    decoder: conv 1x1 512 - cell 512 (2, 1) - d2s - cell 512 (3, 1) - d2s - cell 256 (3, 3) - d2s
             - cell 128 (3, 3) - d2s - conv 1x1 to RGB          (input, hidden kernel); d2s: depth to space by 2

Cells keep their state over the iterations and have no biases. Odd kernels are padded by (k - 1) / 2 on every side. A
kernel of 2 is padded by one row below and one column on the right, as TensorFlow's SAME does. So an output sees its
own position and the next ones, and the size stays.

Counted with hooks at width 1 (tests/training/weber2020/test_weber2020.py), for one iteration. The GRU network has
22.7 M parameters and takes 526,000 multiply-adds a pixel (encoder 139,000, decoder 387,000). The LSTM network has
30.2 M and takes 701,000. There is no entropy coder: the bits are counted raw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 16
BITS = 32
"""Codes for each 16x16 block and iteration."""
BPP = BITS / BLOCK**2
"""Raw bits a pixel of one iteration: 0.125."""
MEAN = (121.85, 113.59, 100.64)
VARIANCE = (4746.4, 4454.1, 4812.2)
"""Mean and variance of the channels R, G, B in 0..255."""
CELLS = ("gru", "lstm")
MODES = ("additive", "one_shot")

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Weber2020Config:
    """``cell``: gru or lstm; ``mode``: additive or one_shot; ``width``: factor on every number of channels."""

    cell: str = "gru"
    mode: str = "additive"
    iterations: int = 8
    width: float = 1.0

    def channels(self, count: int) -> int:
        """``count`` times the width, as a multiple of 4 (for depth to space)."""
        return 4 * max(1, round(count * self.width / 4))


class ConvGRU(nn.Module):
    """r, z = sigmoid(W x + U h); c = tanh(W x + U (r h)); h' = z c + (1 - z) h.  No biases."""

    def __init__(self, inputs: int, hidden: int, kernels: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.hidden = hidden
        self.inputs = SameConv(inputs, 3 * hidden, kernels[0], stride)
        self.gates = SameConv(hidden, 2 * hidden, kernels[1])
        self.candidate = SameConv(hidden, hidden, kernels[1])

    def forward(self, x: Tensor, state: State | None) -> State:
        """x: (N, inputs, H, W); state: (h,), each (N, hidden, H / stride, W / stride), or None for zeros."""
        r, z, c = self.inputs(x).chunk(3, 1)
        h = torch.zeros_like(c) if state is None else state[0]
        r, z = torch.sigmoid(torch.cat([r, z], 1) + self.gates(h)).chunk(2, 1)
        c = torch.tanh(c + self.candidate(r * h))
        return (z * c + (1 - z) * h,)


class ConvLSTM(nn.Module):
    """i, f, o = sigmoid(W x + U h); g = tanh(W x + U h); c' = f c + i g; h' = o tanh(c').  No biases."""

    def __init__(self, inputs: int, hidden: int, kernels: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.hidden = hidden
        self.inputs = SameConv(inputs, 4 * hidden, kernels[0], stride)
        self.gates = SameConv(hidden, 4 * hidden, kernels[1])

    def forward(self, x: Tensor, state: State | None) -> State:
        """As :class:`ConvGRU`, with the state (h, c)."""
        pre = self.inputs(x)
        if state is None:
            h = c = torch.zeros_like(pre[:, : self.hidden])
        else:
            h, c = state
        i, f, o, g = (pre + self.gates(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class SameConv(nn.Conv2d):
    """A convolution without bias that keeps the size at stride 1 and halves even sides at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W) -> (N, outputs, H, W)."""
        if self.kernel_size[0] % 2 == 0:
            x = F.pad(x, (0, 1, 0, 1))
        return super().forward(x)


class Encoder(nn.Module):
    """Residual (N, 3, 16H, 16W) -> tanh of the binarizer (N, 32, H, W), in (-1, 1)."""

    def __init__(self, config: Weber2020Config) -> None:
        super().__init__()
        cell = ConvGRU if config.cell == "gru" else ConvLSTM
        first, second, top = (config.channels(c) for c in (64, 256, 512))
        self.enter = nn.Conv2d(3, first, 3, stride=2, padding=1)
        self.cells = nn.ModuleList(
            cell(inputs, hidden, (3, 1), stride=2) for inputs, hidden in ((first, second), (second, top), (top, top))
        )
        self.leave = nn.Conv2d(top, BITS, 1)

    def forward(self, x: Tensor, states: list[State | None]) -> tuple[Tensor, list[State | None]]:
        x = self.enter(x)
        after: list[State | None] = []
        for cell, state in zip(self.cells, states, strict=True):
            new = cell(x, state)
            x = new[0]
            after.append(new)
        return torch.tanh(self.leave(x)), after


class Decoder(nn.Module):
    """Codes (N, 32, H, W) -> prediction (N, 3, 16H, 16W), normalised, not clamped."""

    def __init__(self, config: Weber2020Config) -> None:
        super().__init__()
        cell = ConvGRU if config.cell == "gru" else ConvLSTM
        top, third, last = (config.channels(c) for c in (512, 256, 128))
        self.enter = nn.Conv2d(BITS, top, 1)
        self.cells = nn.ModuleList(
            cell(inputs, hidden, kernels)
            for inputs, hidden, kernels in (
                (top, top, (2, 1)),
                (top // 4, top, (3, 1)),
                (top // 4, third, (3, 3)),
                (third // 4, last, (3, 3)),
            )
        )
        self.leave = nn.Conv2d(last // 4, 3, 1)

    def forward(self, codes: Tensor, states: list[State | None]) -> tuple[Tensor, list[State | None]]:
        x = self.enter(codes)
        after: list[State | None] = []
        for cell, state in zip(self.cells, states, strict=True):
            new = cell(x, state)
            x = F.pixel_shuffle(new[0], 2)
            after.append(new)
        return self.leave(x), after


class Weber2020(nn.Module):
    """The whole codec; see the module's docstring.  In training mode the binarizer is stochastic."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Weber2020Config | None = None) -> None:
        super().__init__()
        self.config = config or Weber2020Config()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None] / 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(VARIANCE)[:, None, None].sqrt() / 255, persistent=False)

    def forward(self, image: Tensor, iterations: int | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Encode and decode.

        Args:
            image: (N, 3, H, W) in [0, 1], any size; sides are padded to multiples of 16 by edge replication.
            iterations: how many; by default the config's.

        Returns:
            After each iteration, the image (N, 3, H, W), not clamped; each iteration's codes of +-1,
            (N, 32, ceil(H / 16), ceil(W / 16)).
        """
        height, width = image.shape[2:]
        original = (pad(image) - self.mean) / self.deviation
        encoder_states, decoder_states = self._no_states()
        residual, decoded = original, torch.zeros_like(original)
        images, codes = [], []
        for _ in range(iterations or self.config.iterations):
            soft, encoder_states = self.encoder(residual, encoder_states)
            code = binarize(soft, stochastic=self.training)
            prediction, decoder_states = self.decoder(code, decoder_states)
            decoded = decoded + prediction if self.config.mode == "additive" else prediction
            residual = original - decoded
            images.append(self._to_image(decoded, height, width))
            codes.append(code)
        return images, codes

    def decode(self, codes: list[Tensor], height: int, width: int) -> Tensor:
        """The image (N, 3, height, width) after the last of ``codes``, not clamped: all a decoder would run."""
        _, states = self._no_states()
        decoded: Tensor | None = None
        for code in codes:
            prediction, states = self.decoder(code, states)
            additive = decoded is not None and self.config.mode == "additive"
            decoded = decoded + prediction if additive and decoded is not None else prediction
        if decoded is None:
            raise ValueError("no codes: give those of at least one iteration")
        return self._to_image(decoded, height, width)

    def _no_states(self) -> tuple[list[State | None], list[State | None]]:
        return [None] * len(self.encoder.cells), [None] * len(self.decoder.cells)

    def _to_image(self, x: Tensor, height: int, width: int) -> Tensor:
        image: Tensor = x * self.deviation + self.mean
        return image[:, :, :height, :width]


def binarize(x: Tensor, stochastic: bool) -> Tensor:
    """x in [-1, 1], any shape -> +1 or -1, the gradient passed straight through.

    +1 with probability (1 + x) / 2, drawn from torch's global generator; or else the sign (+1 for 0).
    """
    threshold = 2 * torch.rand_like(x) - 1 if stochastic else torch.zeros_like(x)
    hard = torch.where(x >= threshold, torch.ones_like(x), -torch.ones_like(x))
    return x + (hard - x).detach()


def pad(image: Tensor) -> Tensor:
    """Repeat the last row and column of (N, 3, H, W) until both sides are multiples of 16."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
