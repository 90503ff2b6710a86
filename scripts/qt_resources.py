"""Read Qt's binary resources (`.rcc`, the output of `rcc --binary`).

    offset  size  field (big-endian)
    0       4     "qres"
    4       4     version, 1 to 3
    8       4 x 3 offsets of tree, data and names
    tree          nodes of 14 bytes, 22 from version 2 on: offset of the name (4), flags (2), and for a folder number of
                  children (4) and index of the first (4), for a file country (2), language (2), offset of the data (4)
    names         length in UTF-16 units (2), hash (4), UTF-16
    data          length (4), then the bytes; where flag 1 is set: length without compression (4) and a zlib stream

Format: qtbase, src/corelib/io/qresource.cpp.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

COMPRESSED, FOLDER, ZSTD = 1, 2, 4
MOST_DEPTH = 32
MOST_BYTES = 1 << 28


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file, but for those compressed by Zstandard.

    Raises:
        ValueError: the bytes are no resource file, or a damaged one.
    """
    if data[:4] != b"qres":
        raise ValueError("this is no Qt resource file")
    try:
        version, tree, content, names = struct.unpack_from(">4I", data, 4)
        yield from _walk(_Tables(data, tree, content, names, 22 if version >= 2 else 14), 0, "", 0)
    except (struct.error, UnicodeDecodeError, zlib.error, IndexError) as error:
        raise ValueError(f"this Qt resource file is damaged ({error})") from None


class _Tables:
    def __init__(self, data: bytes, tree: int, content: int, names: int, node: int) -> None:
        self.data, self.tree, self.content, self.names, self.node = data, tree, content, names, node

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self.data, offset)

    def piece(self, offset: int, length: int) -> bytes:
        found = self.data[offset : offset + length]
        if len(found) < length:
            raise IndexError("it ends too early")
        return found

    def name(self, offset: int) -> str:
        (length,) = self.unpack(">H", self.names + offset)
        return self.piece(self.names + offset + 6, 2 * length).decode("utf-16-be")


def _walk(tables: _Tables, index: int, folder: str, depth: int) -> Iterator[tuple[str, bytes]]:
    if depth > MOST_DEPTH:
        raise IndexError("its folders form a circle")
    offset = tables.tree + index * tables.node
    name, flags = tables.unpack(">IH", offset)
    path = f"{folder}/{tables.name(name)}" if index else ""
    if flags & FOLDER:
        count, first = tables.unpack(">II", offset + 6)
        if count > len(tables.data) // tables.node:
            raise IndexError("a folder has more entries than the file has")
        for child in range(first, first + count):
            yield from _walk(tables, child, path, depth + 1)
    elif not flags & ZSTD:
        start = tables.content + tables.unpack(">I", offset + 10)[0]
        (length,) = tables.unpack(">I", start)
        content = tables.piece(start + 4, length)
        if flags & COMPRESSED:
            content = zlib.decompressobj().decompress(content[4:], MOST_BYTES)
        yield path, content
