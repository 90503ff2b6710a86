"""Inputs as other programs write them: free axes, layouts, whole numbers, grey pictures, fixed batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.classifier_files import FLOAT, SIDE, colour_graph, describe, flat, pictures, save, seen
from helpers.observers import RED_GREEN_BLUE
from PIL import Image

import beholder
from beholder.errors import BadFileError

onnx = pytest.importorskip("onnx")
helper = onnx.helper


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
