"""The analysis as the graph that ships: torch/model.py's ``Analysis``, rearranged for ONNX Runtime.

All between pixels and coefficients is linear, so one convolution with a stride of 16 does what colours, two
``pixel_unshuffle`` and the transform do, and nothing is transposed.  The filter across block borders comes before it:
it is the same for the three colours.  Pixels are cut apart as bytes, a quarter of the size of floats.  On one thread
that takes a third of the time (docs/log/2026-11-28-analysis-graph.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.torch.model import Analysis
from beholder.codecs.rnn.torch.transform import PATCH, RGB_TO_YCC, activity_of, masking

HALF = BLOCK // 2
GREY = 127.5
"""Pixels are centred on it."""


class AnalysisGraph(nn.Module):
    """Pixels to latent, by the weights of ``codec.analysis``; they keep their names in the graph."""

    def __init__(self, codec: nn.Module) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, image: Tensor, alpha: Tensor) -> Tensor:
        """(1, 3, 16H, 16W) uint8 -> (1, C, H, W).

        The latent does not depend on ``alpha`` (1,), which the format gives the graph as an input.
        """
        analysis: Analysis = self.codec.analysis  # type: ignore[assignment]
        scaled = F.conv2d(self._without_borders(image), self._kernel(), stride=BLOCK)
        batch, channels, height, width = scaled.shape
        energy = (analysis.step.square() * analysis.luma).reshape(1, channels)
        variance = (energy @ scaled.square().flatten(2)).reshape(batch, 1, height, width) / BLOCK**2
        activity = activity_of(variance)
        return torch.cat([activity, scaled / masking(activity)], 1)

    def _kernel(self) -> Tensor:
        """(C - 1, 3, 16, 16): pixels less ``GREY``, filtered across borders, to coefficients in units of the step."""
        analysis: Analysis = self.codec.analysis  # type: ignore[assignment]
        # Columns: colour, row and column in the patch, patch row, patch column -> colour, row and column.
        by_patch = analysis.linear.weight.reshape(-1, 3, PATCH, PATCH, 2, 2)
        by_pixel = by_patch.permute(0, 1, 4, 2, 5, 3).reshape(-1, 3, BLOCK**2)
        colours = by_pixel.new_tensor(RGB_TO_YCC).T / (255 * analysis.step)
        return (colours @ by_pixel).reshape(-1, 3, BLOCK, BLOCK)

    def _without_borders(self, image: Tensor) -> Tensor:
        """Pixels less ``GREY``, filtered across block borders, (1, 3, 16H, 16W)."""
        edges = self._down(torch.cat([image[..., :HALF], image[..., -HALF:]], 3))
        inner = self._down(image[..., HALF:-HALF])
        batch, colours, height, width = inner.shape
        rows = inner.reshape(batch, colours, height * (width // BLOCK), BLOCK)
        filtered = (rows @ self._matrix().T).reshape(inner.shape)
        return torch.cat([edges[..., :HALF], filtered, edges[..., HALF:]], 3)

    def _down(self, pixels: Tensor) -> Tensor:
        """As :meth:`_without_borders`, along columns alone; pixels may have no columns."""
        inner = pixels[:, :, HALF:-HALF]
        batch, colours, height, width = inner.shape
        blocks = (batch, colours, height // BLOCK)
        # One matrix for each block: ONNX Runtime refuses products with one for all where there is no block.
        matrices = self._matrix().expand(*blocks, BLOCK, BLOCK)
        filtered = (matrices @ _centred(inner).reshape(*blocks, BLOCK, width)).reshape(inner.shape)
        return torch.cat([_centred(pixels[:, :, :HALF]), filtered, _centred(pixels[:, :, -HALF:])], 2)

    def _matrix(self) -> Tensor:
        analysis: Analysis = self.codec.analysis  # type: ignore[assignment]
        return analysis.borders.weight


def _centred(pixels: Tensor) -> Tensor:
    return pixels.float() - GREY
