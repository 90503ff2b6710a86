"""JPEG 2000 (ITU-T T.800) in JP2 files: OpenJPEG through Pillow, irreversible 9/7 wavelet."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from beholder.codecs.base import QualityScale
from beholder.codecs.boxes import read_boxes, write_box
from beholder.codecs.pillow_codec import PillowCodec
from beholder.errors import BadFileError, NotAvailableError
from beholder.extras import install_command
from beholder.limits import check_size
from beholder.pictures.arrays import to_8_bits
from beholder.pictures.metadata import EXIF_PREFIX, find_tiff

_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_END_OF_CODESTREAM = b"\xff\xd9"
_EXIF_UUID = b"JpgTiffExif->JP2"
"""Identity of the UUID box in which Photoshop, ExifTool and GDAL keep EXIF data."""
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MOST_COMPONENTS = 5
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
        image = _decode_deep(data) if _is_misread(data) else super()._decode(data, quality)
        profile, exif, xmp = _read_metadata(data)
        if xmp:
            image.info["xmp"] = xmp
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


def _bits(data: bytes) -> list[int]:
    """Return the bits a sample of each component, as the first marker segment of the codestream says (A.5.1)."""
    start = max(data.find(_CODESTREAM), 0)
    count = int.from_bytes(data[start + 40 : start + 42], "big")
    return [(size & 0x7F) + 1 for size in data[start + 42 : start + 42 + 3 * count : 3]]


def _is_misread(data: bytes) -> bool:
    """Whether Pillow would turn the brightest samples of a file to black: more than 8 bits and several components.

    Pillow 13 rounds such samples to 8 bits without a limit, so that 255.5 becomes 256, which is 0.
    """
    bits = _bits(data)
    return 1 < len(bits) < _MOST_COMPONENTS and max(bits) > 8


def _decode_deep(data: bytes) -> Image.Image:
    if importlib.util.find_spec("imagecodecs") is None:
        raise NotAvailableError(
            f"JPEG 2000 files of more than 8 bits in colour need the package imagecodecs: {install_command('jxl')}."
        )
    import imagecodecs

    with Image.open(BytesIO(data), formats=("JPEG2000",)) as header:
        check_size(*header.size)
        size, mode = header.size, header.mode
    samples = np.asarray(imagecodecs.jpeg2k_decode(data))
    bits = max(_bits(data))
    if samples.dtype.kind == "i":
        samples = samples.astype(np.int32) + (1 << (bits - 1))
    if samples.shape != (size[1], size[0], Image.getmodebands(mode)):
        raise BadFileError(f"The jpeg2000 file holds samples of shape {samples.shape}: convert it first.")
    pixels = to_8_bits(samples, "The jpeg2000 file", float((1 << bits) - 1))
    return Image.frombytes(mode, size, np.ascontiguousarray(pixels).data)


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


def _read_metadata(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the ICC profile, the EXIF data and the XMP data of a JP2 file; each may be empty."""
    profile = exif = xmp = b""
    if not data.startswith(_JP2):
        return profile, exif, xmp
    try:
        for kind, _, body, end in read_boxes(data, "jpeg2000"):
            if kind == b"jp2h":
                header = data[body:end]
                for name, _, first, last in read_boxes(header, "jpeg2000"):
                    if name == b"colr" and not profile and header[first] in (_RESTRICTED_ICC, _ANY_ICC):
                        profile = header[first + 3 : last]
            elif kind == b"uuid" and data[body : body + len(_EXIF_UUID)] == _EXIF_UUID:
                exif = EXIF_PREFIX + data[body + len(_EXIF_UUID) : end]
            elif kind == b"uuid" and data[body : body + len(_XMP_UUID)] == _XMP_UUID:
                xmp = data[body + len(_XMP_UUID) : end]
    except (BadFileError, IndexError):
        pass  # the decoder has the last word on boxes
    return profile, exif, xmp
