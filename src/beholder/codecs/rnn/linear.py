"""The human's linear reconstruction and its gradient with NumPy, for the encoder.

The inverse transform and the filter across block borders, without the network that refines the picture. All is computed
in strips of blocks that fit into the processor's cache. Blocks are one matrix product, and a border is another one on
pixels where they lie: nothing is transposed (docs/log/2026-11-27-speed.md).

``linear.npz`` holds what the decoder's graph has, in float16 as there:

    place     where the inverse transform, (768, C - 1) float16, lies in the file that the human's graphs share: bytes
    borders   (16, 16): the filter of the 16 pixels around a block border
    step      (C - 1,): the coarsest quantiser step of each channel
    to_rgb    (3, 3) float32: YCbCr to RGB
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.damage import unpack_arrays
from beholder.codecs.rnn.layout import BLOCK, MASKING_POWER
from beholder.codecs.rnn.steps import Floats

FILE = "linear.npz"
STRIP = 384
"""Blocks of a strip: 1.2 MB as float32. Strips of 192 to 768 take as long."""
HALF = BLOCK // 2
PIXELS = 3 * BLOCK**2
MIDDLE = 128
"""Grey, in values from 0 to 255, and the half that makes rounding of cutting off."""


class LinearReconstruction:
    """The linear reconstruction of a trained codec.

    Args:
        folder: of the model.
        weights: name of the file there that the human's graphs share.
        latent: number of latent channels, the activity included.

    Raises:
        Exception: a file is damaged, see :func:`beholder.codecs.rnn.damage.unpack_arrays`.
    """

    def __init__(self, folder: Path, weights: str, latent: int) -> None:
        arrays = unpack_arrays(folder / FILE)
        place, borders, step, to_rgb = (arrays[name] for name in ("place", "borders", "step", "to_rgb"))
        half = np.fromfile(folder / weights, np.float16, PIXELS * (latent - 1), offset=int(place))
        # Rows: colour, row and column in the patch, patch row, patch column -> colour, row, column.
        patches = half.astype(np.float32).reshape(3, HALF, HALF, 2, 2, latent - 1)
        by_colour = patches.transpose(0, 3, 1, 4, 2, 5).reshape(3, -1)
        rgb = 255 * to_rgb.reshape(3, 3).astype(np.float32) @ by_colour
        self._from_codes = np.ascontiguousarray(rgb.reshape(PIXELS, latent - 1).T)
        self._step = step.astype(np.float32).reshape(latent - 1, 1, 1)
        self._borders = borders.astype(np.float32).reshape(BLOCK, BLOCK)
        self._energy = np.square(self._from_codes).sum(1) * np.square(self._step[:, 0, 0]) / PIXELS

    def picture(self, y_hat: Floats) -> NDArray[np.uint8]:
        """(C, H, W) -> (3, 16H, 16W)."""
        height, width = y_hat.shape[1:]
        result = np.empty((3, height * BLOCK, width * BLOCK), np.uint8)

        for rows in _strips(height, width):
            first = max(rows.start - 1, 0)  # half of the blocks above: a border lies between
            codes = y_hat[:, first : rows.stop]
            blocks = np.matmul(self._coefficients(codes).reshape(len(y_hat) - 1, -1).T, self._from_codes)
            pixels = _to_pixels(blocks, codes.shape[1], width)
            filtered = self._down(self._across(pixels, self._borders.T), self._borders)
            top = HALF if rows.start else 0
            bottom = filtered.shape[1] - (HALF if rows.stop < height else 0)
            inner = filtered[:, top:bottom]
            inner += np.float32(MIDDLE)
            np.clip(inner, 0, 255, out=inner)
            result[:, first * BLOCK + top : first * BLOCK + bottom] = inner

        return result

    def vjp(self, gradient: Floats, y_hat: Floats) -> Floats:
        """Vector-Jacobian product of :meth:`picture`, rounding aside.

        Args:
            gradient: by each pixel, whose range is 0 to 255, (3, 16H, 16W).
            y_hat: (C, H, W).

        Returns:
            The gradient by y_hat, that by the activity included.
        """
        height, width = y_hat.shape[1:]
        result = np.empty(y_hat.shape, np.float32)

        for rows in _strips(height, width):
            top, bottom = (HALF if rows.start else 0), (HALF if rows.stop < height else 0)
            near = gradient[:, rows.start * BLOCK - top : rows.stop * BLOCK + bottom]
            own = self._down(near, self._borders.T, top)[:, top : near.shape[1] - bottom]
            blocks = _to_blocks(self._across(np.ascontiguousarray(own), self._borders), width)
            by_codes = np.matmul(self._from_codes, blocks.T).reshape(-1, rows.stop - rows.start, width)
            by_codes *= self._step
            by_codes *= _masking(y_hat[0, rows])
            result[1:, rows] = by_codes
            # Every coefficient grows with the activity as its step does.
            by_activity = np.einsum("cij,cij->ij", by_codes, y_hat[1:, rows])
            np.multiply(by_activity, np.float32(math.log(2) * MASKING_POWER), out=result[0, rows])

        return result

    def error(self, y_hat: Floats, latent: Floats) -> float:
        """Mean squared error of pixels, whose range is 0 to 255, that ``y_hat`` causes in place of ``latent``.

        An estimate in a tenth of the time that :meth:`picture` takes, as if the transform were orthogonal.

        Args:
            y_hat, latent: (C, H, W), with the same activity.
        """
        squares = y_hat[1:] - latent[1:]
        squares *= squares
        by_block = np.tensordot(self._energy, squares, 1) * np.square(_masking(y_hat[0]))
        return float(by_block.mean(dtype=np.float64))

    def _coefficients(self, y_hat: Floats) -> Floats:
        coefficients: Floats = y_hat[1:] * self._step
        coefficients *= _masking(y_hat[0])
        return coefficients

    def _across(self, pixels: Floats, matrix: Floats) -> Floats:
        """Filter (3, h, 16W) pixels across vertical borders: each row of 16 around one becomes its product."""
        result = np.empty_like(pixels)
        # Seen as one long row, the last pixels of a row and the first of the next meet, and are put back.
        inner = slice(HALF, -HALF)
        np.matmul(_sixteens(pixels.reshape(-1)[inner]), matrix, out=_sixteens(result.reshape(-1)[inner]))
        for edge in (slice(HALF), slice(-HALF, None)):
            result[..., edge] = pixels[..., edge]
        return result

    def _down(self, pixels: Floats, matrix: Floats, beyond: int = 0) -> Floats:
        """Filter (3, h, 16W) pixels across horizontal borders, the first of which lies at row 16, or at ``beyond``."""
        result = np.empty(pixels.shape, np.float32)
        start = 0 if beyond else HALF
        count = (pixels.shape[1] - start) // BLOCK
        whole = slice(start, start + count * BLOCK)
        if count:
            shape = (3, count, BLOCK, pixels.shape[2])
            np.matmul(matrix, pixels[:, whole].reshape(shape), out=result[:, whole].reshape(shape))
        for edge in (slice(start), slice(whole.stop, None)):
            result[:, edge] = pixels[:, edge]
        return result


def _masking(activity: Floats) -> Floats:
    """Factor by which activity codes coarsen the quantiser."""
    result: Floats = np.exp2(activity * np.float32(MASKING_POWER))
    return result


def _to_pixels(blocks: Floats, height: int, width: int) -> Floats:
    """(H W, 768) -> (3, 16H, 16W)."""
    parts = blocks.reshape(height, width, 3, BLOCK, BLOCK).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(parts).reshape(3, height * BLOCK, width * BLOCK)


def _to_blocks(pixels: Floats, width: int) -> Floats:
    """Inverse of :func:`_to_pixels`."""
    parts = pixels.reshape(3, -1, BLOCK, width, BLOCK).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(parts).reshape(-1, PIXELS)


def _sixteens(pixels: Floats) -> Floats:
    return pixels.reshape(-1, BLOCK)


def _strips(height: int, width: int) -> list[slice]:
    rows = max(STRIP // width, 1)
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]
