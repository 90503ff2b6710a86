"""Variables out of MATLAB files, in which ImageNet's devkit and Stanford Dogs keep their lists.

They need a part of the MAT-file format, level 5 ("MAT-File Format", The MathWorks). It has numbers, text, cell arrays
and structures, plain or compressed. scipy reads far more, but a damaged file can end the whole process there.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np

from beholder.errors import BadFileError

MAX_BYTES = 64 << 20
"""The most that the variables of one file may take, unpacked; the largest published list takes a tenth."""

_HEADER = 128
_DEEPEST = 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 2, 4, 6, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}

Value = Any
"""``np.ndarray`` (N,) of numbers, ``str``, a list of values (cell array), a list of dictionaries from field to value
(structures), or None for empty values and other kinds."""


def read_variable(data: bytes, name: str, shown: str) -> Value:
    """The variable ``name`` of a MAT-file; arrays are flat, in the order in which they are stored (by columns).

    Raises:
        BadFileError: ``data`` is no such file or lacks the variable; the message calls it ``shown``.
    """
    try:
        value = _Reader(data).find(name)
    except (ValueError, KeyError, struct.error, zlib.error, OverflowError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise BadFileError(f"{shown} is no MATLAB file that can be read ({detail}): get it again.") from None
    if value is None:
        raise BadFileError(f"{shown} lacks the variable {name}: get it again.")
    return value


class _Reader:
    """The elements of one file: tags of type and size, each with its content."""

    def __init__(self, data: bytes) -> None:
        order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
        if order is None:
            raise ValueError("it does not begin as one")
        version = int.from_bytes(data[124:126], "little" if order == "<" else "big")
        if version != 0x0100:
            raise ValueError("it is of another version than 5 to 7")
        self.order = order
        self.data = memoryview(data)

    def find(self, name: str) -> Value:
        position, left = _HEADER, MAX_BYTES
        while position < len(self.data):
            kind, content, position = self._element(self.data, position, aligned=False)
            if kind == _COMPRESSED:
                unpack = zlib.decompressobj()
                unpacked = memoryview(unpack.decompress(content, left + 1))
                if len(unpacked) > left:
                    raise ValueError(f"its variables take more than {MAX_BYTES:,} bytes")
                if not unpack.eof:
                    raise ValueError("it is truncated")
                left -= len(unpacked)
                kind, content, _ = self._element(unpacked, 0)
            if kind == _MATRIX:
                found, value = self._matrix(content, name)
                if found == name:
                    return value
        return None

    def _element(self, data: memoryview, position: int, aligned: bool = True) -> tuple[int, memoryview, int]:
        """Type and content of the element at ``position``, and where the next one begins."""
        first, size = struct.unpack_from(self.order + "II", data, position)
        if first >> 16:  # up to four bytes within the tag
            kind, size, start, end = first & 0xFFFF, first >> 16, position + 4, position + 8
            if size > 4:
                raise ValueError("an element is longer than its tag")
        else:
            kind, start = first, position + 8
            end = start + size + (-size % 8 if aligned else 0)
        if start + size > len(data):
            raise ValueError("it is truncated")
        return kind, data[start : start + size], end

    def _matrix(self, data: memoryview, wanted: str | None = None, depth: int = 0) -> tuple[str, Value]:
        """Name and value of an array; its value is left out if another name is wanted."""
        if not data:
            return "", None
        if depth > _DEEPEST:
            raise ValueError("its arrays lie too deep")
        _, flags, position = self._element(data, 0)
        _, sizes, position = self._element(data, position)
        _, title, position = self._element(data, position)
        name = bytes(title).decode("latin-1")
        if wanted is not None and name != wanted:
            return name, None
        kind = int(self._numbers(6, flags)[0]) & 0xFF
        count = math.prod(self._numbers(5, sizes).tolist())
        if not count:
            return name, None
        if kind == _CELL:
            return name, self._arrays(data, position, count, depth)
        if kind == _STRUCT:
            return name, self._structures(data, position, count, depth)
        stored, content, _ = self._element(data, position)
        if kind == _CHAR:
            return name, self._text(stored, content)
        if _FIRST_NUMERIC <= kind <= _LAST_NUMERIC:
            numbers = self._numbers(stored, content)
            if len(numbers) != count:
                raise ValueError("an array is longer or shorter than it says")
            return name, numbers
        return name, None

    def _arrays(self, data: memoryview, position: int, count: int, depth: int) -> list[Value]:
        if not 0 <= count <= len(data) // 8:
            raise ValueError("it is truncated")
        values = []
        for _ in range(count):
            kind, content, position = self._element(data, position)
            if kind != _MATRIX:
                raise ValueError("an array holds what is no array")
            values.append(self._matrix(content, depth=depth + 1)[1])
        return values

    def _structures(self, data: memoryview, position: int, count: int, depth: int) -> list[dict[str, Value]]:
        stored, content, position = self._element(data, position)
        length = int(self._numbers(stored, content)[0])
        _, content, position = self._element(data, position)
        if not 0 < length <= len(content):
            raise ValueError("a structure has no fields")
        text = bytes(content)
        fields = [text[i : i + length].split(b"\0")[0].decode("latin-1") for i in range(0, len(text), length)]
        values = iter(self._arrays(data, position, count * len(fields), depth))
        return [dict(zip(fields, [next(values) for _ in fields], strict=True)) for _ in range(count)]

    def _numbers(self, stored: int, content: memoryview) -> np.ndarray:
        numbers = np.frombuffer(content, self.order + _NUMBERS[stored])
        if not len(numbers):
            raise ValueError("a number is missing")
        return numbers

    def _text(self, stored: int, content: memoryview) -> str:
        encoding = _TEXTS[stored]
        if encoding[-2:] in ("16", "32"):
            encoding += "-le" if self.order == "<" else "-be"
        return bytes(content).decode(encoding, "replace")
