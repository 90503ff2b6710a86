"""Files that would keep a reader busy before it sees their first pixel: found by a look at their structure."""

from __future__ import annotations

import re
from typing import IO, Literal

from beholder.errors import BadFileError
from beholder.limits import check_claim

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 20_000
"""Chunks of a PNG file: writers put 8 KiB or more into one, and 200 million pixels into 20,000 of 64 KiB."""
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files."""
MOST_PARTS = 1 << 18
"""Strips or tiles of a TIFF file, each of which costs time: writers put 64 KiB or more into one."""
_TILE_WIDTH, _TILE_HEIGHT, _STRIP_OFFSETS, _TILE_OFFSETS = 322, 323, 273, 324
_MOST_TAGS = 4096
_SIZES = {3: 2, 16: 8}
"""Bytes of a number, by the number of its type, where these are not 4."""
_ICONS = (b"\0\0\1\0", b"\0\0\2\0", b"icns")
_LARGEST_HEADER = 1 << 16
_LARGEST_ICON = 1 << 22
"""Pixels of a picture in an icon: the largest that systems use have 1024x1024."""
_EMBEDDED = re.compile(
    rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)|\xff\x4f\xff\x51....(....)(....)|ihdr(....)(....)", re.DOTALL
)
"""Sizes of PNG and JPEG 2000 pictures."""


def check_chunks(file: IO[bytes]) -> None:
    """Raise BadFileError for a PNG file of more than :data:`MOST_CHUNKS`, each of which costs time."""
    position = len(PNG_SIGNATURE)
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        length = file.read(4)
        if len(length) < 4:
            return
        position += 12 + int.from_bytes(length, "big")
    raise BadFileError("The png file has more chunks than any picture needs: it is not opened.")


def check_header(head: bytes) -> None:
    """Raise BadFileError for a PNM file whose header is longer than ``head``, which Pillow reads byte by byte."""
    plain = re.sub(rb"#[^\r\n]*", b"", head[2:])
    if len(head) >= _LARGEST_HEADER and not re.match(rb"\s*[\d.+-]+\s+[\d.+-]+\s", plain):
        raise BadFileError("The pnm file has no size in its first bytes: it is not opened.")


def check_icon(data: bytes) -> None:
    """Raise BadFileError for an icon that holds a picture larger than its own header can name."""
    for match in _EMBEDDED.finditer(data):
        width, height = (int.from_bytes(side, "big") for side in match.groups() if side is not None)
        if width * height > _LARGEST_ICON:
            raise BadFileError(f"The icon holds a picture of {width} x {height} pixels: it is not opened.")


def check_tiff(file: IO[bytes], head: bytes) -> None:
    """Raise BadFileError for a TIFF file whose first page has more parts, or larger ones, than any picture needs."""
    order: Literal["little", "big"] = "little" if head.startswith(b"II") else "big"
    big = b"+" in head[2:4]
    # Of a directory: bytes of its offset and of its number of entries, and the bytes of an entry.
    start, counted, length, wide = (8, 8, 20, 8) if big else (4, 2, 12, 4)
    try:
        file.seek(int.from_bytes(head[start : start + wide], order))
        count = min(int.from_bytes(file.read(counted), order), _MOST_TAGS)
        entries = file.read(length * count)
    except (OSError, OverflowError):  # an offset that no file has
        return
    sides = {}
    for place in range(0, len(entries) - length + 1, length):
        tag, kind = (int.from_bytes(entries[at : at + 2], order) for at in (place, place + 2))
        number = int.from_bytes(entries[place + 4 : place + 4 + wide], order)
        if tag in (_STRIP_OFFSETS, _TILE_OFFSETS) and number > MOST_PARTS:
            raise BadFileError(f"The tiff file has {number:,} parts, more than any picture needs: it is not opened.")
        if tag in (_TILE_WIDTH, _TILE_HEIGHT):
            value = place + 4 + wide
            sides[tag] = int.from_bytes(entries[value : value + _SIZES.get(kind, 4)], order)
    width, height = sides.get(_TILE_WIDTH, 0), sides.get(_TILE_HEIGHT, 0)
    if width * height:
        try:
            check_claim(width, height, file.seek(0, 2))
        except BadFileError:
            raise BadFileError(
                f"The tiff file has tiles of {width} x {height} pixels, more than a picture needs: it is not opened."
            ) from None


def check(file: IO[bytes]) -> None:
    """Look at a file, which can seek, whatever its format.

    Raises:
        BadFileError: it is none that a reader should be given.
    """
    file.seek(0)
    head = file.read(_LARGEST_HEADER)
    if head.startswith(PNG_SIGNATURE):
        check_chunks(file)
    elif re.match(rb"P[1-7fFyY]", head):
        check_header(head)
    elif head.startswith(TIFF_MAGICS):
        check_tiff(file, head)
    elif head.startswith(_ICONS):  # which Pillow decodes as it opens them
        check_icon(head + file.read())


def check_opened(file: IO[bytes], size: tuple[int, int]) -> None:
    """Raise BadFileError for a file that is too short for its picture's ``size``, before it is decoded."""
    position = file.tell()
    check_claim(*size, file.seek(0, 2))
    file.seek(position)
