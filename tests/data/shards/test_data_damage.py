"""Shards that are incomplete, damaged, or made to harm: one clear sentence each."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.published import contents, put
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder import data
from beholder.data.shards.verify import verify
from beholder.errors import BadFileError, BeholderError


def first_tar(shards: Path) -> Path:
    return sorted(shards.glob("*.tar"))[0]


def truncated(shards: Path) -> None:
    path = first_tar(shards)
    path.write_bytes(path.read_bytes()[:700])


def missing(shards: Path) -> None:
    first_tar(shards).unlink()


def flipped(shards: Path) -> None:
    content = bytearray(first_tar(shards).read_bytes())
    content[600] ^= 1
    first_tar(shards).write_bytes(content)


def table_missing(shards: Path) -> None:
    first_tar(shards).with_suffix(".json").unlink()


def table_changed(shards: Path) -> None:
    path = first_tar(shards).with_suffix(".json")
    path.write_text(path.read_text().replace('"labels": [', '"labels": [ '))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncated, r"-000000\.tar in .* is truncated"),
        (missing, r"There is no .*-000000\.tar in"),
        (flipped, r"-000000\.tar in .* (is damaged \(at|has a wrong checksum)"),
        (table_missing, r"There is no .*-000000\.json in"),
        (table_changed, r"-000000\.json in .* is not the one that index\.json describes"),
    ],
)
def test_damaged_shards(shards: Path, damage: Callable[[Path], None], sentence: str) -> None:
    damage(shards)
    source = data.open_source(shards)
    for read in (lambda: source[0], lambda: next(iter(source))):
        with pytest.raises(BadFileError, match=sentence):
            read()
    assert len(list(source.examples(range(4, 11)))) == 7  # the others are as good as before
    (problem,) = verify(source)
    assert re.search(sentence, problem)


def test_damage_between_the_images_is_found_by_verify(shards: Path) -> None:
    path = first_tar(shards)
    path.write_bytes(path.read_bytes() + b"more")
    (problem,) = verify(data.open_source(shards))
    assert "longer than it should be" in problem
    content = bytearray(path.read_bytes()[:-4])
    content[-1] = 1
    path.write_bytes(content)
    (problem,) = verify(data.open_source(shards))
    assert "wrong checksum" in problem


def change_table(shards: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    """Change a table and make the index fit to it, as somebody who means it would."""
    path = first_tar(shards).with_suffix(".json")
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    index = json.loads((shards / "index.json").read_text())
    index["shards"][0]["table_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (shards / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("offsets", 1 << 40),
        ("offsets", -5),
        ("offsets", 0),
        ("offsets", 1 << 200),
        ("offsets", 1.5),
        ("offsets", True),
        ("sizes", 1 << 31),
        ("sizes", None),
        ("keys", "../../etc/passwd"),
        ("keys", ""),
        ("keys", 7),
        ("names", "../x"),
        ("names", ".."),
        ("names", ""),
        ("labels", 1000),
        ("labels", -1),
        ("labels", "0"),
    ],
)
def test_tables_made_to_harm(shards: Path, column: str, value: object) -> None:
    change_table(shards, lambda table: table[column].__setitem__(1, value))
    with pytest.raises(BadFileError, match=r"-000000\.json in .* is damaged"):
        data.open_source(shards)[0]


@pytest.mark.parametrize("change", [{"keys": []}, {"labels": None}, {"bytes": 10}, {"sha256": "x"}, {"skipped": [[1]]}])
def test_tables_that_contradict_themselves(shards: Path, change: dict[str, object]) -> None:
    change_table(shards, lambda table: table.update(change))
    with pytest.raises(BadFileError, match=r"-000000\.json in .* is damaged"):
        data.open_source(shards)[0]


def test_a_key_twice(shards: Path) -> None:
    change_table(shards, lambda table: table["keys"].__setitem__(1, table["keys"][0]))
    with pytest.raises(BadFileError, match="is damaged"):
        data.open_source(shards)[0]
    other = json.loads((shards / sorted(p.name for p in shards.glob("*1.json"))[0]).read_text())["keys"][0]
    change_table(shards, lambda table: table["keys"].__setitem__(slice(0, 2), [other, "x"]))
    assert any("in two shards" in problem for problem in verify(data.open_source(shards)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": "beholder-shards"', "is no JSON"),
        ('"beholder-shards"' + "[" * 100_000, "is no JSON"),
        ('["beholder-shards"]', "was not written by"),
        ('{"format": "beholder-shards", "version": 2}', "newer version"),
        ('{"format": "beholder-shards", "version": 1}', "'classes' is missing"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(BadFileError, match=sentence):
        data.open_source(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file", "../../secret.tar"),
        ("file", "/etc/secret.tar"),
        ("file", ".hidden.tar"),
        ("file", "x.txt"),
        ("file", ["x.tar"]),
        ("samples", -1),
        ("samples", 10**9),
        ("samples", "4"),
        ("samples", 5),
        ("bytes", 1 << 60),
        ("sha256", "../"),
        ("table_sha256", None),
    ],
)
def test_an_index_made_to_harm(shards: Path, key: str, value: object) -> None:
    index = json.loads((shards / "index.json").read_text())
    index["shards"][0][key] = value
    (shards / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadFileError, match=r"index\.json in .* is damaged"):
        data.open_source(shards)


def test_an_index_that_is_too_large(shards: Path) -> None:
    with open(shards / "index.json", "r+b") as file:
        file.truncate(40 << 20)
    with pytest.raises(BadFileError, match="above the limit"):
        data.open_source(shards)


@settings(max_examples=150)
@given(st.data())
def test_any_damaged_byte_is_an_error_or_harmless(shards: Path, draw: st.DataObject) -> None:
    originals = contents(shards)
    name = draw.draw(st.sampled_from(sorted(originals)))
    content = bytearray(originals[name])
    for _ in range(draw.draw(st.integers(1, 3))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    (shards / name).write_bytes(content)
    with contextlib.suppress(BeholderError):  # and nothing else
        for example in data.open_source(shards):
            data.decode(example)
    (shards / name).write_bytes(originals[name])


def test_tars_without_an_index_and_an_index_of_another_program(shards: Path) -> None:
    (shards / "index.json").unlink()
    with pytest.raises(BadFileError, match=r"holds tar files but no index\.json"):
        data.open_source(shards)
    (shards / "index.json").write_text('{"photos": []}')
    put(shards / "a.jpg", 1)
    assert [e.name for e in data.open_source(shards)] == ["a.jpg"]
