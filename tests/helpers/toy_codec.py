"""A codec without compression whose sizes and errors a test sets for each quality."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

from beholder.codecs.base import Codec, QualityScale


class ToyCodec(Codec):
    """Quality k writes ``sizes[k]`` bytes and adds ``errors[k]`` to every pixel of a grey square of 8 x 8."""

    name = "toy"
    title = "toy"
    suffix = ".toy"
    side = 8

    def __init__(self, sizes: Sequence[int], errors: Sequence[int], higher_is_better: bool = True) -> None:
        self.sizes, self.errors = sizes, errors
        self.scale = QualityScale(0, len(sizes) - 1, 0, "quality", higher_is_better)
        self.encoded: list[int] = []

    def recognises(self, head: bytes) -> bool:
        return False

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        self.encoded.append(quality)
        return struct.pack("<H", quality).ljust(self.sizes[quality], b"\0")

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        error = self.errors[struct.unpack_from("<H", data)[0]]
        return Image.fromarray(np.full((self.side, self.side), 100 + error, np.uint8))


def grey() -> Image.Image:
    """The picture that toy codecs compress."""
    return Image.new("L", (ToyCodec.side, ToyCodec.side), 100)
