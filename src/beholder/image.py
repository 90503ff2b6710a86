"""Pictures in one of four 8-bit modes, upright.

Everything past this module sees only ``L``, ``LA``, ``RGB`` and ``RGBA``, 8 bits a sample, with at most
two entries in ``image.info``: ``icc_profile`` and ``exif`` (bytes).  :func:`normalise` maps

========================  ======  ===================================================================
Pillow mode               result  how
========================  ======  ===================================================================
``1``                     L       0 and 255
``L``                     L       as it is; LA if the file names a transparent grey (PNG ``tRNS``)
``LA``, ``La``            LA      ``La`` (premultiplied) is divided by its alpha
``P``                     RGB     through its palette; RGBA if the palette or file has transparency
``PA``                    RGBA    through its palette
``RGB``                   RGB     as it is; RGBA if the file names a transparent colour
``RGBA``, ``RGBa``        RGBA    ``RGBa`` (premultiplied) is divided by its alpha
``RGBX``                  RGB     the fourth byte is padding and is dropped
``CMYK``                  RGB     through its ICC profile to sRGB where it has one, else Pillow's plain
                                  ``255 - min(255, ink + black)``; the CMYK profile is dropped
``YCbCr``, ``HSV``        RGB     Pillow's conversion
``LAB``                   RGB     CIE L*a*b* (D50) to sRGB with LittleCMS
``I;16`` and variants     L       0..65535 divided by 257, rounded; LA with a transparent grey
``I``, ``F``              L       by the largest value: up to 255 as it is (``F`` up to 1.0: times 255),
                                  above it as 16 bits, divided by 257; rounded, clipped to 0..255, NaN = 0
========================  ======  ===================================================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from beholder.errors import BadFileError, BadImageError

MODES = frozenset({"L", "LA", "RGB", "RGBA"})
"""The modes that every other module has to deal with."""
MAX_PIXELS = 178_956_970
"""Largest width x height we open or decode (512 MiB as RGB; also where Pillow refuses)."""
_most_pixels = ContextVar("_most_pixels", default=MAX_PIXELS)

_KEPT_INFO = ("icc_profile", "exif")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def normalise(image: Image.Image) -> Image.Image:
    """Return ``image`` in mode L, LA, RGB or RGBA by the table of this module, as a new image.

    ``info`` keeps only ``icc_profile`` (unless the colours were converted with it) and ``exif``.
    Pixels are not turned: see :func:`upright`.

    Raises:
        BadImageError: the mode is unknown.
    """
    mode = image.mode
    keep: tuple[str, ...] = _KEPT_INFO
    if mode.startswith("I;16") or mode in ("I", "F"):
        result = _deep_grey(image)
    elif mode == "CMYK":
        keep = ("exif",)
        result = _cmyk_to_rgb(image)
    elif mode == "LAB":
        keep = ("exif",)
        result = _colour_convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    else:
        target = _target_mode(image)
        result = image.copy() if target == mode else _convert(image, target)
    result.info = {key: image.info[key] for key in keep if isinstance(image.info.get(key), bytes)}
    return result


def upright(image: Image.Image) -> Image.Image:
    """Turn and mirror ``image`` as its EXIF orientation says and remove that tag from ``info["exif"]``.

    EXIF data that cannot be parsed is dropped.
    """
    try:
        exif = image.getexif()
        if _ORIENTATION_TAG not in exif:
            return image
        transpose = _UPRIGHT.get(exif[_ORIENTATION_TAG])
        del exif[_ORIENTATION_TAG]
        remaining = exif.tobytes() if len(exif) and "exif" in image.info else None
    except Exception:  # Pillow's parser raises whatever the bytes provoke
        transpose = remaining = None
    result = image.copy() if transpose is None else image.transpose(transpose)
    result.info = {key: value for key, value in image.info.items() if key != "exif"}
    if remaining is not None:
        result.info["exif"] = remaining
    return result


def flatten(image: Image.Image) -> Image.Image:
    """Return ``image`` without transparency: LA and RGBA are composited on white to L and RGB.

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


@contextlib.contextmanager
def at_most_pixels(limit: int) -> Iterator[None]:
    """Let :func:`check_size` refuse images of more than ``limit`` pixels, in this thread or task."""
    token = _most_pixels.set(limit)
    try:
        yield
    finally:
        _most_pixels.reset(token)


def check_size(width: int, height: int, block: int = 1) -> None:
    """Raise BadFileError unless both sides are positive and their product is within the limit of pixels.

    The limit is ``MAX_PIXELS``, or what :func:`at_most_pixels` set.  Codecs that pad both sides to a multiple of
    ``block`` count the padded pixels, for these take memory and time.
    """
    if width < 1 or height < 1:
        raise BadFileError(f"The file claims an image of {width} x {height} pixels: it is damaged.")
    most = _most_pixels.get()
    padded = -(-width // block) * block, -(-height // block) * block
    if padded[0] * padded[1] > most:
        note = f" (coded as {padded[0]} x {padded[1]})" if width * height <= most else ""
        raise BadFileError(
            f"An image of {width} x {height} pixels{note} is above the limit of {most:,} pixels: use a smaller one."
        )


def _target_mode(image: Image.Image) -> str:
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
    if image.mode.startswith("I;16"):
        scale = 1 / 257
    else:
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=65535.0, neginf=0.0)
        largest = values.max(initial=0.0)
        scale = 1 / 257 if largest > 255 else 255.0 if image.mode == "F" and largest <= 1 else 1.0
    grey = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16") and isinstance(transparent, int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([grey, alpha], axis=-1), "LA")
    return Image.fromarray(grey, "L")


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return _colour_convert(image, ImageCms.ImageCmsProfile(BytesIO(profile)))
    return image.convert("RGB")


def _colour_convert(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if result is None:
        raise ImageCms.PyCMSError("LittleCMS returned no image")
    return result
