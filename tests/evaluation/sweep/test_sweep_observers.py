"""Observers of a sweep: objects wherever names are taken, here and in worker processes."""

import json
import pickle
from pathlib import Path

import pytest
from helpers.observers import RED_GREEN_BLUE, make_onnx
from helpers.sweeps import prepare, rows_of, without_times, write_photos

from beholder import observers
from beholder.errors import BadOptionError
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep.watchers import Given, resolve
from beholder.evaluation.sweep.workers import processes
from beholder.observers import Observer
from beholder.targets.kinds import KeepLabel


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = make_onnx(tmp_path / "colours.onnx", RED_GREEN_BLUE)
    sidecar = {"input_size": 8, "mean": 0, "std": 255, "channel_order": "RGB", "labels": "colours.txt"}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    path.with_suffix(".txt").write_text("red\ngreen\nblue\n")
    return path


def test_an_object_gives_the_rows_of_its_file(model: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    by_path = without_times(rows_of(prepare(photos, classifiers=[model]), tmp_path / "path"))
    settings = prepare(photos, classifiers=[observers.get(model)])
    assert without_times(rows_of(settings, tmp_path / "object")) == by_path
    workers = rows_of(settings, tmp_path / "workers", runner=processes(1))
    assert without_times(workers) == by_path
    facts = json.loads((tmp_path / "object" / "settings.json").read_text())
    assert facts["classifier_sources"] == {"colours": "beholder.observers.onnx_observer.OnnxObserver"}
    # The same object in another process may go on with it.
    again = prepare(photos, classifiers=[observers.get(model)])
    assert sweep.run(again, tmp_path / "object", resume=True).rows == len(by_path)


def test_what_settings_keep_of_an_observer(model: Path) -> None:
    observer = observers.get(model)
    sources = resolve([observer, "squeezenet", observer, model, str(model), "squeezenet"])
    assert [str(source) for source in sources[1:]] == ["squeezenet", str(model.resolve())]
    assert isinstance(sources[0], Given)
    copy = pickle.loads(pickle.dumps(sources[0]))
    assert copy == sources[0]
    assert hash(copy) == hash(sources[0])
    assert Given(observer) != sources[0]


def test_two_of_one_name(model: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    with pytest.raises(BadOptionError, match="Two classifiers are called colours"):
        prepare(photos, classifiers=[model, observers.get(model)])
    with pytest.raises(BadOptionError, match="A classifier cannot be int"):
        prepare(photos, classifiers=[3])


def test_a_target_takes_an_observer(model: Path) -> None:
    observer: Observer = observers.get(model)
    assert KeepLabel(observer)._observer() is observer
    assert "colours" in KeepLabel(classifier=observer).describe()
