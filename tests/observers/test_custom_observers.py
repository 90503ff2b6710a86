"""Any ONNX classifier as an observer: signatures, sidecars, labels, and what is said when something is missing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.observers import RED_GREEN_BLUE, empty_cache, make_onnx
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import beholder
from beholder import observers
from beholder.cli import main
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.observers import labels, sidecar

SIDECAR = {"input_size": 8, "mean": [0, 0, 0], "std": [255, 255, 255], "channel_order": "RGB"}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "colours.txt"
    path.write_text("red\ngreen\nn01234567 blue, sky\n")
    return path


def write_sidecar(model: Path, **changes: Any) -> Path:
    path = model.with_suffix(".json")
    path.write_text(json.dumps({key: value for key, value in (SIDECAR | changes).items() if value is not None}))
    return path


def flat(colour: str, side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), COLOURS[colour])


def colours_seen(observer: observers.Observer, side: int = 8) -> list[int]:
    return [int(i) for i in observer.predict([flat(colour, side) for colour in COLOURS]).argmax(axis=1)]


def test_a_file_is_an_observer(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model)
    observer = observers.get(str(model), names)
    assert observer.info.name == "tiny"
    assert observer.info.top1 is None
    assert observer.classes == 3
    assert list(observer.labels) == [("", "red"), ("", "green"), ("n01234567", "blue, sky")]
    assert colours_seen(observer) == [0, 1, 2]
    best = observer.classify(Image.new("L", (50, 30)), topk=5)
    assert [p.index for p in best] == [0, 1, 2]  # all of them, in order, since black is no colour
    assert best[2].wnid == "n01234567"
    assert observers.get(model, names).predict([]).shape == (0, 3)
    with pytest.raises(BadOptionError, match=r"Top 6 is not possible: choose 1 to 3"):
        observer.classify(flat("red"), topk=6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
def test_signatures(
    tmp_path: Path, names: Path, channels_last: bool, batch: int | str, half: bool, softmax: bool
) -> None:
    model = make_onnx(
        tmp_path / "tiny.onnx", RED_GREEN_BLUE, channels_last=channels_last, batch=batch, half=half, softmax=softmax
    )
    write_sidecar(model)
    result = observers.get(model, names).predict([flat("blue"), flat("red")] * 3)
    e4 = np.exp(4)
    expected = np.array([[1, 1, e4], [e4, 1, 1]] * 3) / (e4 + 2)
    np.testing.assert_allclose(result, expected, atol=2e-3 if half else 1e-6)


def test_preprocessing_of_the_sidecar(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE, side="s")
    write_sidecar(model, channel_order="BGR", mean=100, std=[50, 25, 5], input_size=5)
    observer = observers.get(model, names)
    assert observer.features([flat("green", 5)]).shape == (1, 3)
    logits = np.log(observer.predict([Image.new("RGB", (5, 5), (10, 20, 30))])[0])
    # blue first: (30 - 100) / 50, (20 - 100) / 25, (10 - 100) / 5
    np.testing.assert_allclose(logits - logits[0], 4 * np.array([0, -3.2 + 1.4, -18 + 1.4]), rtol=1e-4)


@pytest.mark.parametrize(("output", "softmax"), [("logits", False), ("probabilities", True), ("auto", True)])
def test_the_sidecar_can_say_what_comes_out(tmp_path: Path, names: Path, output: str, softmax: bool) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE, softmax=softmax)
    write_sidecar(model, output=output)
    np.testing.assert_allclose(observers.get(model, names).predict([flat("red")]).sum(), 1, atol=1e-6)


def test_logits_that_happen_to_sum_to_one(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", [[3.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0]])
    write_sidecar(model)
    result = observers.get(model, names).predict([flat("red")])
    assert result.min() > 0
    assert result[0, 0] == pytest.approx(np.exp(3) / (np.exp(3) + 2 * np.exp(-1)), rel=1e-5)


def test_features(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "with.onnx", RED_GREEN_BLUE, features=True)
    write_sidecar(model)
    np.testing.assert_allclose(observers.get(model, names).features([flat("green")]), [[0, 1, 0]], atol=1e-6)
    plain = make_onnx(tmp_path / "without.onnx", RED_GREEN_BLUE)
    write_sidecar(plain)
    observer = observers.get(plain, names)
    np.testing.assert_array_equal(observer.features([flat("red")]), observer.predict([flat("red")]))


def test_labels_named_by_the_sidecar(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, labels=names.name)
    assert observers.get(model).labels[0] == ("", "red")
    (tmp_path / "other.txt").write_text("rouge\nvert\nbleu\n")
    assert observers.get(model, tmp_path / "other.txt").labels[0] == ("", "rouge")
    big = make_onnx(tmp_path / "big.onnx", np.eye(1000, 3).tolist())
    write_sidecar(big, labels="imagenet")
    assert observers.get(big).classify(flat("green"))[0].label == "goldfish"


def test_eval_image(tmp_path: Path, names: Path, capsys: pytest.CaptureFixture[str], photo: Image.Image) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model)
    photo.save(tmp_path / "photo.png")
    arguments = ["evaluate-image", str(tmp_path / "photo.png"), "-c", "jpeg", "--classifier", str(model)]
    assert main([*arguments, "--labels", str(names), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["classifier"] == "tiny"
    assert {p["label"] for p in result["predictions_compressed"]} == {"red", "green", "blue, sky"}
    assert main([*arguments, "--labels", str(names)]) == 0
    assert "What tiny sees" in capsys.readouterr().out
    assert beholder.evaluate_image(photo, "jpeg", classifier=model, labels=names).classifier == "tiny"
    assert main(arguments) == 2
    assert "give --labels FILE" in capsys.readouterr().err
    assert main([*arguments[:-1], "efficientnet_lite0", "--labels", str(names)]) == 2
    assert "has its own labels" in capsys.readouterr().err


# -- what is missing or wrong -----------------------------------------------------------------------


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"There is no classifier .*none\.onnx: check the path"):
        observers.get(tmp_path / "none.onnx")


def test_no_sidecar(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    with pytest.raises(BadFileError, match=r'There is no .*tiny\.json: write how .*"input_size": 224, "mean"'):
        observers.get(model, names)


@pytest.mark.parametrize("key", sidecar.REQUIRED)
def test_the_missing_key_is_named(tmp_path: Path, names: Path, key: str) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, **{key: None})
    with pytest.raises(BadFileError, match=rf"tiny\.json does not say {key}: write it as"):
        observers.get(model, names)


def test_several_missing_keys(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, mean=None, std=None, channel_order=None)
    with pytest.raises(BadFileError, match="does not say mean, std and channel_order"):
        observers.get(model, names)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("input_size", value) for value in (0, -3, 8.5, True, "8", 10**9)),
        *(("mean", value) for value in ([1, 2], "x", [1, 2, "3"], [[1], 2, 3], True)),
        *(("std", value) for value in ([1, 2, 0], [1, 2, -1], 0)),
        *(("channel_order", value) for value in ("rgb", "RBG", 3)),
        *(("output", value) for value in ("scores", 1)),
        *(("labels", value) for value in ("../../secret", "/etc/passwd", 3)),
        *(("top1", value) for value in (101, -1, "high")),
        *(("name", value) for value in ("a\nb", 7, "x" * 2000)),
        *(("parameters", value) for value in (-1, 1.5)),
    ],
)
def test_impossible_values_are_named(tmp_path: Path, names: Path, key: str, value: Any) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, **{key: value})
    with pytest.raises(BadFileError, match=rf'"{key}" in .*tiny\.json must be '):
        observers.get(model, names)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "Infinity")])
def test_words_that_are_no_numbers(tmp_path: Path, names: Path, value: float, word: str) -> None:
    """Python writes them into JSON, whose standard has none."""
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, mean=[1, 2, value])
    with pytest.raises(BadFileError, match=rf"tiny\.json is no JSON file \({word} is no number\): write it as"):
        observers.get(model, names)


@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | st.just(b"[" * 100_000))
def test_no_bytes_in_a_sidecar_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "some.json"
    path.write_bytes(data)
    with pytest.raises(BadFileError):
        sidecar.read(path, "some")


def test_no_labels(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model)
    with pytest.raises(BadFileError, match=r'give --labels FILE .* or write "labels": "imagenet"'):
        observers.get(model)
    with pytest.raises(BadFileError, match=r"There is no label file .*none\.txt"):
        observers.get(model, tmp_path / "none.txt")


def test_wrong_number_of_labels(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", [*RED_GREEN_BLUE, [1, 1, 1]])
    write_sidecar(model)
    with pytest.raises(BadFileError, match=r"tiny\.onnx tells 4 classes apart, but 3 are named"):
        observers.get(model, names).predict([flat("red")])


def test_wrong_input_size(tmp_path: Path, names: Path) -> None:
    model = make_onnx(tmp_path / "tiny.onnx", RED_GREEN_BLUE)
    write_sidecar(model, input_size=9)
    with pytest.raises(BadFileError, match=r"takes pictures of 3 x 8 x 8, not 9 x 9 x 3: correct its input_size"):
        observers.get(model, names).predict([flat("red", 9)])


def test_no_image_classifier(tmp_path: Path, names: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, ["n"])], [value("y", 1, ["n"])]
    )
    model = tmp_path / "tiny.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), model)
    write_sidecar(model)
    with pytest.raises(BadFileError, match="does not take one batch of pictures but x: "):
        observers.get(model, names).predict([flat("red")])


def test_no_onnx_file(tmp_path: Path, names: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(b"\x08\x08 nothing")
    write_sidecar(tmp_path / "tiny.onnx")
    with pytest.raises(NotAvailableError, match=r"cannot be opened \(.*tiny\.onnx\): get a whole ONNX file"):
        observers.get(tmp_path / "tiny.onnx", names).predict([flat("red")])


# -- label files ------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20)


@given(st.lists(NAMES.map(str.strip).filter(bool), min_size=1, max_size=20), st.booleans())
def test_labels_come_back(tmp_path_factory: pytest.TempPathFactory, some: list[str], with_wnids: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.txt"
    table = [(f"n{i:08d}" if with_wnids else "", name) for i, name in enumerate(some) if name.isprintable()]
    path.write_text(labels.to_text(table), encoding="utf-8")
    if table:
        assert list(labels.read(path)) == table


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "Line 1 of"),
        (b"a\n\nb\n", "Line 2 of"),
        (b"a\nb\x00c\n", "Line 2 of"),
        (b"\xff\xfe", "is no label file"),
        (b"x" * ((1 << 24) + 1), "it is too large"),
    ],
)
def test_bad_label_files(tmp_path: Path, data: bytes, complaint: str) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(BadFileError, match=complaint):
        labels.read(tmp_path / "x.txt")


def test_label_files_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "synset_words.txt"
    path.write_bytes("\ufeffn01440764 tench, Tinca tinca\r\nn01443537\tgoldfish\r\nn01484850\r\n".encode())
    assert labels.read(path) == (
        ("n01440764", "tench, Tinca tinca"),
        ("n01443537", "goldfish"),
        ("n01484850", "n01484850"),
    )
