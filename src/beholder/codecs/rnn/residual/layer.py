"""The residual layer of a picture: its segments from an original, and the better picture from its segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.codecs.rnn.residual import tables
from beholder.codecs.rnn.residual.coder import Decoder, Encoder, check_length
from beholder.codecs.rnn.residual.geometry import COEFFICIENTS, SIDE, Area, activities, size_in_blocks, tiles
from beholder.codecs.rnn.residual.transform import dequantise, forward, inverse, quantise, to_pixels, to_planes
from beholder.threads import one_blas_thread

Progress = Callable[[int, int], None]
"""Called with the number of tiles that are over, and of all."""


def encode(
    original: Image.Image,
    base: Image.Image,
    latent_activity: NDArray[np.int16],
    levels: int,
    step_scale: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[bytes]:
    """One segment a level.

    Args:
        original, base: mode L or RGB, of the same size; ``base`` is the decoded picture of quality 8.
        latent_activity: channel 0 of the base's latent, (rows, columns) of blocks of 16x16 pixels.
        levels: 1 to 4.
        step_scale: of the file.
        progress: called after each tile.
    """
    encoder = Encoder(levels)
    with one_blas_thread():
        for area in _watched(base, progress):
            box = _box(area, base)
            lack = _pixels(original, box) - _pixels(base, box)
            beyond = [(0, -side % SIDE) for side in lack.shape[:2]] + [(0, 0)] * (lack.ndim - 2)
            planes = to_planes(np.pad(lack, beyond, mode="edge"))
            codes = [quantise(forward(plane), levels, step_scale) for plane in planes]
            encoder.add(np.stack(codes), activities(latent_activity, area))
    return encoder.segments()


def check(segments: Sequence[bytes], size: tuple[int, int], grey: bool) -> None:
    """Raise BadFileError if segments are too short for a picture of (width, height) pixels; nothing is decoded."""
    rows, columns = size_in_blocks(size[1], size[0])
    check_length(segments, (1 if grey else tables.PLANES) * COEFFICIENTS * rows * columns)


def apply(
    segments: Sequence[bytes],
    picture: Image.Image,
    latent_activity: NDArray[np.int16],
    step_scale: int = 0,
    progress: Progress = lambda done, total: None,
) -> None:
    """Add what the segments hold to the decoded picture of quality 8, mode L or RGB, in place.

    Args:
        segments: of the first levels.
        picture: mode L or RGB.
        latent_activity: channel 0 of the base's latent, (rows, columns) of blocks of 16x16 pixels.
        step_scale: of the file.
        progress: called after each tile.

    Raises:
        BadFileError: segments are damaged, or end before the codes do.
    """
    level = len(segments) - 1
    bands, decoder = len(picture.getbands()), Decoder(segments)
    centroids = tables.load().centroid[level, :bands]
    with one_blas_thread():
        for area in _watched(picture, progress):
            box = _box(area, picture)
            codes = decoder.next(bands, activities(latent_activity, area))
            planes = [
                inverse(dequantise(plane, level, step_scale, centroid))
                for plane, centroid in zip(codes, centroids, strict=True)
            ]
            better = _pixels(picture, box)
            better += to_pixels(planes)[: better.shape[0], : better.shape[1]]
            picture.paste(Image.fromarray(better.clip(0, 255).astype(np.uint8)), box[:2])


def _watched(picture: Image.Image, progress: Progress) -> Iterator[Area]:
    areas = list(tiles(*size_in_blocks(picture.height, picture.width)))
    for number, area in enumerate(areas):
        yield area
        progress(number + 1, len(areas))


def _box(area: Area, picture: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and lower edge of an area of blocks, within the picture."""
    rows, columns = area
    right, bottom = min(columns.stop * SIDE, picture.width), min(rows.stop * SIDE, picture.height)
    return columns.start * SIDE, rows.start * SIDE, right, bottom


def _pixels(picture: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.int16]:
    return np.asarray(picture.crop(box)).astype(np.int16)
