"""ONNX classifiers of the mean colour, as other programs write them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.observers import RED_GREEN_BLUE
from PIL import Image

from beholder import observers

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

SIDE = 8


SIDECAR: dict[str, Any] = {"input_size": SIDE, "mean": 0, "std": 255, "channel_order": "RGB"}


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


FLOAT = onnx.TensorProto.FLOAT


def flat(colour: str | tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), COLOURS[colour] if isinstance(colour, str) else colour)


def pictures() -> list[Image.Image]:
    return [flat(colour) for colour in COLOURS]


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[Any],
    constants: dict[str, np.ndarray] | None = None,
    properties: dict[str, str] | None = None,
) -> Path:
    values = [helper.make_tensor_value_info(*value) for value in inputs]
    results = [helper.make_tensor_value_info(*o) if isinstance(o, tuple) else o for o in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", values, results, weights), opset_imports=opsets, ir_version=8
    )
    helper.set_model_props(model, properties or {})
    onnx.save(model, path)
    return path


def colour_graph(
    path: Path,
    shape: Sequence[Any],
    *,
    last: Sequence[Any] = (),
    outputs: Sequence[Any] = (("y", FLOAT, ["n", 3]),),
    axes: Sequence[int] = (2, 3),
    matrix: Sequence[Sequence[float]] = RED_GREEN_BLUE,
    kind: int = FLOAT,
    properties: dict[str, str] | None = None,
) -> Path:
    """The mean colour of the picture times a matrix is called ``y``."""
    before = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT)] if kind != FLOAT else []
    if kind == onnx.TensorProto.UINT8:
        before.append(helper.make_node("Div", ["f", "most"], ["g"]))
    nodes = [
        *before,
        helper.make_node("ReduceMean", [before[-1].output[0] if before else "x"], ["m"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
        *last,
    ]
    constants = {"w": np.asarray(matrix, np.float32).T.copy(), "most": np.array(255, np.float32)}
    return save(path, nodes, [("x", kind, shape)], outputs, constants, properties)


def describe(model: Path, names: Sequence[str] | None = ("red", "green", "blue"), **changes: Any) -> observers.Observer:
    fields = {key: value for key, value in (SIDECAR | changes).items() if value is not None}
    model.with_suffix(".json").write_text(json.dumps(fields))
    if names is None:
        return observers.get(model)
    labels = model.with_suffix(".txt")
    labels.write_text("".join(f"{name}\n" for name in names))
    return observers.get(model, labels)


def seen(observer: observers.Observer) -> list[int]:
    return [int(index) for index in observer.predict(pictures()).argmax(axis=1)]


def zipmap(path: Path, **attributes: Any) -> Path:
    """As skl2onnx writes classifiers: a label, and a map from class to probability."""
    strings = "classlabels_strings" in attributes
    key = onnx.TensorProto.STRING if strings else onnx.TensorProto.INT64
    types = [helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, []))]
    maps = helper.make_value_info("output_probability", helper.make_sequence_type_proto(types[0]))
    last = [
        helper.make_node("Softmax", ["y"], ["p"]),
        helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml", **attributes),
        helper.make_node("ArgMax", ["y"], ["output_label"], axis=1, keepdims=0),
    ]
    label = ("output_label", onnx.TensorProto.INT64, ["n"])
    return colour_graph(path, ["n", 3, SIDE, SIDE], last=last, outputs=[label, maps])
