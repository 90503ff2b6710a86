"""ONNX files as other programs write them: free axes, layouts, whole numbers, several outputs, columns and maps."""

import json
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.observers import RED_GREEN_BLUE, make_onnx
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import beholder
from beholder import observers
from beholder.errors import BadFileError, NotAvailableError
from beholder.observers import onnx_observer
from beholder.observers.classifier_file import hugging_face, session, structure

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


# -- inputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        (["batch_size", "num_channels", "height", "width"], (2, 3)),  # Optimum
        (["batch_size", "pixel_values_dim_1", "pixel_values_dim_2", "pixel_values_dim_3"], (2, 3)),
        (["unk__1", "unk__2", "unk__3", 3], (1, 2)),  # tf2onnx
        (["unk__1", SIDE, SIDE, "unk__2"], (1, 2)),
        ([None, "height", "width", "channels"], (1, 2)),
        (["s77", 3, SIDE, SIDE], (2, 3)),  # torch.onnx with dynamo
        ([None, 3, None, None], (2, 3)),
        ([-1, 3, -1, -1], (2, 3)),
        ([None, None, None, None], (2, 3)),
        ([None, None, None, None], (1, 2)),  # nothing tells the layout: it is tried
    ],
)
def test_free_axes(tmp_path: Path, shape: list[Any], axes: tuple[int, int]) -> None:
    observer = describe(colour_graph(tmp_path / "a.onnx", shape, axes=axes))
    assert seen(observer) == [0, 1, 2]
    assert observer.predict(pictures()).shape == (3, 3)
    assert observer.predict(pictures()[:1]).shape == (1, 3)


def test_the_sidecar_can_say_the_layout(tmp_path: Path) -> None:
    # Means over axes that hold 8 x 8 or 8 x 3 numbers: both run, one is right.
    shape = [None, None, None, None]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weight = np.zeros((SIDE, SIDE, 3, 3), np.float32)
    weight[:, :] = np.eye(3)
    model = save(
        tmp_path / "a.onnx", nodes, [("x", FLOAT, shape)], [("y", FLOAT, ["n", 3])], {"w": weight.reshape(-1, 3)}
    )
    assert seen(describe(model, layout="NHWC")) == [0, 1, 2]
    fixed = colour_graph(tmp_path / "b.onnx", ["n", 3, SIDE, SIDE])
    with pytest.raises(BadFileError, match=r"takes pictures of 3 x 8 x 8, which is not NHWC: correct \"layout\""):
        describe(fixed, layout="NHWC").predict(pictures())


@pytest.mark.parametrize("kind", ["UINT8", "DOUBLE", "FLOAT16", "INT64", "INT32"])
def test_number_formats_of_the_input(tmp_path: Path, kind: str) -> None:
    shape = ["n", SIDE, SIDE, 3]
    model = colour_graph(tmp_path / "a.onnx", shape, axes=(1, 2), kind=getattr(onnx.TensorProto, kind))
    whole = kind in ("UINT8", "INT64", "INT32")
    observer = describe(model, std=1 if whole else 255)
    assert seen(observer) == [0, 1, 2]


def test_whole_numbers_are_not_normalised_and_it_is_said(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", SIDE, SIDE, 3], axes=(1, 2), kind=onnx.TensorProto.UINT8)
    observer = describe(model, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    with pytest.warns(beholder.errors.BeholderWarning, match=r"mean and std of its sidecar have no effect"):
        result = observer.predict([flat("green")])
    np.testing.assert_allclose(result[0], np.exp([0, 4, 0]) / np.exp([0, 4, 0]).sum(), rtol=1e-5)


@pytest.mark.parametrize("shape", [["n", 1, SIDE, SIDE], ["n", SIDE, SIDE, 1]])
def test_grey_pictures(tmp_path: Path, shape: list[Any]) -> None:
    axes = (2, 3) if shape[1] == 1 else (1, 2)
    model = colour_graph(tmp_path / "a.onnx", shape, axes=axes, matrix=[[8.0], [-8.0]], outputs=[("y", FLOAT, None)])
    observer = describe(model, ("bright", "dark"), mean=127.5, std=127.5)
    assert list(observer.predict([flat("green"), flat("blue")]).argmax(axis=1)) == [0, 1]
    with pytest.raises(BadFileError, match="takes grey pictures: give one number as mean"):
        describe(model, ("bright", "dark"), mean=[1, 2, 3]).predict(pictures())


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_pixels(tmp_path: Path, channels: int) -> None:
    """As scikit-learn's classifiers take them: ``array.reshape(len(array), -1)``."""
    size = SIDE * SIDE * channels
    weight = np.zeros((SIDE, SIDE, channels, 2), np.float32)
    weight[SIDE // 2 :, :, :, 1] = 1  # the lower half is brighter
    weight[: SIDE // 2, :, :, 0] = 1
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = save(
        tmp_path / "a.onnx",
        nodes,
        [("x", FLOAT, [None, size])],
        [("y", FLOAT, [None, 2])],
        {"w": weight.reshape(size, 2)},
    )
    observer = describe(model, ("up", "down"))
    picture = Image.new("RGB", (SIDE, SIDE))
    picture.paste((255, 255, 255), (0, SIDE // 2, SIDE, SIDE))
    assert observer.predict([picture])[0].argmax() == 1
    with pytest.raises(BadFileError, match=rf"rows of {size} pixels, neither 9 x 9 x 3 nor 9 x 9"):
        describe(model, ("up", "down"), input_size=9).predict([picture.resize((9, 9))])


def test_a_picture_without_a_batch(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=(1, 2), keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    constants = {"w": np.asarray(RED_GREEN_BLUE, np.float32)}
    model = save(tmp_path / "a.onnx", nodes, [("x", FLOAT, [3, SIDE, SIDE])], [("y", FLOAT, [3])], constants)
    assert seen(describe(model)) == [0, 1, 2]


def test_a_batch_size_that_is_fixed_inside(tmp_path: Path) -> None:
    """torch.onnx can leave the batch of the example in a Reshape, though the input says that it is free."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=(2, 3), keepdims=0),
        helper.make_node("Reshape", ["m", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    constants = {"w": np.asarray(RED_GREEN_BLUE, np.float32), "shape": np.array([1, 3], np.int64)}
    model = save(tmp_path / "a.onnx", nodes, [("x", FLOAT, ["n", 3, SIDE, SIDE])], [("y", FLOAT, ["n", 3])], constants)
    assert seen(describe(model)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        (["n", 3, 8, 6], "only square pictures can be shown"),
        (["n", 3, 32, 32], "takes pictures of 3 x 32 x 32, not 8 x 8 x 3: correct its input_size"),
        (["n", 4, 8, 8], "only classifiers of colour or grey pictures"),
        (["n", 3, 8, 8, 8], "does not take one batch of pictures but x"),
    ],
)
def test_inputs_that_cannot_be(tmp_path: Path, shape: list[Any], complaint: str) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = save(tmp_path / "a.onnx", [node], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    with pytest.raises(BadFileError, match=complaint):
        describe(model).predict(pictures())


# -- outputs ----------------------------------------------------------------------------------------


def test_one_column_is_a_sigmoid(tmp_path: Path) -> None:
    matrix = [[4.0, 0.0, 0.0]]
    outputs = [("z", FLOAT, ["n", 1])]
    with_sigmoid = [helper.make_node("Sigmoid", ["y"], ["z"])]
    for name, last, output in (
        ("a", with_sigmoid, "auto"),
        ("b", with_sigmoid, "probabilities"),
        ("c", [helper.make_node("Identity", ["y"], ["z"])], "auto"),
        ("d", [helper.make_node("Identity", ["y"], ["z"])], "logits"),
    ):
        model = colour_graph(tmp_path / f"{name}.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs, matrix=matrix)
        result = describe(model, ("other", "red"), output=output).predict(pictures())
        sigmoid = 1 / (1 + np.exp(-np.array([4, 0, 0])))
        np.testing.assert_allclose(result, np.stack([1 - sigmoid, sigmoid], axis=1), rtol=1e-5, err_msg=name)
    with pytest.raises(BadFileError, match="tells 2 classes apart, but 1 is named: name both classes"):
        describe(model, ("red",)).predict(pictures())


def test_one_column_that_may_be_either(tmp_path: Path) -> None:
    last = [helper.make_node("Relu", ["y"], ["z"])]
    model = colour_graph(
        tmp_path / "a.onnx",
        ["n", 3, SIDE, SIDE],
        last=last,
        outputs=[("z", FLOAT, ["n", 1])],
        matrix=[[0.5, 0.0, 0.0]],
    )
    with pytest.raises(BadFileError, match=r'one value, which may be a probability or a logit: write "output"'):
        describe(model, ("other", "red")).predict(pictures())


def test_the_last_operator_tells_logits_from_probabilities(tmp_path: Path) -> None:
    """Logits may sum to 1 by chance, and the probabilities of a coarse network need not."""
    thirds = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    shape = ["n", 3, SIDE, SIDE]
    e = np.e
    plain = describe(colour_graph(tmp_path / "a.onnx", shape, matrix=thirds))
    np.testing.assert_allclose(plain.predict([flat("red")])[0], np.array([e, 1, 1]) / (e + 2), rtol=1e-5)
    for name, operator, expected in (
        ("b", "Softmax", np.array([e, 1, 1]) / (e + 2)),
        ("c", "LogSoftmax", np.array([e, 1, 1]) / (e + 2)),
        ("d", "Sigmoid", np.array([0.7310586, 0.5, 0.5]) / 1.7310586),
    ):
        last = [
            helper.make_node(operator, ["y"], ["s"]),
            helper.make_node("Unsqueeze", ["s", "axes"], ["t"]),
            helper.make_node("Identity", ["t"], ["z"]),
        ]
        model = colour_graph(
            tmp_path / f"{name}.onnx", shape, matrix=thirds, last=last, outputs=[("z", FLOAT, ["n", 3, 1])]
        )
        proto = onnx.load(model)
        proto.graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axes"))
        onnx.save(proto, model)
        result = describe(model).predict([flat("red")])[0]
        np.testing.assert_allclose(result, expected, rtol=1e-5, err_msg=operator)


def test_per_cent_and_number_formats_without_operators(tmp_path: Path) -> None:
    last = [helper.make_node("Softmax", ["y"], ["p"], axis=1), helper.make_node("Mul", ["p", "hundred"], ["z"])]
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=[("z", FLOAT, ["n", 3])])
    proto = onnx.load(model)
    proto.graph.initializer.append(numpy_helper.from_array(np.array(100, np.float32), "hundred"))
    onnx.save(proto, model)
    for output in ("auto", "probabilities"):
        result = describe(model, output=output).predict([flat("red")])
        np.testing.assert_allclose(result[0], np.exp([4, 0, 0]) / np.exp([4, 0, 0]).sum(), rtol=1e-5)
    weight = np.ones((2, 3, 8, 8))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    kind = onnx.TensorProto.DOUBLE
    model = save(
        tmp_path / "b.onnx", [node], [("x", kind, ["n", 3, 8, 8])], [("y", kind, ["n", 2, 1, 1])], {"w": weight}
    )
    with pytest.raises(NotAvailableError, match=r"export it in float32 \(.*Conv"):
        describe(model, ("a", "b")).predict(pictures())


def test_wrong_claims_are_refused(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], matrix=[[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(BadFileError, match=r'gives negative values.*write "output": "logits"'):
        describe(model, output="probabilities").predict(pictures())
    model = colour_graph(tmp_path / "b.onnx", ["n", 3, SIDE, SIDE], matrix=[[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(BadFileError, match="infinite values or NaN"):
        describe(model).predict(pictures())


def two_heads(path: Path, first: str = "a", second: str = "b", sizes: tuple[int, int] = (3, 3)) -> Path:
    last = [
        helper.make_node("MatMul", ["m", "w1"], [first]),
        helper.make_node("MatMul", ["m", "w2"], [second]),
    ]
    model = colour_graph(
        path,
        ["n", 3, SIDE, SIDE],
        last=last,
        outputs=[(first, FLOAT, ["n", sizes[0]]), (second, FLOAT, ["n", sizes[1]])],
    )
    proto = onnx.load(model)
    for name, matrix in (("w1", np.eye(3, sizes[0])), ("w2", np.eye(3, sizes[1])[::-1])):
        proto.graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32).copy(), name))
    onnx.save(proto, path)
    return path


def test_several_outputs(tmp_path: Path) -> None:
    model = two_heads(tmp_path / "a.onnx")
    with pytest.raises(BadFileError, match=r'several outputs .* \(a, b\): name one as "output_name"'):
        describe(model).predict(pictures())
    assert seen(describe(model, output_name="a")) == [0, 1, 2]
    assert seen(describe(model, output_name="b")) == [2, 1, 0]
    with pytest.raises(BadFileError, match=r"no output 'c', .*\"output_name\": choose one of a, b"):
        describe(model, output_name="c").predict(pictures())
    # The one with as many values as classes, then well-known names.
    assert seen(describe(two_heads(tmp_path / "b.onnx", sizes=(5, 3)))) == [2, 1, 0]
    assert seen(describe(two_heads(tmp_path / "c.onnx", "aux_logits", "logits"))) == [2, 1, 0]
    assert seen(describe(two_heads(tmp_path / "d.onnx", "output_probability", "z"))) == [0, 1, 2]


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


def test_maps_from_class_to_probability(tmp_path: Path) -> None:
    numbered = describe(zipmap(tmp_path / "a.onnx", classlabels_int64s=[3, 5, 11]))
    assert seen(numbered) == [0, 1, 2]
    np.testing.assert_allclose(numbered.predict(pictures()).sum(axis=1), 1, atol=1e-6)
    model = zipmap(tmp_path / "b.onnx", classlabels_strings=["red", "green", "blue"])
    assert [describe(model, None).classify(flat(colour))[0].label for colour in COLOURS] == list(COLOURS)
    other = describe(model, ("blue", "green", "red"))
    assert [other.classify(flat(colour))[0].label for colour in COLOURS] == list(COLOURS)


def test_one_output_a_class(tmp_path: Path) -> None:
    last = [helper.make_node("Split", ["y"], ["i0", "i1", "i2"], axis=1)]
    outputs = [("label", onnx.TensorProto.INT64, ["n"]), *((f"i{i}", FLOAT, ["n", 1]) for i in range(3))]
    last.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0))
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs)
    assert seen(describe(model)) == [0, 1, 2]


def test_a_label_alone_is_no_answer(tmp_path: Path) -> None:
    last = [helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0)]
    outputs = [("label", onnx.TensorProto.INT64, ["n"])]
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs)
    with pytest.raises(BadFileError, match=r"gives no probabilities, only label: tensor\(int64\): export it with"):
        describe(model).predict(pictures())


def test_another_number_of_labels(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE])
    with pytest.raises(BadFileError, match=r"3 classes apart, but 2 are named: .*with a line for the background"):
        describe(model, ("red", "green")).predict(pictures())
    with pytest.raises(BadFileError, match=r"3 classes apart, but 4 are named: give the labels that belong to it"):
        describe(model, ("a", "b", "c", "d")).predict(pictures())


# -- names and sidecars -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["{0: 'red', 1: 'green', 2: 'blue'}", '["red", "green", "blue"]', '{"0": "red", "2": "blue", "1": "green"}'],
)
def test_class_names_in_the_file(tmp_path: Path, value: str) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], properties={"names": value})
    assert [name for _, name in describe(model, None).labels] == ["red", "green", "blue"]


@pytest.mark.parametrize("value", ["", "red", "{0: 'red', 2: 'blue'}", "[1, 2]", "[" * 9999, "__import__('os')", "{}"])
def test_no_class_names_in_the_file(tmp_path: Path, value: str) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], properties={"names": value})
    with pytest.raises(BadFileError, match="give --labels FILE"):
        describe(model, None)


def test_a_folder_of_optimum_needs_no_sidecar(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "model.onnx", ["batch_size", "num_channels", "height", "width"])
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.25, 0.5],
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (tmp_path / hugging_face.PREPROCESSOR).write_text(json.dumps(preprocessor))
    (tmp_path / hugging_face.CONFIG).write_text(json.dumps({"id2label": {"0": "red", "1": "green", "2": "blue"}}))
    observer = observers.get(model)
    assert observer.info.mean == pytest.approx((127.5, 127.5, 127.5))
    assert observer.info.std == pytest.approx((127.5, 63.75, 127.5))
    assert [name for _, name in observer.labels] == ["red", "green", "blue"]
    assert seen(observer) == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "size", "mean", "std"),
    [
        ({"size": 8}, 8, 0, 255),
        ({"size": {"shortest_edge": 9}, "crop_size": {"height": 8, "width": 8}}, 8, 0, 255),
        ({"size": {"shortest_edge": 9}, "do_rescale": False}, 9, 0, 1),
        ({"size": 8, "do_rescale": True, "rescale_factor": 1 / 127.5, "rescale_offset": True}, 8, 127.5, 127.5),
        ({"size": {"height": 8, "width": 9}}, None, 0, 0),
        ({"size": 8, "do_normalize": True, "image_mean": "x"}, None, 0, 0),
        ({"size": True}, None, 0, 0),
    ],
)
def test_preprocessors(tmp_path: Path, changes: dict[str, Any], size: int | None, mean: float, std: float) -> None:
    path = tmp_path / hugging_face.PREPROCESSOR
    path.write_text(json.dumps({"do_normalize": False} | changes))
    if size is None:
        with pytest.raises(BadFileError, match="write a sidecar"):
            hugging_face.sidecar_fields(path)
        return
    found = hugging_face.sidecar_fields(path)
    assert found["input_size"] == size
    assert found["mean"] == pytest.approx([mean] * 3)
    assert found["std"] == pytest.approx([std] * 3)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("ouput", 'write "output"'),
        ("Layout", 'write "layout"'),
        ("output_names", 'write "output_name"'),
        ("license", 'write "licence"'),
        ("zzz", "leave it out, or choose one of name"),
    ],
)
def test_unknown_keys_are_named(tmp_path: Path, key: str, hint: str) -> None:
    model = make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE)
    with pytest.raises(BadFileError, match=rf'"{key}" in .*a\.json has no meaning: {hint}'):
        describe(model, **{key: "x"})
    assert describe(model, _note="from the cellar").classes == 3


def test_a_misspelt_key_comes_before_the_missing_one(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE)
    with pytest.raises(BadFileError, match=r'"chanel_order" in .* has no meaning: write "channel_order"'):
        describe(model, channel_order=None, chanel_order="RGB")


def test_means_of_pixels_from_0_to_1(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE)
    with pytest.raises(BadFileError, match="are those of pixels 0 to 1: multiply them by 255"):
        describe(model, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


# -- observers as objects ---------------------------------------------------------------------------


def test_an_observer_is_pickled_without_its_session(tmp_path: Path) -> None:
    observer = describe(make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE))
    before = observer.predict(pictures())
    data = pickle.dumps(observer)
    assert len(data) < 5000
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.predict(pictures()), before)
    assert copy.info == observer.info


def test_a_file_is_opened_once(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE)
    describe(model)
    opened = []

    class Counted(session.Opened):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(session, "Opened", Counted)
    labels = model.with_suffix(".txt")
    small = photo.resize((32, 32))
    for _ in range(3):
        beholder.evaluate(small, "jpeg", classifier=model, labels=labels)
    assert opened == [model]
    threads = [threading.Thread(target=lambda: observers.get(model, labels).predict(pictures())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [model]
    make_onnx(model, RED_GREEN_BLUE[::-1])  # another network under the same name
    assert seen(observers.get(model, labels)) == [2, 1, 0]
    assert len(opened) == 2


def test_an_observer_can_stand_for_its_name(tmp_path: Path, photo: Image.Image) -> None:
    observer = describe(make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE))
    assert observers.get(observer) is observer
    report = beholder.evaluate(photo, "jpeg", classifier=observer)
    assert report.classifier == "a"
    with pytest.raises(beholder.BadOptionError, match="has its own labels"):
        observers.get(observer, tmp_path / "a.txt")
    with pytest.raises(beholder.BadOptionError, match="give its name, the path of an ONNX file, or an Observer"):
        observers.get(3)  # type: ignore[arg-type]


# -- hostile files ----------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_structure_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    assert structure.read(path).last_step("y") in (None, "linear", "softmax", "sigmoid", "log_softmax")


def test_structure_of_damaged_files(tmp_path: Path) -> None:
    model = zipmap(tmp_path / "a.onnx", classlabels_strings=["a", "b", "c"])
    data = model.read_bytes()
    assert structure.read(model).last_step("output_probability") == "softmax"
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        model.write_bytes(damaged)
        structure.read(model)


def test_a_circle_of_operators_ends(tmp_path: Path) -> None:
    found = structure.Structure(makers={"a": ("Identity", "b"), "b": ("Identity", "a")})
    assert found.last_step("a") is None


def test_weights_beside_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    proto = onnx.load(colour_graph(path, ["n", 3, SIDE, SIDE]))
    onnx.save(proto, path, save_as_external_data=True, location="a.onnx.data", size_threshold=0)
    observer = describe(path)
    assert seen(observer) == [0, 1, 2]
    (tmp_path / "a.onnx.data").unlink()
    with pytest.raises(NotAvailableError, match="a file with weights is missing beside it"):
        describe(path).predict(pictures())


def test_shipped_observers_answer_as_before() -> None:
    observer = observers.get("efficientnet_lite0")
    assert isinstance(observer, onnx_observer.OnnxObserver)
    rows = observer.predict([Image.new("RGB", (224, 224), "gray")])
    assert rows.shape == (1, 1000)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-4)
