"""The file of a codec that is nearest to a number of bytes, between its qualities where the codec can write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from beholder.codecs.base import Codec

CLOSE = 0.005
"""A file within this part of the size is near enough."""

_ROUNDS = 7  # halvings of the gap between two qualities


@dataclass(frozen=True)
class Sized:
    """A file and the quality that it was written with, which need not be whole."""

    quality: float
    data: bytes


def nearest(codec: Codec, image: Image.Image, size: int, alpha: float = 0.0) -> Sized:
    """The file of ``image`` that comes nearest to ``size`` bytes, of two as near the better one.

    Bisection over the whole qualities, then between the two on either side of the size.
    """
    better = 1 if codec.scale.higher_is_better else -1
    ladder = list(range(codec.scale.lowest, codec.scale.highest + 1))[::better]
    if codec.progressive and not getattr(codec, "effort", 0):
        files = dict(zip(ladder, codec.encode_many(image, ladder, alpha=alpha), strict=True))
        tried = [Sized(quality, data) for quality, data in files.items()]
    else:
        files = {}
        tried = []

    def at(quality: float) -> int:
        whole = int(quality) if quality == int(quality) else None
        data = files.get(whole) if whole is not None else None
        if data is None:
            data = codec.encode_between(image, quality, alpha=alpha)
        tried.append(Sized(quality, data))
        return len(data)

    low, high = 0, len(ladder) - 1
    while low <= high:
        middle = (low + high) // 2
        if at(ladder[middle]) < size:
            low = middle + 1
        else:
            high = middle - 1

    def error(file: Sized) -> tuple[float, float]:
        return abs(len(file.data) - size), -better * file.quality

    if codec.fine and 0 < low < len(ladder):
        _between(at, ladder[low - 1], ladder[low], size, lambda: error(min(tried, key=error))[0])
    return min(tried, key=error)


def _between(at: Callable[[float], int], worse: float, better: float, size: int, off: Callable[[], float]) -> None:
    for _ in range(_ROUNDS):
        if off() <= CLOSE * size:
            return
        middle = (worse + better) / 2
        if at(middle) < size:
            worse = middle
        else:
            better = middle
