"""Observers of a file: pickled, opened once; files that are damaged or hostile."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.classifier_files import SIDE, colour_graph, describe, pictures, seen, zipmap
from helpers.observers import RED_GREEN_BLUE, make_onnx
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import beholder
from beholder import observers
from beholder.errors import NotAvailableError
from beholder.observers import onnx_observer
from beholder.observers.classifier_file import session, structure

onnx = pytest.importorskip("onnx")


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
        beholder.evaluate_image(small, "jpeg", classifier=model, labels=labels)
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
    report = beholder.evaluate_image(photo, "jpeg", classifier=observer)
    assert report.classifier == "a"
    with pytest.raises(beholder.BadOptionError, match="has its own labels"):
        observers.get(observer, tmp_path / "a.txt")
    with pytest.raises(beholder.BadOptionError, match="give its name, the path of an ONNX file, or an Observer"):
        observers.get(3)  # type: ignore[arg-type]


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
