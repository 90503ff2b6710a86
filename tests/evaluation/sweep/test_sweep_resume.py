"""--resume sees every change that matters: what was measured of something else is refused or measured again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.photos import make_photo
from helpers.sweeps import OBSERVER, prepare, rows_of, without_times, write_photos

from beholder import weights
from beholder.errors import BadOptionError
from beholder.evaluation.sweep import results
from beholder.evaluation.sweep import run as sweep
from beholder.observers import labels as label_files


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", 4)


def fresh(photos: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of a sweep that begins anew."""
    return without_times(rows_of(prepare(photos, gallery=4), tmp_path / "fresh"))


def resumed(photos: Path, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a sweep that goes on, and what it said."""
    said: list[str] = []
    return without_times(rows_of(prepare(photos, gallery=4), folder, resume=True, tell=said.append)), said


def edit(photos: Path) -> None:
    """Other pixels under the same name."""
    make_photo(96, 72, seed=77).save(photos / "0281_photo.png")


def append(photos: Path) -> None:
    """The same pixels in another file."""
    path = photos / "0281_photo.png"
    path.write_bytes(path.read_bytes() + b"a")


def rename(photos: Path) -> None:
    (photos / "0281_photo.png").rename(photos / "0281_renamed.png")


def relabel(photos: Path) -> None:
    """The label stands in the name."""
    (photos / "0281_photo.png").rename(photos / "0282_photo.png")


def swap(photos: Path) -> None:
    first, second = photos / "0281_photo.png", photos / "0500_photo.png"
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def break_one(photos: Path) -> None:
    (photos / "0281_photo.png").write_bytes(b"broken")


@pytest.mark.parametrize("change", [edit, append, rename, relabel, swap, break_one])
def test_changed_images_are_measured_again(change: Callable[[Path], None], photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows_of(prepare(photos, gallery=4), out)
    times = {path.name: path.stat().st_mtime_ns for path in (out / results.TABLE).iterdir()}
    change(photos)
    rows, said = resumed(photos, out)
    assert rows == fresh(photos, tmp_path)
    assert len(said) == 1
    assert "they are measured again" in said[0]
    # What has not changed is left alone.
    kept = [path.name for path in (out / results.TABLE).iterdir() if times[path.name] == path.stat().st_mtime_ns]
    assert len(kept) == (2 if change is swap else 3)
    keys = {path.name for path in (out / results.GALLERY).iterdir()}
    assert keys == {row["image"] for row in rows}
    assert resumed(photos, out) == (rows, [])


def test_the_same_size_and_another_content(photos: Path, tmp_path: Path) -> None:
    """The content decides, not size or time: a byte of a chunk that nobody reads."""
    rows_of(prepare(photos), tmp_path / "out")
    path = photos / "0500_photo.png"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    _, said = resumed_plain(photos, tmp_path / "out")
    assert len(said) == 1


def resumed_plain(photos: Path, folder: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return sweep.run(prepare(photos), folder, resume=True, tell=said.append).rows, said


def test_more_or_fewer_images_are_refused(photos: Path, tmp_path: Path) -> None:
    rows_of(prepare(photos), tmp_path / "out")
    make_photo(96, 72, seed=9).save(photos / "0007_photo.png")
    with pytest.raises(BadOptionError, match="images: 4, now 5"):
        resumed_plain(photos, tmp_path / "out")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A classifier of the user's own: the file, its sidecar, its labels."""
    folder = tmp_path / "classifier"
    folder.mkdir()
    shutil.copy(weights.OBSERVERS / f"{OBSERVER}.onnx", folder / "mine.onnx")
    sidecar = {"input_size": 224, "mean": 127, "std": 128, "channel_order": "RGB", "labels": "labels.txt"}
    (folder / "mine.json").write_text(json.dumps(sidecar))
    (folder / "labels.txt").write_text(label_files.to_text(label_files.imagenet()))
    return folder / "mine.onnx"


def _sidecar(path: Path) -> None:
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace('"std": 128', '"std": 127'))


def _order(path: Path) -> None:
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace("RGB", "BGR"))


def _output(path: Path) -> None:
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace("{", '{"output": "logits", ', 1))


def _labels(path: Path) -> None:
    labels = path.with_name("labels.txt")
    labels.write_text("\n".join([*labels.read_text().splitlines()[1:], "another"]))


def _weights(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\x7a\x00")  # an empty field of a number that ONNX does not know


def _external(path: Path) -> None:
    path.with_name("mine.onnx.data").write_bytes(b"other weights")


@pytest.mark.parametrize("change", [_sidecar, _order, _output, _labels, _weights, _external])
def test_another_classifier_is_refused(
    change: Callable[[Path], None], classifier: Path, photos: Path, tmp_path: Path
) -> None:
    _external(classifier)
    settings = prepare(photos, classifiers=[str(classifier)], limit=1)
    sweep.run(settings, tmp_path / "out")
    if change is _external:
        classifier.with_name("mine.onnx.data").write_bytes(b"weights of another")
    else:
        change(classifier)
    with pytest.raises(BadOptionError, match="identities of mine"):
        sweep.run(prepare(photos, classifiers=[str(classifier)], limit=1), tmp_path / "out", resume=True)


def test_untouched_it_goes_on(classifier: Path, photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos, classifiers=[str(classifier)], limit=1)
    sweep.run(settings, tmp_path / "out")
    before = (tmp_path / "out" / results.TABLE / "part-000000.parquet").read_bytes()
    said: list[str] = []
    sweep.run(prepare(photos, classifiers=[str(classifier)], limit=1), tmp_path / "out", resume=True, tell=said.append)
    assert (tmp_path / "out" / results.TABLE / "part-000000.parquet").read_bytes() == before
    assert said == []


@pytest.mark.parametrize("options", [{"keep_metadata": True}, {"qualities": {"jpeg": [5]}}, {"protocol": "paper"}])
def test_other_options_are_refused(options: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    sweep.run(prepare(photos), tmp_path / "out")
    with pytest.raises(BadOptionError, match=next(iter(options))):
        sweep.run(prepare(photos, **options), tmp_path / "out", resume=True)
