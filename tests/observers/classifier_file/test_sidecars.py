"""Class names in the file, Hugging Face folders, and keys of the sidecar."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.classifier_files import SIDE, colour_graph, describe, seen
from helpers.observers import RED_GREEN_BLUE, make_onnx

from beholder import observers
from beholder.errors import BadFileError
from beholder.observers.classifier_file import hugging_face


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
