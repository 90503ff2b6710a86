"""Bytes of a compressed file that hold metadata (EXIF data, a colour profile), not pixels."""

from __future__ import annotations

import warnings

from PIL import Image

from beholder import codecs
from beholder.codecs.base import Codec
from beholder.errors import BeholderWarning
from beholder.pictures.modes import strip_metadata as strip_metadata

KEYS = ("exif", "icc_profile")
"""Keys that ``image.info`` may hold."""

_SIDE = 16


def source_bytes(image: Image.Image) -> int:
    """Bytes of metadata that came with ``image``, of any mode, as they were stored."""
    return sum(len(image.info.get(key) or b"") for key in KEYS)


def file_bytes(codec: Codec, image: Image.Image) -> int:
    """Bytes that the metadata of ``image`` take in each file that ``codec`` makes of it.

    Measured, not parsed: how much a tiny picture's file grows by them, since containers store them apart from pixels,
    whatever model or effort codes these.  0 where the codec carries none of them.

    Args:
        codec: any available codec.
        image: mode L, LA, RGB or RGBA, with ``exif`` and ``icc_profile`` in ``info`` or without.
    """
    if not source_bytes(image):
        return 0
    if codec.name in codecs.names() and codecs.get(codec.name).unavailable() is None:
        codec = codecs.get(codec.name)  # without effort
    tiny = Image.new(image.mode, (_SIDE, _SIDE))
    if image.mode in ("LA", "RGBA"):
        tiny.putalpha(128)  # so that no codec finds it opaque and leaves the alpha channel out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeholderWarning)  # it will be said of the picture itself
        return _growth(codec, tiny, image)


def _growth(codec: Codec, tiny: Image.Image, image: Image.Image) -> int:
    """Bytes by which a file of ``tiny`` grows with the metadata of ``image``; 0 where it does not carry them."""
    quality = codec.scale.lowest
    bare = len(codec.encode(tiny, quality))
    tiny.info = {key: image.info[key] for key in KEYS if image.info.get(key)}
    file = codec.encode(tiny, quality)
    carried = any(codec.decode(file).info.get(key) for key in KEYS)
    return max(len(file) - bare, 0) if carried else 0
