"""Pictures out: decompressed images as files of common formats."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from beholder.errors import BadOptionError, OutputError
from beholder.image import flatten

PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
}
"""Suffix -> Pillow's name of the format and the options it is saved with: lossless where the format can be."""
STREAM = "-"
"""Stands for standard output, which gets PNG."""

_OPAQUE = ("JPEG", "BMP", "PPM")
_LONGEST_SIDE = {"WEBP": 16_383, "JPEG": 65_500}


def check_picture_suffix(output: str) -> None:
    """Raise BadOptionError unless we write pictures with this suffix."""
    suffix = Path(output).suffix.lower()
    if output != STREAM and suffix not in PICTURES:
        raise BadOptionError(
            f"Pictures with the suffix {suffix or '(none)'} are not written: choose one of {', '.join(PICTURES)}."
        )


def picture_bytes(image: Image.Image, output: str) -> bytes:
    """``image`` in the format that the suffix of ``output`` asks for (PNG for standard output).

    Transparency is composited on white where the format has none; ICC profile and EXIF data are kept where
    it has room.

    Raises:
        OutputError: the format cannot hold an image of this size.
    """
    kind, options = PICTURES[".png" if output == STREAM else Path(output).suffix.lower()]
    limit = _LONGEST_SIDE.get(kind)
    if limit and max(image.size) > limit:
        raise OutputError(
            f"{output} cannot hold {image.width} x {image.height} pixels, since {kind} ends at {limit:,} a side: "
            "choose .png."
        )
    if kind in _OPAQUE:
        image = flatten(image)
    metadata = {key: image.info[key] for key in ("icc_profile", "exif") if image.info.get(key)}
    out = BytesIO()
    try:
        image.save(out, kind, **options, **metadata)
    except (OSError, ValueError) as error:  # such as EXIF data longer than a JPEG segment
        raise OutputError(f"{output} cannot be written ({error}): choose .png.") from None
    return out.getvalue()
