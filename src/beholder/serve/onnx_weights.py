"""The named weights of an ONNX graph, read without the package ``onnx``: a model's folder is all that is needed.

Reads the few fields of ONNX's protocol buffers that hold them (onnx.proto3: ModelProto.graph = 7,
GraphProto.initializer = 5, TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.damage import one_sentence
from beholder.errors import BadOptionError

_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 6: np.dtype("<i4"), 7: np.dtype("<i8")}
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_KEY, _VALUE = 1, 2


def read_weights(file: Path) -> dict[str, NDArray[Any]]:
    """The initialisers of the graph in ``file``, with their types, of any shape.

    Raises:
        BadOptionError: the file, or one that it refers to, is missing or damaged.
    """
    result = {}
    with one_sentence(f"{file} cannot be read ({{reason}}): export the model again.", BadOptionError):
        for number, graph in _fields(file.read_bytes()):
            for inner, tensor in _fields(graph) if number == _GRAPH else ():
                if inner == _INITIALIZER:
                    name, values = _tensor(tensor, file.parent)
                    result[name] = values
    return result


def _tensor(data: bytes, folder: Path) -> tuple[str, NDArray[Any]]:
    dims: list[int] = []
    kind, name, raw = 0, "", b""
    external: dict[str, str] = {}
    for number, value in _fields(data):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == _TYPE:
            kind = value
        elif number == _NAME:
            name = value.decode()
        elif number == _RAW:
            raw = value
        elif number == _EXTERNAL:
            entry = dict(_fields(value))
            external[entry[_KEY].decode()] = entry[_VALUE].decode()
    dtype: np.dtype[Any] = _TYPES[kind]
    if external:
        path = folder / external["location"]
        if path.parent != folder or path.is_symlink() or not path.is_file():
            raise ValueError("its weights do not lie beside it")
        start, size = int(external["offset"]), int(external["length"])
        if min(start, size) < 0 or start + size > path.stat().st_size:
            raise ValueError("its weights are cut off")
        with path.open("rb") as file:
            file.seek(start)
            raw = file.read(size)
    return name, np.frombuffer(raw, dtype).reshape(dims)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an integer, or the bytes of what has a length."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        size, place = (8, place) if wire == 1 else (4, place) if wire == 5 else _varint(data, place)
        if place + size > len(data) or wire not in (1, 2, 5):
            raise ValueError("it is no ONNX file")
        yield number, data[place : place + size]
        place += size


def _varints(data: bytes) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise ValueError("a number has no end")
