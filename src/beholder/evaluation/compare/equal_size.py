"""The file of a codec that is nearest to a number of bytes, between its qualities where the codec can write it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from beholder.codecs.base import Codec
from beholder.codecs.between import close_in

CLOSE = 0.005
"""A file within this part of the size is near enough."""

_TRIES = 8  # files between two qualities


@dataclass(frozen=True)
class Sized:
    """A file and the quality that it was written with, which need not be whole."""

    quality: float
    data: bytes


def nearest(codec: Codec, image: Image.Image, size: int, alpha: float = 0.0) -> Sized:
    """The file of ``image`` that comes nearest to ``size`` bytes, of two as near the better one.

    Bisection over the whole qualities, then interpolation between the two on either side of the size.  ``image`` and
    ``alpha`` are as for :meth:`beholder.codecs.base.Codec.encode`.
    """
    better = 1 if codec.scale.higher_is_better else -1
    ladder = list(range(codec.scale.lowest - codec.beyond, codec.scale.highest + codec.beyond + 1))[::better]
    files: dict[float, bytes] = {}
    if codec.encodes_at_once(image, alpha):
        qualities = list(range(codec.scale.lowest, codec.scale.highest + 1))
        files = dict(zip(qualities, codec.encode_many(image, qualities, alpha=alpha), strict=True))

    def at(quality: float) -> int:
        if quality not in files:
            files[quality] = codec.encode_between(image, quality, alpha=alpha)
        return len(files[quality])

    low, high = 0, len(ladder) - 1
    while low <= high:
        middle = (low + high) // 2
        if at(ladder[middle]) < size:
            low = middle + 1
        else:
            high = middle - 1

    def error(quality: float) -> tuple[float, float]:
        return abs(len(files[quality]) - size), -better * quality

    def distance(quality: float) -> tuple[bool, float]:
        return at(quality) >= size, math.log(at(quality) / size)

    if codec.fine and 0 < low < len(ladder):
        below, above = ((quality, distance(quality)[1]) for quality in (ladder[low - 1], ladder[low]))

        def enough() -> bool:
            return error(min(files, key=error))[0] <= CLOSE * size

        close_in(distance, below, above, enough, _TRIES, codec.settings_between)
    best = min(files, key=error)
    return Sized(best, files[best])
