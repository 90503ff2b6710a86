"""Lossy WebP (RFC 9649): libwebp through Pillow, method 4."""

from __future__ import annotations

from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.pillow_codec import PillowCodec
from beholder.errors import BadFileError
from beholder.limits import check_claim
from beholder.pictures.colour import RGB_SPACE

_ANIMATION = 2


class WebP(PillowCodec):
    """WebP with opacity; it has no greyscale, so L and LA come back as RGB and RGBA."""

    name = "webp"
    title = "WebP 4:2:0 (libwebp)"
    suffix = ".webp"
    scale = QualityScale(1, 100, 75, "quality")
    fine = True
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    profiles = frozenset({RGB_SPACE})
    format = "WEBP"
    max_side = 16_383

    def recognises(self, head: bytes) -> bool:
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"

    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        return {
            "quality": quality,
            "method": 4,
            "exif": image.info.get("exif", b""),
            "icc_profile": image.info.get("icc_profile", b""),
        }

    def _check_bytes(self, data: bytes) -> None:
        if len(data) < 30 or len(data) < 8 + int.from_bytes(data[4:8], "little"):
            raise BadFileError("The webp file is truncated: it is shorter than its header says.")
        # libwebp allocates its canvas while Pillow opens the file, before anyone can look at the size.
        first = data.find(b"ANMF", 30) if data[12:16] == b"VP8X" and data[20] & _ANIMATION else -1
        size = len(data) if first < 0 else min(len(data), int.from_bytes(data[first + 4 : first + 8], "little"))
        check_claim(*_canvas(data), size)


def _canvas(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return (
            int.from_bytes(data[26:28], "little") & 0x3FFF,
            int.from_bytes(data[28:30], "little") & 0x3FFF,
        )
    raise BadFileError("The webp file is damaged: it does not begin with an image chunk.")
