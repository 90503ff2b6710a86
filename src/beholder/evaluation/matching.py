"""Codecs side by side at one size: the quality whose file comes closest to a number of bytes."""

from __future__ import annotations

from PIL import Image

from beholder.codecs.base import Codec


def closest_quality(codec: Codec, image: Image.Image, size: int, alpha: float = 0.0) -> int:
    """The quality at which ``codec`` writes ``image`` in as near as possible to ``size`` bytes.

    Bisection over the codec's scale, which takes files to grow with quality; of all files written on the way
    the nearest in size wins, of two as near the better one.

    Args:
        codec: any available codec.
        image: mode L, LA, RGB or RGBA.
        size: bytes of the file to match.
        alpha: the observer, for codecs that know one.
    """
    scale = codec.scale
    ladder = list(range(scale.lowest, scale.highest + 1))
    if not scale.higher_is_better:
        ladder.reverse()
    sizes: dict[int, int] = {}
    low, high = 0, len(ladder) - 1
    while low <= high:
        middle = (low + high) // 2
        sizes[middle] = len(codec.encode(image, ladder[middle], alpha=alpha))
        if sizes[middle] < size:
            low = middle + 1
        else:
            high = middle - 1
    nearest = min(sizes, key=lambda step: (abs(sizes[step] - size), -step))
    return ladder[nearest]
