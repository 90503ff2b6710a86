"""Pictures in one of four 8-bit modes, upright.

Everything past this module sees only ``L``, ``LA``, ``RGB`` and ``RGBA``, 8 bits a sample, with at most
two entries in ``image.info``: ``icc_profile``, which then describes these pixels, and ``exif`` (bytes), without an
orientation.  :func:`normalise` maps

========================  ======  ===================================================================
Pillow mode               result  how
========================  ======  ===================================================================
``1``                     L       0 and 255
``L``                     L       as it is; LA if the file names a clear grey (PNG ``tRNS``)
``LA``, ``La``            LA      ``La`` (premultiplied) is divided by its alpha
``P``                     RGB     through its palette; RGBA if the palette or file has opacity
``PA``                    RGBA    through its palette
``RGB``                   RGB     as it is; RGBA if the file names a clear colour
``RGBA``, ``RGBa``        RGBA    ``RGBa`` (premultiplied) is divided by its alpha
``RGBX``                  RGB     the fourth byte is padding and is dropped
``CMYK``                  RGB     through its ICC profile to sRGB where it has one, else Pillow's plain
                                  ``255 - min(255, ink + black)``; the CMYK profile is dropped
``YCbCr``, ``HSV``        RGB     Pillow's conversion
``LAB``                   RGB     CIE L*a*b* (D50) to sRGB with LittleCMS
``I;16`` and variants     L       0..65535 (of a TIFF file with fewer bits: 0..2^bits - 1) to 0..255, rounded;
                                  LA with a clear grey
``I``, ``F``              L       by the range of the values: see :func:`beholder.pictures.arrays.to_8_bits`
========================  ======  ===================================================================
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from beholder.errors import BadImageError, note
from beholder.limits import MAX_PIXELS as MAX_PIXELS
from beholder.limits import check_size as check_size
from beholder.pictures.arrays import to_8_bits
from beholder.pictures.colour import CMS_ERRORS, convert, fit_profile, to_srgb
from beholder.pictures.metadata import exif_of, orientation_of
from beholder.pictures.named_colours import apply_named_colours

MODES = frozenset({"L", "LA", "RGB", "RGBA"})
"""The modes that every other module has to deal with."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO = 0
_UNSIGNED, _SIGNED = 1, 2
_XMP = ("xmp", "XML:com.adobe.xmp")
_IPTC = 0x0404
"""Number of the IPTC data among the resources that Photoshop puts into JPEG files."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def normalise(image: Image.Image, *, turn: bool = True, own: bool = False) -> Image.Image:
    """Return ``image`` upright, in mode L, LA, RGB or RGBA by the table of this module, as a new image.

    ``info`` keeps only ``icc_profile``, where it fits the new pixels, and ``exif``, without an orientation.  What is
    left out is told.

    Args:
        image: in any Pillow mode; it is not changed.
        turn: whether the EXIF orientation is applied; it is removed in either case.
        own: whether the caller has no more use for ``image``; the result may then share its pixels.

    Raises:
        BadImageError: the mode is unknown.
    """
    image.load()
    if any(image.info.get(key) for key in _XMP):
        note("XMP metadata are left out.")
    if _IPTC in (image.info.get("photoshop") or {}):
        note("IPTC metadata are left out.")
    exif, orientation = exif_of(image), orientation_of(image)
    result = _to_known_mode(image, own)
    if turn and orientation in _UPRIGHT:
        profile = result.info.get("icc_profile")
        result = result.transpose(_UPRIGHT[orientation])
        result.info = {} if profile is None else {"icc_profile": profile}
    result = fit_profile(result)
    if exif is not None:
        result.info["exif"] = exif
    return result


def strip_metadata(image: Image.Image) -> Image.Image:
    """Return ``image`` (L, LA, RGB or RGBA) in sRGB, without a profile and EXIF data."""
    result = to_srgb(image)
    if result is image:
        result = image.copy()
    result.info = {}
    return result


def _to_known_mode(image: Image.Image, own: bool) -> Image.Image:
    """Convert to a new image whose ``info`` holds a profile alone."""
    mode = image.mode
    profile = image.info.get("icc_profile") or None
    if mode.startswith("I;16") or mode in ("I", "F"):
        result = _deep_grey(image)
    elif mode == "CMYK":
        result, profile = _cmyk_to_rgb(image, profile), None
    elif mode == "LAB":
        result, profile = convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))), None
    else:
        wanted = _plain_mode(image)
        if wanted != mode:
            result = _convert(image, wanted)
        else:
            # A plain image in any case: one that a plugin opened would write its file's tags again when saved.
            result = image._new(image.im) if own else image._new(image.im.copy())
    result.info = {"icc_profile": bytes(profile)} if isinstance(profile, bytes | bytearray) else {}
    return result if mode in ("CMYK", "LAB") else apply_named_colours(result, image)


def flatten(image: Image.Image) -> Image.Image:
    """Return ``image`` without opacity: LA and RGBA are composited on white to L and RGB.

    L and RGB come back as they are; any other mode is :func:`normalise`-d first.
    """
    if image.mode not in MODES:
        image = normalise(image)
    if image.mode in ("L", "RGB"):
        return image
    opaque = image.mode[:-1]
    result = Image.new(opaque, image.size, "white")
    result.paste(_convert(image, opaque), mask=image.getchannel("A"))
    result.info = dict(image.info)
    return result


def _plain_mode(image: Image.Image) -> str:
    mode = image.mode
    if mode in ("1", "L"):
        return "LA" if "transparency" in image.info else "L"
    if mode in ("LA", "La"):
        return "LA"
    if mode in ("P", "RGB"):
        return "RGBA" if image.has_transparency_data else "RGB"
    if mode in ("PA", "RGBA", "RGBa"):
        return "RGBA"
    if mode in ("RGBX", "YCbCr", "HSV"):
        return "RGB"
    raise BadImageError(f"Pillow mode {mode} is unknown: convert the image to RGB first.")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    return image.convert("RGBA").convert(mode) if image.mode == "PA" else image.convert(mode)


def _deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "I" and _is_unsigned(image):
        values = values.view(np.uint32)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)  # in the byte order of this machine
    elif image.mode == "I" and _samples(image) == ((16,), (_SIGNED,)):
        values = values.astype(np.int16)
    grey = to_8_bits(values, "The image", _white(image))
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow inverts samples of 8 bits alone
    clear = image.info.get("transparency")
    if image.mode.startswith("I;16") and isinstance(clear, int):
        opacity = np.where(values == clear, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([grey, opacity], axis=-1), "LA")
    return Image.fromarray(grey, "L")


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF file holds 32-bit samples without a sign, which Pillow takes for some with."""
    return _samples(image) == ((32,), (_UNSIGNED,))


def _samples(image: Image.Image) -> tuple[object, object]:
    """Return the bits and the number formats of a TIFF file's samples."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_BITS_PER_SAMPLE), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))


def _white(image: Image.Image) -> float | None:
    """White, as the file says; None where only the values can tell."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return float((1 << bits) - 1) if 8 < bits <= 16 else 65_535
    # Pillow stretches the samples of these formats to 16 bits.
    return 65_535 if image.mode == "I" and image.format in ("PNG", "PPM") else None


def _cmyk_to_rgb(image: Image.Image, profile: object) -> Image.Image:
    if isinstance(profile, bytes):
        try:
            return convert(image, profile)
        except CMS_ERRORS:
            note("The colour profile does not fit CMYK pixels: their colours are converted without it.")
    return image.convert("RGB")
