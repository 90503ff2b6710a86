"""JPEG (ITU-T T.81) as everybody has it: libjpeg-turbo through Pillow, 4:2:0, optimised Huffman tables."""

from __future__ import annotations

import functools
import math
from io import BytesIO
from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.pillow_codec import PillowCodec, check_side
from beholder.errors import BadFileError, note

_APP1 = b"\xe1"
_START_OF_SCAN = b"\xda"
_END_OF_IMAGE = b"\xd9"
# Markers without a length: a data byte 0xff (stuffed with 0x00), TEM, restarts and the start of an image.
_STANDALONE = frozenset(bytes([marker]) for marker in (0x00, 0x01, *range(0xD0, 0xD9)))
# SOF0 to SOF15 without the tables and the reserved marker in between (C4, C8, CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A progressive file has about ten scans; each costs a pass over all pixels, so a bomb has thousands.
_MAX_SCANS = 200
# Cameras write some ten segments, a large profile takes 255; Pillow joins EXIF segments anew with each.
_MAX_SEGMENTS, _MAX_EXIF_SEGMENTS = 2000, 64
_MAX_EXIF = 65_533


@functools.cache
def _tables(mode: str, quality: int) -> list[list[int]]:
    """The quantisation tables of a whole quality, as libjpeg scales them."""
    buffer = BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as tiny:
        tables: dict[int, list[int]] = tiny.quantization  # type: ignore[attr-defined]
        return [list(tables[number]) for number in sorted(tables)]


class Jpeg(PillowCodec):
    """Baseline JPEG; greyscale stays greyscale.  EXIF data longer than a JPEG segment is left out."""

    name = "jpeg"
    title = "JPEG 4:2:0 (libjpeg-turbo)"
    suffix = ".jpg"
    other_suffixes = (".jpeg", ".jpe", ".jfif")
    scale = QualityScale(1, 100, 75, "quality")
    fine = True
    format = "JPEG"
    max_side = 65_500

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"\xff\xd8\xff")

    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        exif = image.info.get("exif", b"")
        if len(exif) > _MAX_EXIF:
            note(f"EXIF data of {len(exif):,} bytes are left out: jpeg takes {_MAX_EXIF:,}.")
        return {
            "quality": quality,
            "subsampling": "4:2:0",
            "optimize": True,
            "exif": exif if len(exif) <= _MAX_EXIF else b"",
            "icc_profile": image.info.get("icc_profile"),
        }

    def _encode_between(self, image: Image.Image, quality: float, alpha: float) -> bytes:
        low, high = (_tables(image.mode, whole) for whole in (math.floor(quality), math.ceil(quality)))
        fraction = quality - math.floor(quality)
        tables = [
            [round(a + fraction * (b - a)) for a, b in zip(coarse, fine, strict=True)]
            for coarse, fine in zip(low, high, strict=True)
        ]
        options = self._options(image, 75)  # tables take the place of the quality
        check_side(image, self.max_side, self.name)
        buffer = BytesIO()
        image.save(buffer, self.format, **(options | {"quality": -1, "qtables": tables}))
        return buffer.getvalue()

    def _check_bytes(self, data: bytes) -> None:
        bits = _bits(data)
        if bits > 8:
            raise BadFileError(f"The jpeg file has {bits} bits a sample, which cannot be read: convert it to 8 first.")
        scans, whole, segments, exif = _walk(data)
        if segments > _MAX_SEGMENTS or exif > _MAX_EXIF_SEGMENTS:
            raise BadFileError("The jpeg file has more segments than any picture needs: it is not opened.")
        if scans > _MAX_SCANS:
            raise BadFileError("The jpeg file has more scans than any picture needs: it is not opened.")
        if not whole:
            raise BadFileError("The jpeg file is truncated: its end marker is missing.")


def _bits(data: bytes) -> int:
    """Return the bits a sample of the first frame header; 8 where there is none."""
    position = 2
    while position + 5 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            return data[position + 4]
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 8


def _walk(data: bytes) -> tuple[int, bool, int, int]:
    """Return the number of scans of the first picture in a file, whether its end marker is there, and the numbers of
    its segments and of those with EXIF data.

    Behind it may lie more, such as the video of a motion photo or the pictures of an MPO file.
    """
    scans, segments, exif, position = 0, 0, 0, 2
    while (position := data.find(b"\xff", position)) >= 0:
        marker = data[position + 1 : position + 2]
        if marker == _END_OF_IMAGE:
            return scans, True, segments, exif
        if marker == b"\xff":  # fill bytes
            position += 1
        elif marker in _STANDALONE or not marker:
            position += 2
        else:
            if marker == _START_OF_SCAN:
                scans += 1
                if scans > _MAX_SCANS:
                    break
            segments += 1
            exif += marker == _APP1 and data[position + 4 : position + 8] == b"Exif"
            if segments > _MAX_SEGMENTS:
                break
            position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    return scans, False, segments, exif
