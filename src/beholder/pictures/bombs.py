"""Files that would keep a reader busy before it sees their first pixel: found by a look at their structure."""

from __future__ import annotations

import re
from typing import IO

from beholder.errors import BadFileError
from beholder.limits import check_claim

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 20_000
"""Chunks of a PNG file: writers put 8 KiB or more into one, and 200 million pixels into 20,000 of 64 KiB."""
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
    elif head.startswith(_ICONS):  # which Pillow decodes as it opens them
        check_icon(head + file.read())


def check_opened(file: IO[bytes], size: tuple[int, int]) -> None:
    """Raise BadFileError for a file that is too short for its picture's ``size``, before it is decoded."""
    position = file.tell()
    check_claim(*size, file.seek(0, 2))
    file.seek(position)
