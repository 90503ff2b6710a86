"""Boxes of the ISO base media family, of which JPEG 2000 and JPEG XL files are made."""

from __future__ import annotations

from collections.abc import Iterator

from beholder.errors import BadFileError


def write_box(kind: bytes, payload: bytes) -> bytes:
    """Return a box of less than 4 GiB."""
    return (len(payload) + 8).to_bytes(4, "big") + kind + payload


def read_boxes(data: bytes, name: str) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield kind, start, start of the payload and end of each box in ``data``.

    Raises:
        BadFileError: a box is longer than the data.
    """
    position = 0
    while position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = position + 8
        if length == 1:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        end = len(data) if length == 0 else position + length
        if end < body or end > len(data):
            raise BadFileError(f"The {name} file is damaged or truncated: a box is longer than the file.")
        yield kind, position, body, end
        position = end
