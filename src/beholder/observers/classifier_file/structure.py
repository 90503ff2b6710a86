"""The structure of an ONNX file, read from its bytes: which operator makes an output, and the class names in it.

The core install has no ``onnx``, and ONNX Runtime does not show operators.  Only the fields needed are read
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), weights are skipped.
"""

from __future__ import annotations

import ast
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from beholder.json_text import parse_json

LastStep = Literal["softmax", "log_softmax", "sigmoid", "linear"]

_MODEL_GRAPH, _MODEL_PROPERTIES = 7, 14
_GRAPH_NODE = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_STRINGS = 1, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_MOST_NODES = 200_000
_MOST_NAMES = 100_000
_LONGEST_PROPERTY = 1 << 24
_LONGEST_LITERAL = 1 << 20  # which Python parses in 100 times its bytes
# They change no value, or only its type and shape.
_PASSING = frozenset(
    {"Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Dropout"}
    | {"QuantizeLinear", "DequantizeLinear", "ZipMap", "Clip"}
)
# Their results have no bounds.
_LINEAR = frozenset(
    {"Gemm", "MatMul", "Add", "Sub", "Conv", "FusedGemm", "FusedMatMul", "FusedConv", "QGemm", "QLinearMatMul"}
    | {"QLinearConv", "QLinearAdd", "MatMulInteger", "ConvInteger", "Einsum", "GlobalAveragePool", "ReduceMean"}
)
_NAME_PROPERTIES = ("names", "labels", "classes", "class_names", "id2label")


@dataclass
class Structure:
    """Facts that a file tells about its outputs."""

    makers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a value -> (operator that makes it, first input of that operator)."""
    class_names: tuple[str, ...] | None = None
    """From metadata (as Ultralytics writes them) or a classifier of scikit-learn; None where there are none."""

    def last_step(self, output: str) -> LastStep | None:
        """The operator behind ``output`` that decides what its values mean; None if it says nothing."""
        for _ in range(len(self.makers) + 1):
            operator, before = self.makers.get(output, ("", ""))
            if operator not in _PASSING:
                break
            output = before
        name = operator.lower().replace("_", "")
        if "logsoftmax" in name:
            return "log_softmax"
        if "softmax" in name:
            return "softmax"
        if "sigmoid" in name:
            return "sigmoid"
        return "linear" if operator in _LINEAR else None


def read(path: Path) -> Structure:
    """The structure of the file ``path``; an empty one if it is no ONNX file."""
    result = Structure()
    try:
        with open(path, "rb") as file:
            # Closed when the last view of it has gone: an exception may still hold one here.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _read_model(memoryview(data), result)
    except (OSError, ValueError, IndexError, RecursionError, MemoryError):
        return Structure()
    return result


def _read_model(view: memoryview, result: Structure) -> None:
    from_nodes: tuple[str, ...] | None = None
    for number, value in _fields(view):
        if isinstance(value, int):
            continue
        if number == _MODEL_GRAPH:
            from_nodes = _read_graph(value, result) or from_nodes
        elif number == _MODEL_PROPERTIES and result.class_names is None:
            result.class_names = _property_names(value)
    result.class_names = result.class_names or from_nodes


def _read_graph(view: memoryview, result: Structure) -> tuple[str, ...] | None:
    names = None
    nodes = 0
    for number, value in _fields(view):
        if isinstance(value, int) or number != _GRAPH_NODE:
            continue
        nodes += 1
        if nodes > _MOST_NODES:
            raise ValueError("more nodes than any classifier has")
        names = _read_node(value, result) or names
    return names


def _read_node(view: memoryview, result: Structure) -> tuple[str, ...] | None:
    inputs, outputs, operator, names = [], [], "", None
    for number, value in _fields(view):
        if isinstance(value, int):
            continue
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == _NODE_OPERATOR:
            operator = _text(value)
        elif number == _NODE_ATTRIBUTE:
            names = _attribute_names(value) or names
    for output in outputs:
        result.makers[output] = operator, inputs[0] if inputs else ""
    return names


def _attribute_names(view: memoryview) -> tuple[str, ...] | None:
    """The class names of the operators of scikit-learn's classifiers."""
    name, strings = "", []
    for number, value in _fields(view):
        if isinstance(value, int):
            continue
        if number == _ATTRIBUTE_NAME:
            name = _text(value)
            if not name.startswith("classlabels_strings"):
                return None
        elif number == _ATTRIBUTE_STRINGS:
            strings.append(_text(value))
    return names_of(strings) if name.startswith("classlabels_strings") else None


def _property_names(view: memoryview) -> tuple[str, ...] | None:
    texts = {}
    for number, value in _fields(view):
        if not isinstance(value, int):
            if len(value) > _LONGEST_PROPERTY:
                return None
            texts[number] = _text(value)
    if texts.get(1, "").lower() not in _NAME_PROPERTIES:
        return None
    return names_in(texts.get(2, ""))


def names_in(text: str) -> tuple[str, ...] | None:
    """Class names in a property: JSON or a Python literal, a list or a dictionary from index to name."""
    try:
        return names_of(parse_json(text, strict=False))
    except ValueError:
        pass
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        return names_of(ast.literal_eval(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def names_of(value: object) -> tuple[str, ...] | None:
    """Class names of a list, or of a dictionary from index to name; None if ``value`` is neither."""
    if isinstance(value, dict):
        try:
            value = {int(key): name for key, name in value.items()}
        except (ValueError, TypeError, OverflowError):
            return None
        if sorted(value) != list(range(len(value))):
            return None
        value = [value[index] for index in range(len(value))]
    if not isinstance(value, list | tuple) or not 0 < len(value) <= _MOST_NAMES:
        return None
    if not all(isinstance(name, str) and name and name.isprintable() for name in value):
        return None
    return tuple(value)


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) of a protobuf message: bytes for strings and messages, else the number."""
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield key >> 3, value
        elif kind == _BYTES:
            size, at = _varint(view, at)
            if size > len(view) - at:
                raise ValueError("a field reaches past the end")
            yield key >> 3, view[at : at + size]
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a field of an unknown kind")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError("a number without an end")


def _text(view: memoryview) -> str:
    return bytes(view).decode("utf-8", "replace")
