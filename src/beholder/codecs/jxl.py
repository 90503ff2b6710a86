"""JPEG XL (ISO/IEC 18181) with libjxl: imagecodecs encodes at effort 7, pyjpegxl decodes.

The plug-in pillow-jxl-plugin 1.3.8 is no substitute: it allocates before a size can be refused (2.3 GB for 28 KB) and
returns an animation's last frame.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.codecs.base import Codec, QualityScale
from beholder.codecs.jxl_file import CODESTREAM, SIGNATURE_BOX, Header, open_container, read_header, write_container
from beholder.codecs.opening import damaged
from beholder.codecs.pillow_codec import check_side
from beholder.errors import BadFileError, note
from beholder.extras import install_command
from beholder.limits import check_claim
from beholder.pictures.arrays import to_8_bits
from beholder.pictures.colour import describe_profile
from beholder.pictures.metadata import EXIF_PREFIX, find_tiff

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Names that libjxl gives its profiles of these colours.
_SRGB = ("sRGB", "RGB_D65_SRG_Rel_SRG", "RGB_D65_SRG_Per_SRG", "Gra_D65_Rel_SRG", "Gra_D65_Per_SRG")
_LINEAR = ("RGB_D65_SRG_Rel_Lin", "Gra_D65_Rel_Lin")


class Jxl(Codec):
    """Lossy JPEG XL; quality is libjpeg-like and mapped to Butteraugli distance as ``cjxl -q`` does.

    100 is distance 0.1 (``cjxl`` would switch to lossless) and 4 and less are distance 19.9, because libjxl
    halves the resolution from 20 on, which makes files larger again.

    Colours are converted to sRGB, because decoders without colour management would show other ones.  EXIF data goes
    into its own box.  Foreign files come back with the profile of their pixels.
    """

    name = "jxl"
    title = "JPEG XL (libjxl)"
    suffix = ".jxl"
    scale = QualityScale(1, 100, 75, "quality")
    fine = True
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    profiles = frozenset()
    oriented_by_exif = False

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("imagecodecs") is None:
            return f"JPEG XL needs the package imagecodecs: {install_command('jxl')}."
        try:
            _library().jpegxl_version()
        except Exception as error:  # a stub of a build without libjxl raises DelayedImportError
            return f"This imagecodecs has no JPEG XL ({error}): {install_command('jxl', upgrade=True)}."
        return None

    def recognises(self, head: bytes) -> bool:
        return head.startswith((CODESTREAM, SIGNATURE_BOX))

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        check_side(image, 2**30, self.name)
        codestream = bytes(
            _library().jpegxl_encode(
                np.asarray(image), distance=_distance(quality), effort=7, usecontainer=False, numthreads=1
            )
        )
        exif = find_tiff(image.info.get("exif", b""))
        return write_container(codestream, exif) if exif else codestream

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        if not self.recognises(data[:64]):
            raise BadFileError("The file is not in the format jxl.")
        codestream, exif = open_container(data)
        header = read_header(codestream)
        check_claim(header.width, header.height, len(data))
        if header.animation:
            note("The jxl file holds more than one picture or page: only the first is used.")
        try:
            pixels, profile, packed_exif, xmp = _decode_pixels(data, header)
        except Exception as error:  # the libraries' failures have types of their own
            raise damaged(self.name, error) from None
        if pixels.ndim != 3 or pixels.shape[2] not in _MODES:
            raise BadFileError(f"The jxl file holds an image of shape {pixels.shape}, which has no Pillow mode.")
        height, width, channels = pixels.shape
        image = Image.frombytes(_MODES[channels], (width, height), np.ascontiguousarray(pixels).data)
        if profile and describe_profile(profile) not in _SRGB:
            image.info["icc_profile"] = profile
        if xmp:
            image.info["xmp"] = xmp
        if exif or packed_exif:
            image.info["exif"] = EXIF_PREFIX + (exif or find_tiff(packed_exif[4:]) or packed_exif)
        return image


def _decode_pixels(data: bytes, header: Header) -> tuple[NDArray[np.uint8], bytes, bytes, bytes]:
    """Return the first frame (H, W, C) upright in 8 bits, the profile of these pixels, EXIF data and XMP data."""
    if importlib.util.find_spec("pyjpegxl") is None:
        note("Without the package pyjpegxl, the colours of jxl files are taken for sRGB.")
        return _first_frame(data, header), b"", b"", b""
    if header.animation:  # of which pyjpegxl returns the last frame
        metadata = _decoder().probe(data)
        return _first_frame(data, header), metadata.icc or b"", metadata.exif or b"", metadata.xmp or b""
    metadata, pixels = _decoder().decode_to_numpy(data)
    profile, exif, xmp = metadata.icc or b"", metadata.exif or b"", metadata.xmp or b""
    if profile and describe_profile(profile) in _LINEAR:
        # For linear light, to which a lossy file with a profile decodes, too, 8 bits are too few.
        linear = np.nan_to_num(np.clip(_decoder().decode_to_numpy(data, dtype="float32")[1], 0, 1))
        colours = linear.shape[2] - bool(metadata.has_alpha)
        light = linear[..., :colours]
        linear[..., :colours] = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        pixels, profile = linear, b""
    elif pixels.dtype.kind == "f":
        pixels = np.nan_to_num(np.clip(pixels, 0, 1))
    white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    return to_8_bits(pixels, "The jxl file", white), profile, exif, xmp


def _first_frame(data: bytes, header: Header) -> NDArray[np.uint8]:
    pixels = np.asarray(_library().jpegxl_decode(data, index=0, numthreads=1))
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    return to_8_bits(pixels, "The jxl file", 1 if pixels.dtype.kind == "f" else (1 << header.bits) - 1)


def _decoder() -> ModuleType:
    import pyjpegxl

    return pyjpegxl


def _library() -> ModuleType:
    import imagecodecs

    return imagecodecs


def _distance(quality: int) -> float:
    """JxlEncoderDistanceFromQuality of libjxl, capped: 0.1 at 100, 1.0 at 90, 6.4 at 30, 19.9 at 4."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return min(19.9, 53.0 / 3000.0 * quality * quality - 23.0 / 20.0 * quality + 25.0)
