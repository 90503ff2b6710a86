"""JPEG (ITU-T T.81) as everybody has it: libjpeg-turbo through Pillow, 4:2:0, optimised Huffman tables."""

from __future__ import annotations

from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.pillow_codec import PillowCodec
from beholder.errors import BadFileError

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"
# A progressive file has about ten scans; each costs a pass over all pixels, so a bomb has thousands.
_MAX_SCANS = 200
_MAX_EXIF = 65_533


class Jpeg(PillowCodec):
    """Baseline JPEG; greyscale stays greyscale.  EXIF data longer than a JPEG segment is left out."""

    name = "jpeg"
    title = "JPEG 4:2:0 (libjpeg-turbo)"
    suffix = ".jpg"
    scale = QualityScale(1, 100, 75, "quality")
    format = "JPEG"
    max_side = 65_500

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"\xff\xd8\xff")

    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        exif = image.info.get("exif", b"")
        return {
            "quality": quality,
            "subsampling": "4:2:0",
            "optimize": True,
            "exif": exif if len(exif) <= _MAX_EXIF else b"",
            "icc_profile": image.info.get("icc_profile"),
        }

    def _check_bytes(self, data: bytes) -> None:
        # Inside entropy-coded data 0xff is always followed by 0x00, so these are real markers.
        if data.count(_START_OF_SCAN) > _MAX_SCANS:
            raise BadFileError("The jpeg file has more scans than any picture needs: it is not opened.")
        if data.rfind(_END_OF_IMAGE) < data.rfind(_START_OF_SCAN):
            raise BadFileError("The jpeg file is truncated: its end marker is missing.")
