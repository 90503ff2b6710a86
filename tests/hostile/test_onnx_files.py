"""Classifiers' files that come to no end, or want more than any picture has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from beholder import observers  # noqa: E402
from beholder.codecs.rnn.optimise.classifier import Classifier  # noqa: E402
from beholder.codecs.rnn.sessions import Sessions  # noqa: E402
from beholder.errors import BadFileError, BadOptionError, BeholderError  # noqa: E402
from beholder.observers import onnx_observer  # noqa: E402
from beholder.serve.onnx_weights import read_weights  # noqa: E402

SIDE = 8
WEIGHTS = numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "w")
MEANS = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["f"])]
LOGITS = [*MEANS, helper.make_node("MatMul", ["f", "w"], ["y"])]


def classifier(
    folder: Path, nodes: list[Any], weights: list[Any], batch: int | str = "n", side: int = SIDE, columns: int = 2
) -> Path:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 3, side, side))
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, (None, columns))
    graph = helper.make_graph(nodes, "g", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    sidecar = {"input_size": side, "mean": 0, "std": 255, "channel_order": "RGB", "labels": "l.txt", "output": "logits"}
    (folder / "m.json").write_text(json.dumps(sidecar))
    (folder / "l.txt").write_text("a\nb\n")
    return path


def endless() -> list[Any]:
    """Count upwards for 2^62 rounds before the logits are given."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["more"])],
        "body",
        [scalar("i", TensorProto.INT64, []), scalar("go", TensorProto.BOOL, []), scalar("v", TensorProto.FLOAT, None)],
        [scalar("on", TensorProto.BOOL, []), scalar("more", TensorProto.FLOAT, None)],
    )
    last = helper.make_node("Loop", ["rounds", "true", "m"], ["y"], body=body)
    return [*MEANS, helper.make_node("MatMul", ["f", "w"], ["m"]), last]


def photos(count: int, side: int = SIDE) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), (255, 0, 0))] * count


def test_a_graph_that_loops_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_observer, "SECONDS", 0.2)
    rounds = numpy_helper.from_array(np.array(2**62), "rounds")
    path = classifier(tmp_path, endless(), [WEIGHTS, rounds, numpy_helper.from_array(np.array(True), "true")])
    with pytest.raises(BadFileError, match="comes to no end"):
        observers.get(path).predict(photos(2))


def test_a_graph_that_ends_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_observer, "SECONDS", 60)
    assert observers.get(classifier(tmp_path, LOGITS, [WEIGHTS])).predict(photos(3)).shape == (3, 2)


@pytest.mark.parametrize("batch", [100_000, 10**6, 10**9, 2**62])
def test_batches_that_no_memory_holds_are_refused(batch: int, tmp_path: Path) -> None:
    path = classifier(tmp_path, LOGITS, [WEIGHTS], batch, side=64)
    with pytest.raises(BadFileError, match="pictures at once"):
        observers.get(path).predict(photos(1, 64))


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    assert observers.get(classifier(tmp_path, LOGITS, [WEIGHTS], 64)).predict(photos(2)).shape == (2, 2)


def test_large_pictures_are_shown_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_observer, "_BATCH_BYTES", 1)
    assert observers.get(classifier(tmp_path, LOGITS, [WEIGHTS])).predict(photos(3)).shape == (3, 2)


@pytest.mark.parametrize("columns", [2**31, 2**40])
def test_claims_about_the_output_are_not_believed(columns: int, tmp_path: Path) -> None:
    assert observers.get(classifier(tmp_path, LOGITS, [WEIGHTS], columns=columns)).predict(photos(1)).shape == (1, 2)


@pytest.mark.parametrize("place", ["../../../etc/passwd", "/etc/passwd", "/dev/zero", "missing.data", "", "link"])
def test_weights_outside_of_the_folder_are_not_read(place: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(3, 2), data_location=TensorProto.EXTERNAL)
    for key, value in (("location", place), ("offset", "0"), ("length", "24")):
        weights.external_data.add(key=key, value=value)
    with pytest.raises(BeholderError, match="cannot be opened"):
        observers.get(classifier(tmp_path, LOGITS, [weights])).predict(photos(1))


@pytest.mark.parametrize("dims", [(2**20, 2**20), (-3, 2), (2**40, 2**40)])
def test_claims_about_weights_are_refused(dims: tuple[int, int], tmp_path: Path) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(24))
    with pytest.raises(BeholderError, match="cannot be opened"):
        observers.get(classifier(tmp_path, LOGITS, [weights])).predict(photos(1))


def test_a_model_that_loops_for_ever_is_stopped(tmp_path: Path) -> None:
    rounds = numpy_helper.from_array(np.array(2**62), "rounds")
    classifier(tmp_path, endless(), [WEIGHTS, rounds, numpy_helper.from_array(np.array(True), "true")])
    picture = np.zeros((1, 3, SIDE, SIDE), np.float32)
    with pytest.raises(BadOptionError, match=r"m\.onnx comes to no end"):
        Sessions(tmp_path, 0.2).run("m", {"x": picture})
    classifier(tmp_path, LOGITS, [WEIGHTS])
    assert Sessions(tmp_path, 60).run("m", {"x": picture})[0].shape == (1, 2)


def beside(folder: Path, place: str, start: str = "0", size: str = "24") -> Path:
    """A graph whose weights lie in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(3, 2), data_location=TensorProto.EXTERNAL)
    for key, value in (("location", place), ("offset", start), ("length", size)):
        weights.external_data.add(key=key, value=value)
    return classifier(folder, LOGITS, [weights])


@pytest.mark.parametrize("place", ["../secret", "sub/../../secret", "link", "missing", "", ".", "a\0b", "/dev/zero"])
def test_weights_for_the_browser_lie_in_the_folder(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BadOptionError, match="export the model again"):
        read_weights(beside(folder, place))
    (folder / "own").write_bytes(bytes(24))
    assert read_weights(beside(folder, "own"))["w"].shape == (3, 2)


@pytest.mark.parametrize(
    ("start", "size"), [("-5", "24"), ("8", "24"), ("0", str(2**62)), (str(2**62), "24"), ("x", "y")]
)
def test_weights_for_the_browser_lie_in_their_file(start: str, size: str, tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(bytes(24))
    with pytest.raises(BadOptionError, match="export the model again"):
        read_weights(beside(tmp_path, "own", start, size))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80" * 1_000_000,
        b"\x3a\xff\xff\xff\xff\x7f",
        b"\x3a\x03\x2a\x01\x08",
        b"\x3a\x05\x2a\x03\x42\x01\xff",
        b"\x38\x01",
    ],
)
def test_graphs_for_the_browser_that_are_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "eye.onnx"
    path.write_bytes(data)
    with pytest.raises(BadOptionError, match=r"eye\.onnx cannot be read \(.+\): export the model again\.$"):
        read_weights(path)


def test_damaged_graphs_leave_one_sentence_and_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime writes to standard error on its own."""
    beside(tmp_path, "missing")
    with pytest.raises(BadOptionError, match="cannot be opened"):
        Sessions(tmp_path).run("m", {})
    with pytest.raises(BadFileError, match="cannot be opened"):
        Classifier(tmp_path / "m.onnx")
    with pytest.raises(BeholderError, match="cannot be opened"):
        observers.get(tmp_path / "m.onnx").predict(photos(1))
    assert capfd.readouterr() == ("", "")
