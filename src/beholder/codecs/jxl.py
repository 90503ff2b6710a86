"""JPEG XL (ISO/IEC 18181) through libjxl in the package imagecodecs, effort 7."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import numpy as np
from PIL import Image

from beholder.codecs.base import Codec, QualityScale
from beholder.codecs.pillow_codec import check_side, damaged, to_srgb
from beholder.errors import BadFileError
from beholder.extras import install_command
from beholder.image import check_size

_SIGNATURE_BOX = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_FILE_TYPE_BOX = b"\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl "
_CODESTREAM = b"\xff\x0a"
_EXIF_PREFIX = b"Exif\x00\x00"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Jxl(Codec):
    """Lossy JPEG XL; quality is libjpeg-like and mapped to Butteraugli distance as ``cjxl -q`` does.

    100 is distance 0.1 (``cjxl`` would switch to lossless) and 4 and less are distance 19.9, because libjxl
    halves the resolution from 20 on, which makes files larger again.

    imagecodecs stores no ICC profile: colours are converted to sRGB.  EXIF data goes into its own box.
    """

    name = "jxl"
    title = "JPEG XL (libjxl)"
    suffix = ".jxl"
    scale = QualityScale(1, 100, 75, "quality")
    modes = frozenset({"L", "LA", "RGB", "RGBA"})

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("imagecodecs") is None:
            return f"JPEG XL needs the package imagecodecs: {install_command('jxl')}."
        try:
            _library().jpegxl_version()
        except Exception as error:  # a stub of a build without libjxl raises DelayedImportError
            return f"This imagecodecs has no JPEG XL ({error}): {install_command('jxl', upgrade=True)}."
        return None

    def recognises(self, head: bytes) -> bool:
        return head.startswith((_CODESTREAM, _SIGNATURE_BOX))

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        check_side(image, 2**30, self.name)
        image = to_srgb(image)
        codestream = bytes(
            _library().jpegxl_encode(
                np.asarray(image), distance=_distance(quality), effort=7, usecontainer=False, numthreads=1
            )
        )
        exif = image.info.get("exif", b"").removeprefix(_EXIF_PREFIX)
        if not exif:
            return codestream
        # The Exif box begins with the offset of the TIFF header in it.
        return b"".join([_SIGNATURE_BOX, _FILE_TYPE_BOX, _box(b"Exif", bytes(4) + exif), _box(b"jxlc", codestream)])

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        if not self.recognises(data[:64]):
            raise BadFileError("The file is not in the format jxl.")
        codestream, exif = _open_container(data)
        check_size(*_frame_size(codestream))
        try:
            pixels = np.asarray(_library().jpegxl_decode(data, index=0, numthreads=1))
            image = _to_image(pixels)
        except Exception as error:  # libjxl's failures have a type of their own
            raise damaged(self.name, error) from None
        if exif:
            image.info["exif"] = _EXIF_PREFIX + exif
        return image


def _library() -> ModuleType:
    import imagecodecs

    return imagecodecs


def _distance(quality: int) -> float:
    """JxlEncoderDistanceFromQuality of libjxl, capped: 0.1 at 100, 1.0 at 90, 6.4 at 30, 19.9 at 4."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return min(19.9, 53.0 / 3000.0 * quality * quality - 23.0 / 20.0 * quality + 25.0)


def _box(kind: bytes, payload: bytes) -> bytes:
    return (len(payload) + 8).to_bytes(4, "big") + kind + payload


def _open_container(data: bytes) -> tuple[bytes, bytes]:
    """The first bytes of the codestream and the EXIF data, from a bare or boxed file (ISO/IEC 18181-2)."""
    if data.startswith(_CODESTREAM):
        return data[:64], b""
    start, exif, position = b"", b"", 0
    while position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = position + 8
        if length == 1:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        end = len(data) if length == 0 else position + length
        if end < body or end > len(data):
            raise BadFileError("The jxl file is damaged or truncated: a box is longer than the file.")
        if kind == b"jxlc" and not start:
            start = data[body : min(body + 64, end)]
        elif kind == b"jxlp" and not start:
            start = data[body + 4 : min(body + 68, end)]
        elif kind == b"Exif" and not exif:
            exif = data[body + 4 + int.from_bytes(data[body : body + 4], "big") : end]
        position = end
    return start, exif


def _frame_size(codestream: bytes) -> tuple[int, int]:
    """Width and height from the SizeHeader (ISO/IEC 18181-1, D.2), whose fields are packed low bit first."""
    bits = int.from_bytes(codestream[2:18], "little")
    used = 0

    def read(count: int) -> int:
        nonlocal bits, used
        value = bits & ((1 << count) - 1)
        bits >>= count
        used += count
        return value

    def read_side(small: bool) -> int:
        return 8 * (1 + read(5)) if small else 1 + read((9, 13, 18, 30)[read(2)])

    small = bool(read(1))
    height = read_side(small)
    ratio = read(3)
    width = read_side(small) if ratio == 0 else height * _RATIOS[ratio][0] // _RATIOS[ratio][1]
    if not codestream.startswith(_CODESTREAM) or used > 8 * (len(codestream) - 2):
        raise BadFileError("The jxl file is damaged or truncated: it has no image header.")
    return width, height


def _to_image(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in _MODES:
        raise BadFileError(f"The jxl file holds an image of shape {pixels.shape}, which has no Pillow mode.")
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257.0)
    elif pixels.dtype.kind == "f":
        pixels = np.clip(np.rint(np.nan_to_num(pixels.astype(np.float64)) * 255.0), 0, 255)
    pixels = np.ascontiguousarray(pixels.astype(np.uint8))
    height, width, channels = pixels.shape
    return Image.frombytes(_MODES[channels], (width, height), pixels.tobytes())
