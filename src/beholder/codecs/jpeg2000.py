"""JPEG 2000 (ITU-T T.800) in JP2 files: OpenJPEG through Pillow, irreversible 9/7 wavelet."""

from __future__ import annotations

from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.pillow_codec import PillowCodec, to_srgb
from beholder.errors import BadFileError

_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_END_OF_CODESTREAM = b"\xff\xd9"


class Jpeg2000(PillowCodec):
    """One quality layer with a target PSNR of 20 + 0.4 x quality dB, so 20.4 dB (1) to 60 dB (100).

    Pillow stores no ICC profile or EXIF data in JP2: colours are converted to sRGB, EXIF is dropped.
    """

    name = "jpeg2000"
    title = "JPEG 2000 (OpenJPEG)"
    suffix = ".jp2"
    scale = QualityScale(1, 100, 40, "quality")
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    format = "JPEG2000"
    max_side = 2**31 - 1

    def recognises(self, head: bytes) -> bool:
        return head.startswith((_JP2, _CODESTREAM))

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        return super()._encode(to_srgb(image), quality, alpha)

    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        return {
            "irreversible": True,
            "quality_mode": "dB",
            "quality_layers": [20 + 0.4 * quality],
            "mct": 1 if image.mode in ("RGB", "RGBA") else 0,
        }

    def _check_bytes(self, data: bytes) -> None:
        # OpenJPEG decodes what there is of a truncated codestream and says nothing.
        if data.rfind(_END_OF_CODESTREAM) < max(data.rfind(_CODESTREAM), 0):
            raise BadFileError("The jpeg2000 file is truncated: its end marker is missing.")
