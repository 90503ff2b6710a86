"""AVIF (AV1 Image File Format 1.1): libaom through libavif and Pillow, speed 6, 4:2:0."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.boxes import colour_codes
from beholder.codecs.pillow_codec import PillowCodec, check_side
from beholder.errors import BadFileError, note
from beholder.pictures.named_colours import CODES

_MONOCHROME = 0x10
_SHARPEST = 7


class Avif(PillowCodec):
    """AVIF with opacity; greyscale is stored as monochrome AV1 and comes back as L or LA."""

    name = "avif"
    title = "AVIF 4:2:0 (libaom)"
    suffix = ".avif"
    other_suffixes = (".avifs",)
    scale = QualityScale(0, 100, 60, "quality")
    fine = True
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    format = "AVIF"
    max_side = 32_768

    def recognises(self, head: bytes) -> bool:
        # The major brand may be the general one of HEIF; the compatible ones then tell.
        return head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or b"avif" in head[16:])

    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        return {
            "quality": quality,
            "speed": 6,
            "codec": "aom",
            "subsampling": "4:0:0" if image.mode in ("L", "LA") else "4:2:0",
            "exif": image.info.get("exif", b""),
            "icc_profile": image.info.get("icc_profile", b""),
        }

    def _encode_between(self, image: Image.Image, quality: float, alpha: float) -> bytes:
        # libaom's quantiser has 64 steps; a sharper loop filter makes files smaller by less than one of them.
        whole = math.ceil(quality)
        sharpness = round(_SHARPEST * (whole - quality))
        check_side(image, self.max_side, self.name)
        buffer = BytesIO()
        image.save(buffer, self.format, **self._options(image, whole), advanced={"sharpness": str(sharpness)})
        return buffer.getvalue()

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        try:
            image = super()._decode(data, quality)
        except BadFileError:
            # libavif refuses a file for EXIF data that browsers do not even look at.
            without = _without_exif(data)
            if without is None:
                raise
            image = super()._decode(without, quality)
            note("EXIF data that cannot be read are left out.")
        if not image.info.get("icc_profile") and (codes := colour_codes(data)):
            image.info[CODES] = codes
        if _is_monochrome(data) and image.mode in ("RGB", "RGBA"):
            grey = image.convert("LA" if image.mode == "RGBA" else "L")
            grey.info = dict(image.info)
            return grey
        return image


def _without_exif(data: bytes) -> bytes | None:
    """Return a file whose EXIF items have a type that nobody knows, or None where it has no such items."""
    changed, position = bytearray(data), 0
    # ItemInfoEntry of ISO/IEC 14496-12: version, flags, an identity of 2 or 4 bytes by version, 2 bytes, the type.
    while (position := data.find(b"infe", position)) >= 0:
        place = position + (12 if data[position + 4 : position + 5] == b"\x02" else 14)
        if data[place : place + 4] == b"Exif":
            changed[place : place + 4] = b"skip"
        position += 4
    return bytes(changed) if changed != data else None


def _is_monochrome(data: bytes) -> bool:
    """Whether every AV1 configuration box (colour and, always monochrome, alpha) says monochrome."""
    position = data.find(b"av1C")
    found = False
    while 0 <= position < len(data) - 6:
        if not data[position + 6] & _MONOCHROME:
            return False
        found = True
        position = data.find(b"av1C", position + 4)
    return found
