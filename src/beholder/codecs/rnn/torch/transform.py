"""The fixed part of the codec's transforms: colour, lapped 16x16 DCT, block activity.

    image -> YCbCr -> prefilter across block borders -> 16x16 DCT -> / step -> / masking(activity)

Networks and training start from here, so an untrained codec is already a transform coder; training may move the
matrices.  Each choice was measured on training photographs (docs/codec.md).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, MASKING_POWER

PATCH = 8
COLOURS = 3 * PATCH * PATCH
STEP = 0.1238
"""Coarsest quantiser step of the lowest frequency, for pixels in [0, 1] and an orthonormal DCT."""
STEP_SLOPE = 16.0
"""Coarseness of high frequencies: the step of function i is STEP (1 + 16 (i / 256)^1.5)."""
CHROMA_STEP = 0.75
"""Chroma's step relative to luma's."""
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-R BT.601, full range, as JPEG uses it."""
YCC_TO_RGB = np.linalg.inv(np.array(RGB_TO_YCC)).tolist()

ACTIVITY_FLOOR = 0.0015
"""Variance of luma, for pixels in [0, 1], below which activity masks nothing (MS-SSIM's C2 is 0.0009)."""
ACTIVITY_RATE = 0.7
"""Activity codes for each doubling of the variance."""
ACTIVITY_SMOOTHING = 0.2
"""Weight of the four neighbours in a block's activity before it is rounded. Smoother activities take fewer bits, and
MS-SSIM's window sees beyond the block."""
MASKING = 2 * ACTIVITY_RATE * MASKING_POWER
"""The step grows with (1 + variance / ACTIVITY_FLOOR) to half this power."""

# Prefilter across a block border (Tran, Liang and Tu, "Lapped transform via time-domain pre- and post-filtering",
# 2003): this 8x8 matrix maximises the coding gain of the lapped DCT for an AR(1) source of correlation 0.95
# (9.88 dB; the DCT alone has 9.46).
_ODD = (
    (0.6073, 0.8160, 0.1822, 0.2391, 0.0941, 0.0960, 0.0345, 0.0217),
    (-0.5208, 0.2042, 0.9082, 0.0340, 0.2387, 0.0299, 0.0767, 0.0109),
    (0.2537, -0.5245, 0.2689, 0.8920, -0.0377, 0.2132, -0.0024, 0.0386),
    (-0.3445, 0.1928, -0.5049, 0.4507, 0.7954, -0.0598, 0.1570, 0.0016),
    (0.3246, -0.3059, 0.1280, -0.4712, 0.6760, 0.6230, -0.0433, 0.0701),
    (-0.2935, 0.2033, -0.2085, 0.0770, -0.4131, 0.8963, 0.4006, 0.0004),
    (0.1834, -0.1534, 0.0812, -0.1211, 0.0374, -0.3084, 1.0633, 0.1743),
    (-0.0631, 0.0425, -0.0411, 0.0118, -0.0515, -0.0007, -0.1630, 1.1301),
)


def border_filters() -> tuple[np.ndarray, np.ndarray]:
    """Prefilter of the 16 pixels around a block border and its inverse, (16, 16) float32 each."""
    one, flip = np.eye(PATCH), np.eye(PATCH)[::-1]
    butterfly = np.block([[one, flip], [flip, -one]]) / math.sqrt(2)
    middle = np.block([[one, 0 * one], [0 * one, np.array(_ODD)]])
    forward = butterfly @ middle @ butterfly
    return forward.astype(np.float32), np.linalg.inv(forward).astype(np.float32)


class BorderFilter(nn.Module):
    """A linear filter of the 16 pixels around every block border, along both axes; the image's own edge has none.

    Args:
        matrix: (16, 16), of :func:`border_filters`.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(matrix.copy()))

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """x: (N, C, 16H, 16W), any C; the same shape comes out.

        Args:
            x: the picture, or its differences.
            weight: (N, 16, 16), a filter for each sample instead of the module's own.
        """
        matrix = self.weight.T if weight is None else weight.transpose(1, 2)[:, None]
        return self._along(self._along(x, matrix).transpose(2, 3), matrix).transpose(2, 3)

    def _along(self, x: Tensor, matrix: Tensor) -> Tensor:
        b, c, height, width = x.shape
        half = BLOCK // 2
        # Half a block of padding on both sides puts borders in the middle of blocks of 16.
        blocks = F.pad(x, (half, half)).reshape(b, c, height, width // BLOCK + 1, BLOCK)
        blocks = blocks.flatten(2, 3)
        filtered = (blocks @ matrix).reshape(b, c, height, width + BLOCK)
        return torch.cat([x[..., :half], filtered[..., BLOCK:-BLOCK], x[..., -half:]], 3)


def to_ycc(image: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1] -> YCbCr centred on 0."""
    matrix = image.new_tensor(RGB_TO_YCC)
    return F.conv2d(image - 0.5, matrix[:, :, None, None])


def from_ycc(ycc: Tensor) -> Tensor:
    """(N, 3, H, W) YCbCr centred on 0 -> RGB in [0, 1], not clamped."""
    matrix = ycc.new_tensor(YCC_TO_RGB)
    return F.conv2d(ycc, matrix[:, :, None, None]) + 0.5


def from_ycc_adjoint(gradient: Tensor) -> Tensor:
    """Adjoint of :func:`from_ycc`: gradient by RGB (N, 3, H, W) -> gradient by YCbCr."""
    matrix = gradient.new_tensor(YCC_TO_RGB).T
    return F.conv2d(gradient, matrix[:, :, None, None])


def masking(activity: Tensor) -> Tensor:
    """Factors, 1 or more, by which activity codes (N, 1, H, W) coarsen the quantiser."""
    return torch.exp2(activity * MASKING_POWER)


def block_activity(coefficients: Tensor, luma: Tensor) -> Tensor:
    """Integer activity of every block, (N, 1, H, W), 0 or more.

    Args:
        coefficients: (N, n, H, W) of the lapped DCT.
        luma: (N, 1, 1), 1 for luma's alternating functions, else 0.
    """
    return activity_of((coefficients.square() * luma).sum(1, keepdim=True) / BLOCK**2)


def activity_of(variance: Tensor) -> Tensor:
    """Integer activity (N, 1, H, W) of blocks whose luma has this variance, (N, 1, H, W), for pixels in [0, 1]."""
    own = ACTIVITY_RATE * torch.log2(1 + variance / ACTIVITY_FLOOR)
    wide = F.pad(own, (1, 1, 1, 1), "replicate")
    across, down = wide[:, :, 1:-1], wide[..., 1:-1]
    near = (across[..., :-2] + across[..., 2:] + down[:, :, :-2] + down[:, :, 2:]) / 4
    return torch.round(torch.lerp(own, near, ACTIVITY_SMOOTHING)).detach()


class Basis:
    """The ``count`` most important functions of a 16x16 DCT of luma and chroma, lowest first.

    Attributes:
        matrix: (count, 768); columns follow ``pixel_unshuffle(patches, 2)`` of 8x8 patches: colour, row and
            column in the patch, patch row, patch column.
        step: (count,) each function's coarse step: finest for low frequencies, as MS-SSIM wants it.
        channel_rms: (count,) root mean square that coefficients divided by step have in photographs (a power law,
            fitted).  Networks see coefficients divided by it: raw ones span two orders of magnitude.
        luma: (count,) 1 for luma's alternating functions, else 0.
    """

    def __init__(self, count: int) -> None:
        k = np.arange(BLOCK)
        dct = np.sqrt(2 / BLOCK) * np.cos(math.pi * (k[None] + 0.5) * k[:, None] / BLOCK)
        dct[0] /= math.sqrt(2)
        # Chroma matters less: its functions count as if of a higher frequency.
        order = sorted(
            (math.hypot(u, v) * (2.6 if colour else 1.0) + (2.0 if colour else 0.0), colour, u, v)
            for colour in range(3)
            for u in range(BLOCK)
            for v in range(BLOCK)
        )[:count]
        basis = np.zeros((count, 3, BLOCK, BLOCK), np.float32)
        for row, (_, colour, u, v) in enumerate(order):
            basis[row, colour] = np.outer(dct[u], dct[v])
        # 16x16 pixels -> (colour, row in patch, column in patch, patch row, patch column)
        split = basis.reshape(count, 3, 2, PATCH, 2, PATCH).transpose(0, 1, 3, 5, 2, 4)
        self.matrix = np.ascontiguousarray(split.reshape(count, 4 * COLOURS))
        chroma = np.array([bool(colour) for _, colour, _, _ in order])

        step = STEP * (1 + STEP_SLOPE * (np.arange(count) / 256) ** 1.5) * np.where(chroma, CHROMA_STEP, 1.0)
        self.step = step.astype(np.float32)
        usual = [0.9 * (importance + 0.5) ** -1.3 * (2 if colour else 1) for importance, colour, _, _ in order]
        self.channel_rms = (usual / step).astype(np.float32)
        self.luma = np.array([not colour and u + v > 0 for _, colour, u, v in order], np.float32)
