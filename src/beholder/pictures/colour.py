"""ICC profiles that fit the pixels they travel with, and conversion to sRGB, with LittleCMS."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

from beholder.errors import note

GREY_SPACE, RGB_SPACE, CMYK_SPACE = "GRAY", "RGB", "CMYK"
"""Colour spaces as profiles call them."""
CMS_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def profile_space(profile: object) -> str | None:
    """Return the colour space of an ICC profile (``RGB``, ``GRAY``, ``CMYK``, ...), or None if it cannot be read."""
    return _space(bytes(profile)) if isinstance(profile, bytes | bytearray) and profile else None


@lru_cache(maxsize=8)
def _space(profile: bytes) -> str | None:
    try:
        return str(ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space).strip()
    except CMS_ERRORS:
        return None


def describe_profile(profile: bytes) -> str | None:
    """Return the name that an ICC profile gives itself, or None if it cannot be read."""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except CMS_ERRORS:
        return None


def fit_profile(image: Image.Image) -> Image.Image:
    """Return ``image`` (L, LA, RGB or RGBA) with a profile that describes its pixels, or with none.

    Grey pixels under an RGB profile are converted to sRGB.  A profile of another colour space, or one that cannot be
    read, is dropped with a note.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    space, own = profile_space(profile), GREY_SPACE if image.mode in ("L", "LA") else RGB_SPACE
    if space == own:
        return image
    if (own, space) == (GREY_SPACE, RGB_SPACE):
        converted = to_srgb(image)
        if "icc_profile" not in converted.info:
            return converted
    if space is None:
        note("The colour profile cannot be read and is left out: colours are taken for sRGB.")
    else:
        note(f"The colour profile is one of {space} and does not fit {image.mode} pixels: colours are taken for sRGB.")
    result = image.copy()
    result.info.pop("icc_profile", None)
    return result


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert ``image`` (L, LA, RGB or RGBA) from its ICC profile to sRGB, for what cannot hold the profile.

    A profile that does not fit the image is ignored.  Transparency is kept.
    """
    profile = image.info.get("icc_profile") or b""
    space = profile_space(profile)
    if space not in (GREY_SPACE, RGB_SPACE):
        return image
    opaque = "L" if image.mode in ("L", "LA") else "RGB"
    pixels = image if image.mode == opaque else image.convert(opaque)
    needed = "L" if space == GREY_SPACE else "RGB"
    if opaque == "RGB" and needed == "L":
        return image
    try:
        colours = convert(pixels if pixels.mode == needed else pixels.convert(needed), bytes(profile))
    except CMS_ERRORS:
        return image
    result = colours.convert(opaque)
    if image.mode != opaque:
        result.putalpha(image.getchannel("A"))
    result.info = {key: value for key, value in image.info.items() if key != "icc_profile"}
    return result


def convert(image: Image.Image, profile: bytes | ImageCms.ImageCmsProfile) -> Image.Image:
    """Return ``image``, of a mode that fits ``profile``, in RGB of sRGB.

    Raises:
        PyCMSError, OSError, ValueError, TypeError: see :data:`CMS_ERRORS`; the profile is damaged or does not fit.
    """
    source = ImageCms.ImageCmsProfile(BytesIO(profile)) if isinstance(profile, bytes) else profile
    result = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if result is None:
        raise ImageCms.PyCMSError("LittleCMS returned no image")
    return result
