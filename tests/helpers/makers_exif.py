"""EXIF data built like those of ten makers: byte order, directories, maker notes, positions, thumbnails."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10
SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SRATIONAL: 8}
ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD, SUB_IFDS, MAKER_NOTE = 0x0112, 0x8769, 0x8825, 0xA005, 0x014A, 0x927C

Entry = tuple[int, int, object]
"""Tag, type and value: bytes, numbers, or a directory for a LONG that points to one."""


@dataclass
class Directory:
    """An image file directory; ``after`` is linked behind it, with ``blob`` as the thumbnail that it points to."""

    entries: list[Entry]
    after: Directory | None = None
    blob: bytes = b""


@dataclass
class Writer:
    """Lays out directories as cameras do: each with its long values behind it."""

    order: str
    data: bytearray = field(default_factory=bytearray)

    def write(self) -> bytes:
        return bytes(self.data)

    def add(self, directory: Directory) -> int:
        start = len(self.data)
        entries = sorted(directory.entries, key=lambda entry: entry[0])
        if directory.blob:
            entries += [(0x0201, LONG, [0]), (0x0202, LONG, [len(directory.blob)])]
        self.data += bytes(2 + 12 * len(entries) + 4)
        rows = []
        for tag, kind, value in entries:
            if isinstance(value, Directory):
                value = [self.add(value)]
            elif isinstance(value, tuple):  # several directories
                value = [self.add(one) for one in value]
            if tag == 0x0201:
                value = [len(self.data)]
                self.data += directory.blob
            packed, count = self._pack(kind, value)
            if len(packed) > 4:
                place = len(self.data)
                self.data += packed + bytes(len(packed) % 2)
                packed = struct.pack(self.order + "I", place)
            rows.append(struct.pack(self.order + "HHI", tag, kind, count) + packed.ljust(4, b"\0"))
        following = self.add(directory.after) if directory.after else 0
        head = struct.pack(self.order + "H", len(rows)) + b"".join(rows) + struct.pack(self.order + "I", following)
        self.data[start : start + len(head)] = head
        return start

    def _pack(self, kind: int, value: object) -> tuple[bytes, int]:
        if isinstance(value, bytes):
            return value, len(value) // SIZES[kind]
        if isinstance(value, str):
            return value.encode() + b"\0", len(value) + 1
        assert isinstance(value, list)
        if kind in (RATIONAL, SRATIONAL):
            code = "I" if kind == RATIONAL else "i"
            return b"".join(struct.pack(self.order + 2 * code, *pair) for pair in value), len(value)
        return struct.pack(self.order + {BYTE: "B", SHORT: "H", LONG: "I"}[kind] * len(value), *value), len(value)


def build(order: str, first: Directory) -> bytes:
    """EXIF data with the prefix of JPEG."""
    writer = Writer(order, bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)))
    writer.add(first)
    return b"Exif\0\0" + writer.write()


def thumbnail(size: int = 400) -> Directory:
    """A second directory with a JPEG thumbnail (its bytes are not looked at)."""
    return Directory([(0x0103, SHORT, [6])], blob=b"\xff\xd8\xff\xdb" + bytes(size) + b"\xff\xd9")


def position() -> Directory:
    """Where the photo was taken."""
    return Directory(
        [
            (0, BYTE, [2, 3, 0, 0]),
            (1, ASCII, "N"),
            (2, RATIONAL, [(47, 1), (22, 1), (1134, 100)]),
            (3, ASCII, "E"),
            (4, RATIONAL, [(8, 1), (32, 1), (30, 1)]),
            (29, ASCII, "2024:05:01"),
        ]
    )


def exposure(note: bytes, *more: Entry) -> Directory:
    """The directory of the exposure with a maker note."""
    return Directory(
        [
            (0x829A, RATIONAL, [(1, 250)]),
            (0x829D, RATIONAL, [(28, 10)]),
            (0x8827, SHORT, [200]),
            (0x9000, UNDEFINED, b"0232"),
            (0x9003, ASCII, "2024:05:01 12:00:00"),
            (0x9204, SRATIONAL, [(-1, 3)]),
            (0x9286, UNDEFINED, b"ASCII\0\0\0a comment"),
            (MAKER_NOTE, UNDEFINED, note),
            *more,
        ]
    )


def camera(maker: str, orientation: int, *more: Entry, after: Directory | None = None) -> Directory:
    """The first directory."""
    return Directory(
        [
            (0x010F, ASCII, maker),
            (0x0110, ASCII, f"{maker} 1"),
            (ORIENTATION, SHORT, [orientation]),
            (0x011A, RATIONAL, [(72, 1)]),
            (0x0132, ASCII, "2024:05:01 12:00:00"),
            *more,
        ],
        after=after,
    )


def makers(orientation: int = 6) -> dict[str, bytes]:
    """EXIF data by the maker after whose structure they are made."""
    interop = Directory([(1, ASCII, "R98"), (2, UNDEFINED, b"0100")])
    raw = Directory([(0x0100, LONG, [6000]), (0x0101, LONG, [4000]), (0x0111, LONG, [90_000_000])])
    nikon_note = b"Nikon\0\2\x11\0\0" + build(">", Directory([(1, UNDEFINED, b"0211")]))[6:]
    apple_note = b"Apple iOS\0\0\1MM" + bytes(range(200))
    return {
        "Canon": build(
            "<", camera("Canon", orientation, (EXIF_IFD, LONG, exposure(bytes(900))), after=thumbnail(4000))
        ),
        "Nikon": build(
            ">",
            camera(
                "NIKON",
                orientation,
                (EXIF_IFD, LONG, exposure(nikon_note, (INTEROP_IFD, LONG, interop))),
                after=thumbnail(),
            ),
        ),
        "Sony": build(
            "<",
            camera(
                "SONY",
                orientation,
                (EXIF_IFD, LONG, exposure(b"SONY DSC \0\0\0" + bytes(3000))),
                (0xC4A5, UNDEFINED, b"PrintIM\x000300" + bytes(90)),
            ),
        ),
        "Fujifilm": build("<", camera("FUJIFILM", orientation, (EXIF_IFD, LONG, exposure(b"FUJIFILM\x0c\0\0\0\0\0")))),
        "Olympus": build("<", camera("OLYMPUS", orientation, (EXIF_IFD, LONG, exposure(b"OLYMPUS\0II\3" + bytes(51))))),
        "Panasonic": build(
            "<", camera("Panasonic", orientation, (EXIF_IFD, LONG, exposure(b"Panasonic\0\0\0" + bytes(60))))
        ),
        "Apple": build(
            ">", camera("Apple", orientation, (EXIF_IFD, LONG, exposure(apple_note)), (GPS_IFD, LONG, position()))
        ),
        "Samsung": build(
            "<",
            camera(
                "samsung",
                orientation,
                (0x0100, SHORT, [4000]),
                (0x0101, SHORT, [3000]),
                (EXIF_IFD, LONG, exposure(bytes(98))),
                (GPS_IFD, LONG, position()),
                after=thumbnail(),
            ),
        ),
        "Google": build(
            ">",
            camera(
                "Google",
                orientation,
                (EXIF_IFD, LONG, exposure(bytes(40_000))),
                (GPS_IFD, LONG, position()),
            ),
        ),
        "Leica DNG": build(
            "<",
            camera(
                "Leica",
                orientation,
                (0x00FE, LONG, [1]),
                (0x0102, SHORT, [8, 8, 8]),
                (0x0103, SHORT, [1]),
                (0x0106, SHORT, [2]),
                (0x0115, SHORT, [3]),
                (0x02BC, BYTE, list(b"<x:xmpmeta/>")),
                (SUB_IFDS, LONG, (raw, raw)),
                (0xC612, BYTE, [1, 4, 0, 0]),
                (EXIF_IFD, LONG, exposure(bytes(20))),
            ),
        ),
    }
