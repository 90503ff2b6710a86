"""Boxes of the ISO base media family, of which JPEG 2000, JPEG XL and HEIF files are made."""

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


def colour_codes(data: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer characteristic of the primary image in a HEIF file (AVIF, HEIC).

    None where it names none by number (``nclx`` of ISO/IEC 23008-12), has an ICC profile, or is damaged.
    """
    try:
        meta = _inner(data, 0, len(data))[b"meta"]
        parts = _inner(data, meta[0] + 4, meta[1])
        properties = _inner(data, *parts[b"iprp"])
        start, end = properties[b"ipco"]
        boxes = [(kind, data[start + body : start + last]) for kind, _, body, last in read_boxes(data[start:end], "")]
        used = _associated(data[slice(*properties[b"ipma"])], _primary(data, parts[b"pitm"]))
        colours = [boxes[index - 1][1] for index in used if index and boxes[index - 1][0] == b"colr"]
        if len(colours) != 1 or colours[0][:4] != b"nclx":
            return None
        return int.from_bytes(colours[0][4:6], "big"), int.from_bytes(colours[0][6:8], "big")
    except (BadFileError, KeyError, IndexError):
        return None


def _inner(data: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return where the content of the first box of each kind between two positions begins and ends."""
    places: dict[bytes, tuple[int, int]] = {}
    try:
        for kind, _, body, last in read_boxes(data[start:end], ""):
            places.setdefault(kind, (start + body, start + last))
    except BadFileError:  # what follows the boxes may be anything
        if not places:
            raise
    return places


def _primary(data: bytes, place: tuple[int, int]) -> int:
    """Return the number of the primary item, as its box says."""
    body = data[slice(*place)]
    return int.from_bytes(body[4 : 6 if body[0] == 0 else 8], "big")


def _associated(body: bytes, item: int) -> list[int]:
    """Return the properties of an item by their places from 1 on, as ItemPropertyAssociationBox lists them."""
    width = 2 if body[0] == 0 else 4
    wide = body[3] & 1
    position = 8
    for _ in range(int.from_bytes(body[4:8], "big")):
        number, count = int.from_bytes(body[position : position + width], "big"), body[position + width]
        position += width + 1
        step = 2 if wide else 1
        entries = [body[at : at + step] for at in range(position, position + count * step, step)]
        if number == item:
            return [int.from_bytes(entry, "big") & (0x7FFF if wide else 0x7F) for entry in entries]
        position += count * step
    return []
