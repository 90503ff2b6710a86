"""Where decompressed pictures differ most from one another: the windows worth looking at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_STRIDE = 8  # pixels between the windows that are looked at
_ROWS = 64  # of all pictures at once: whole ones as floating-point numbers would take much memory


def busiest(pictures: Sequence[Image.Image], side: int, count: int) -> list[Box]:
    """Up to ``count`` squares of ``side`` pixels that do not overlap, where ``pictures`` vary most.

    The variance over the pictures of each pixel's RGB values is summed over each square.  A picture with a side
    below ``side`` gives shorter boxes.

    Args:
        pictures: RGB, of one size; at least one.
    """
    width, height = pictures[0].size
    across, down = min(side, width), min(side, height)
    sums = np.zeros((height + 1, width + 1))
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        strips = [picture.crop((0, top, width, bottom)).convert("RGB") for picture in pictures]
        varies = np.stack([np.asarray(strip, np.float32) for strip in strips]).var(axis=0).sum(axis=2)
        sums[top + 1 : bottom + 1, 1:] = sums[top, 1:] + varies.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    tops = sorted({*range(0, height - down + 1, _STRIDE), height - down})
    lefts = sorted({*range(0, width - across + 1, _STRIDE), width - across})
    y, x = np.array(tops)[:, np.newaxis], np.array(lefts)[np.newaxis]
    scores = sums[y + down, x + across] - sums[y, x + across] - sums[y + down, x] + sums[y, x]
    boxes: list[Box] = []
    for place in np.argsort(-scores, axis=None, kind="stable"):
        row, column = divmod(int(place), len(lefts))
        left, top = lefts[column], tops[row]
        if all(abs(left - b[0]) >= across or abs(top - b[1]) >= down for b in boxes):
            boxes.append((left, top, left + across, top + down))
            if len(boxes) == count:
                break
    return boxes
