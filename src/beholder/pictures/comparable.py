"""The two pictures that a metric compares: the original and the decompressed one, in one colour space."""

from __future__ import annotations

from PIL import Image

from beholder.pictures.colour import to_srgb
from beholder.pictures.modes import flatten


def comparable(original: Image.Image, decompressed: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Both pictures in RGB on white, in one colour space.

    A codec that cannot store an ICC profile converts to sRGB; its result is compared with an original in sRGB.
    """
    pair = (flatten(original), flatten(decompressed))
    if original.info.get("icc_profile") != decompressed.info.get("icc_profile"):
        pair = (to_srgb(pair[0]), to_srgb(pair[1]))
    return pair[0].convert("RGB"), pair[1].convert("RGB")
