"""JPEG 2000 (ITU-T T.800) in JP2 files: OpenJPEG through Pillow, irreversible 9/7 wavelet."""

from __future__ import annotations

from typing import Any

from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.boxes import read_boxes, write_box
from beholder.codecs.pillow_codec import PillowCodec
from beholder.errors import BadFileError
from beholder.pictures.metadata import EXIF_PREFIX, find_tiff

_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_END_OF_CODESTREAM = b"\xff\xd9"
_EXIF_UUID = b"JpgTiffExif->JP2"
"""Identity of the UUID box in which Photoshop, ExifTool and GDAL keep EXIF data."""
_RESTRICTED_ICC, _ANY_ICC = 2, 3
"""METH of the colour specification box (I.5.3.3)."""


class Jpeg2000(PillowCodec):
    """One quality layer with a target PSNR of 20 + 0.4 x quality dB, so 20.4 dB (1) to 60 dB (100).

    Pillow stores no ICC profile or EXIF data in JP2, so their boxes are added here.
    """

    name = "jpeg2000"
    title = "JPEG 2000 (OpenJPEG)"
    suffix = ".jp2"
    other_suffixes = (".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
    scale = QualityScale(1, 100, 40, "quality")
    fine = True
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    format = "JPEG2000"
    max_side = 2**31 - 1

    def recognises(self, head: bytes) -> bool:
        return head.startswith((_JP2, _CODESTREAM))

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        data = super()._encode(image, quality, alpha)
        return _with_metadata(data, image.info.get("icc_profile") or b"", find_tiff(image.info.get("exif") or b""))

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        image = super()._decode(data, quality)
        profile, exif = _read_metadata(data)
        if profile:
            image.info["icc_profile"] = profile
        if exif:
            image.info["exif"] = exif
        return image

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


def _with_metadata(data: bytes, profile: bytes, exif: bytes) -> bytes:
    """Return a JP2 file with ``profile`` as its colour specification and ``exif``, from the TIFF header on."""
    if not profile and not exif:
        return data
    parts = []
    for kind, start, body, end in read_boxes(data, "jpeg2000"):
        if kind == b"jp2h" and profile:
            header = data[body:end]
            inner = [
                write_box(b"colr", bytes([_RESTRICTED_ICC, 0, 0]) + profile) if name == b"colr" else header[first:last]
                for name, first, _, last in read_boxes(header, "jpeg2000")
            ]
            parts.append(write_box(b"jp2h", b"".join(inner)))
        else:
            parts.append(data[start:end])
        if kind == b"jp2h" and exif:
            parts.append(write_box(b"uuid", _EXIF_UUID + exif))
    return b"".join(parts)


def _read_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Return the ICC profile and the EXIF data of a JP2 file; either may be empty."""
    profile = exif = b""
    if not data.startswith(_JP2):
        return profile, exif
    try:
        for kind, _, body, end in read_boxes(data, "jpeg2000"):
            if kind == b"jp2h":
                header = data[body:end]
                for name, _, first, last in read_boxes(header, "jpeg2000"):
                    if name == b"colr" and not profile and header[first] in (_RESTRICTED_ICC, _ANY_ICC):
                        profile = header[first + 3 : last]
            elif kind == b"uuid" and data[body : body + len(_EXIF_UUID)] == _EXIF_UUID:
                exif = EXIF_PREFIX + data[body + len(_EXIF_UUID) : end]
    except (BadFileError, IndexError):
        pass  # the decoder has the last word on boxes
    return profile, exif
