"""EXIF data as bytes: checked, freed of the orientation, and otherwise carried as the camera wrote them.

Bytes are edited in place, not parsed and written anew, because maker notes point into the block by absolute offsets.
"""

from __future__ import annotations

import struct
import warnings
from typing import Any

from PIL import ExifTags, Image

from beholder.errors import note

EXIF_PREFIX = b"Exif\x00\x00"
"""Bytes that JPEG and Pillow put before the TIFF header; ``image.info["exif"]`` has it everywhere in this package."""

_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_ORIENTATION = ExifTags.Base.Orientation.value
_SUB_IFDS = (ExifTags.IFD.Exif.value, ExifTags.IFD.GPSInfo.value)
# Of a TIFF file's tags, those that describe the photo, not the layout of its pixels.
_DESCRIPTIVE = tuple(
    getattr(ExifTags.Base, name).value
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")
)


def find_tiff(exif: bytes) -> bytes:
    """Return EXIF data from their TIFF header on, or nothing where there is none.

    JPEG and Pillow put "Exif" and two zeros before the header, twice where the file had them, too; bpgenc drops the
    name and only one zero.
    """
    exif = exif.removeprefix(EXIF_PREFIX)
    for start in (0, 1, len(EXIF_PREFIX)):
        if exif[start : start + 4] in _ORDERS:
            return exif[start:]
    return b""


def clean_exif(exif: bytes) -> bytes | None:
    """Return ``exif`` without orientation and behind :data:`EXIF_PREFIX`, or None where nobody can read it.

    A sideways thumbnail would outlive the orientation: with that tag goes the link to the second directory.
    """
    tiff = find_tiff(exif)
    if not tiff:
        return None
    try:
        parsed = _parse(tiff)
        tiff = _without_orientation(tiff)
    except Exception:  # Pillow's parser raises whatever the bytes provoke
        return None
    return EXIF_PREFIX + tiff if len(parsed) and tiff else None


def exif_of(image: Image.Image) -> bytes | None:
    """Return the cleaned EXIF data of a Pillow image of any mode; for TIFF files, made from the descriptive tags.

    EXIF data that nobody can read are dropped with a note.
    """
    raw = image.info.get("exif")
    if isinstance(raw, Image.Exif):
        raw = _written(raw)
    if isinstance(raw, bytes | bytearray | memoryview):
        cleaned = clean_exif(bytes(raw))
        if cleaned is None and not _is_mere_orientation(bytes(raw)):
            note("EXIF data that cannot be read are left out.")
        return cleaned
    try:
        return _from_tags(image.getexif())
    except Exception:  # as above
        return None


def descriptive_exif(exif: bytes) -> bytes:
    """Return EXIF data without the tags that lay out pixels; whatever Pillow's parser raises leaves."""
    return _describe(_parse(find_tiff(exif))).tobytes()


def has_directories(exif: bytes) -> bool:
    """Whether EXIF data that can be read have more than the first directory, such as the position."""
    parsed = _parse(find_tiff(exif))
    return any(tag in parsed for tag in _SUB_IFDS)


def orientation_of(image: Image.Image) -> int:
    """Return the orientation 1 to 8 of a Pillow image of any mode; 1 where there is none that means anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value: Any = image.getexif().get(_ORIENTATION)
    except Exception:  # as above
        return 1
    return value if value in range(1, 9) else 1


def _without_orientation(tiff: bytes) -> bytes:
    """Take the orientation out of the first directory; nothing is left where it was alone."""
    order = _ORDERS[tiff[:4]]
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    first, end = start + 2, start + 2 + 12 * count
    entries = [tiff[position : position + 12] for position in range(first, end, 12)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] != _ORIENTATION]
    if len(kept) == count:
        return tiff
    if not kept:
        return b""
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept)
    # Zeros end the chain of directories and fill the room of the tag.
    return tiff[:start] + directory.ljust(2 + 12 * count + 4, b"\0") + tiff[end + 4 :]


def _count(tiff: bytes) -> int:
    """Return the number of tags that the first directory claims; whatever struct raises leaves."""
    order = _ORDERS[tiff[:4]]
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    return int(struct.unpack_from(order + "H", tiff, start)[0])


def _is_mere_orientation(exif: bytes) -> bool:
    """Whether there is nothing to lose: the data are empty or hold no other tag than the orientation."""
    tiff = find_tiff(exif)
    if not tiff:
        return not exif.removeprefix(EXIF_PREFIX)
    try:
        return set(_parse(tiff)) == {_ORIENTATION} or not _count(tiff)
    except Exception:  # as above
        return False


def _parse(tiff: bytes) -> Image.Exif:
    """Parse EXIF data and write them anew, as the formats' writers do; whatever Pillow raises leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # data that end early are read as far as they go
        parsed = Image.Exif()
        parsed.load(EXIF_PREFIX + tiff)
        for tag in _SUB_IFDS:
            parsed.get_ifd(tag)
        parsed.tobytes()
    return parsed


def _from_tags(tags: Image.Exif) -> bytes | None:
    found = _describe(tags)
    return clean_exif(_written(found)) if len(found) else None


def _describe(tags: Image.Exif) -> Image.Exif:
    found = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in tags:
            found[tag] = tags[tag]
    for tag in _SUB_IFDS:
        directory = tags.get_ifd(tag) if tag in tags else None
        if directory:
            found[tag] = dict(directory)
    return found


def _written(exif: Image.Exif) -> bytes:
    try:
        return exif.tobytes()
    except Exception:  # a value that its tag's type cannot hold
        return EXIF_PREFIX
