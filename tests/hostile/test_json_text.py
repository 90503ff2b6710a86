"""JSON that would surprise a reader becomes one sentence, wherever it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from beholder.batch import target_sweep
from beholder.codecs.rnn import damage
from beholder.data.published import webdataset
from beholder.data.shards import index
from beholder.errors import BeholderError
from beholder.evaluation.sweep import provenance, results
from beholder.json_text import parse_json, read_json
from beholder.observers import sidecar
from beholder.observers.classifier_file import hugging_face, structure
from beholder.training.config_file import read_object

DEEP = "[" * 100_000
NUMBERS = ("1" + "0" * 400, "-" + "9" * 5000, "1e400", "NaN", "-Infinity", "1" + "0" * 400 + ".5")
SIDECAR = {"input_size": 224, "mean": [1, 2, 3], "std": [4, 5, 6], "channel_order": "RGB"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DEEP, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("9" * 5000, "5,000 digits"),
        ("[-1e400]", "too large"),
        ("[NaN]", "NaN is no number"),
        ('{"a": Infinity}', "Infinity is no number"),
        ('{"a": {"b": 1, "b": 1}}', '"b" is there twice'),
        ("{", "double quotes"),
        (b"\xff\xfe\xff", "decode"),
    ],
)
def test_no_surprise_gets_through(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)


def test_other_programs_may_write_nan_and_repeat_keys() -> None:
    assert parse_json('{"a": 1, "a": [NaN]}', strict=False)["a"][0] != 0
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 5000, strict=False)


def test_plain_values_are_those_of_python() -> None:
    content = [{"a": [1, -2.5, 1e300, 10**299, None, True, "\ud800"]}, {}, ""]
    assert parse_json(json.dumps(content)) == content


def test_a_long_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_bytes(b" " * 1000 + b"1")
    assert read_json(path, 1001) == 1
    with pytest.raises(ValueError, match="larger than 1,000 bytes"):
        read_json(path, 1000)


def read_card(path: Path) -> object:
    path.rename(path.parent / "model.json")
    with damage.one_sentence("Damaged ({reason})."):
        return damage.read_card(path.parent, bytes(8))


def read_label(path: Path) -> object:
    return webdataset._label_in(path.read_bytes(), "json", "a.json")


READERS: dict[str, Callable[[Path], object]] = {
    "sidecar": lambda path: sidecar.read(path, "observer"),
    "preprocessor": hugging_face.sidecar_fields,
    "index": lambda path: index.parse_index(path.read_bytes(), "here"),
    "table": lambda path: index.parse_table(path.read_bytes(), "here", 2),
    "label": read_label,
    "model card": read_card,
    "config": read_object,
    "settings": lambda path: results.read_settings(path.parent),
    "records": target_sweep._records,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", [DEEP, '{"label":' * 100_000, f'{{"label": {"9" * 5000}}}', "{", "\ud800"])
def test_every_reader_says_it_in_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BeholderError) as caught:
        READERS[name](path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_may_be_missing_counts_as_missing(tmp_path: Path) -> None:
    for name in (provenance.RUNS, hugging_face.CONFIG):
        (tmp_path / name).write_text(DEEP)
    assert provenance.read(tmp_path) == []
    assert hugging_face.class_names(tmp_path) is None


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", ["mean", "std", "top1", "parameters", "input_size"])
def test_numbers_that_no_float_holds(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "observer.json"
    text = json.dumps(SIDECAR | {key: "@"})
    for shown in (value, f"[{value}, 1, 1]"):
        path.write_text(text.replace('"@"', shown))
        with pytest.raises(BeholderError, match=r"observer\.json"):
            sidecar.read(path, "observer")


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", ["rescale_factor", "image_mean", "image_std", "size"])
def test_numbers_of_a_preprocessor_that_no_float_holds(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / hugging_face.PREPROCESSOR
    text = json.dumps({"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3} | {key: "@"})
    path.write_text(text.replace('"@"', value if key in ("size", "rescale_factor") else f"[{value}, 1, 1]"))
    with pytest.raises(BeholderError, match=r"\.json"):
        sidecar.parse(hugging_face.sidecar_fields(path), path, "observer")


@pytest.mark.parametrize(
    "text",
    ["{1e999: 'a'}", "{float('nan'): 'a'}", "(" * 50_000, "1+" * 50_000 + "1", "-" * 100_000 + "1", "[0," * 400_000],
)
def test_names_of_classes_that_are_no_names(text: str) -> None:
    assert structure.names_in(text) is None
