"""The container of JPEG XL files (ISO/IEC 18181-2) and the beginning of their codestream (18181-1, annex D)."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.codecs.boxes import read_boxes, write_box
from beholder.errors import BadFileError

SIGNATURE_BOX = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
CODESTREAM = b"\xff\x0a"

_FILE_TYPE_BOX = b"\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl "
_HEADER = 64
"""Bytes of a codestream that hold its header."""
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass(frozen=True)
class Header:
    """Header fields, known before any pixel is decoded."""

    width: int
    height: int
    bits: int = 8
    """A sample; 16 or 32 for floating point."""
    animation: bool = False


def write_container(codestream: bytes, exif: bytes) -> bytes:
    """Return a file with EXIF data, from their TIFF header on, in a box of its own."""
    # The Exif box begins with the offset of the TIFF header in it.
    return b"".join(
        [SIGNATURE_BOX, _FILE_TYPE_BOX, write_box(b"Exif", bytes(4) + exif), write_box(b"jxlc", codestream)]
    )


def open_container(data: bytes) -> tuple[bytes, bytes]:
    """Return the first bytes of the codestream and the EXIF data, from a bare or boxed file.

    The codestream may come in any number of parts, and anything may follow it.

    Raises:
        BadFileError: a box is longer than the file, and the codestream has not begun.
    """
    if data.startswith(CODESTREAM):
        return data[:_HEADER], b""
    start, exif = b"", b""
    try:
        for kind, _, body, end in read_boxes(data, "jxl"):
            if kind == b"jxlc" and not start:
                start = data[body : min(body + _HEADER, end)]
            elif kind == b"jxlp" and len(start) < _HEADER:
                start += data[body + 4 : min(body + 4 + _HEADER, end)]
            elif kind == b"Exif" and not exif:
                exif = data[body + 4 + int.from_bytes(data[body : body + 4], "big") : end]
    except BadFileError:
        if not start:
            raise
    return start, exif


def read_header(codestream: bytes) -> Header:
    """Read SizeHeader and the first fields of ImageMetadata, which are packed low bit first.

    Raises:
        BadFileError: there is no such header.
    """
    bits = int.from_bytes(codestream[2:], "little")
    used = 0

    def read(count: int) -> int:
        nonlocal bits, used
        value = bits & ((1 << count) - 1)
        bits >>= count
        used += count
        return value

    def read_number(*choices: tuple[int, int]) -> int:
        """U32: one of four pairs of an offset and a number of bits."""
        offset, count = choices[read(2)]
        return offset + read(count)

    def read_size() -> tuple[int, int]:
        small = bool(read(1))
        sides = [0, 0]
        for side in (1, 0):
            if side == 0 and (ratio := read(3)):
                sides[0] = sides[1] * _RATIOS[ratio][0] // _RATIOS[ratio][1]
            else:
                sides[side] = 8 * (1 + read(5)) if small else 1 + read((9, 13, 18, 30)[read(2)])
        return sides[0], sides[1]

    width, height = read_size()
    if not codestream.startswith(CODESTREAM) or used > 8 * (len(codestream) - 2):
        raise BadFileError("The jxl file is damaged or truncated: it has no image header.")
    if read(1):  # all fields have their usual values
        return Header(width, height)
    animation = False
    if read(1):
        read(3)  # orientation
        if read(1):
            read_size()
        if read(1):  # a preview, with a size of other codes: rare, and of no interest here
            return Header(width, height)
        animation = bool(read(1))
        if animation:
            read_number((100, 0), (1000, 0), (1, 10), (1, 30))
            read_number((1, 0), (1001, 0), (1, 8), (1, 10))
            read_number((0, 0), (0, 3), (0, 16), (0, 32))
            read(1)
    if read(1):
        return Header(width, height, read_number((32, 0), (16, 0), (24, 0), (1, 6)), animation)
    return Header(width, height, read_number((8, 0), (10, 0), (12, 0), (1, 6)), animation)
