"""Observers installed in the user's cache: whole or not there at all."""

import json
import os
import shutil
import sys
from pathlib import Path

import platformdirs
import pytest
from helpers.observers import empty_cache, make_onnx
from PIL import Image

from beholder import observers
from beholder.cli import main
from beholder.errors import BadFileError, BadOptionError, NotAvailableError, OutputError
from beholder.observers import store
from beholder.observers.base import ObserverInfo

INFO = ObserverInfo("x", "Reds", 8, 9, 61.5, "MIT", "here", "arXiv 0", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), "BGR")
LABELS = [("n00000001", "red"), ("", "green"), ("n00000003", "blue")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_onnx(tmp_path / "m.onnx", [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]], softmax=True, features=True)


def leftovers() -> list[str]:
    return sorted(path.name for path in store.observers_dir().iterdir())


def test_what_is_installed_is_an_observer_like_any_other(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store.install("colours_8", model, INFO, LABELS)
    assert folder == store.observers_dir() / "colours_8"
    assert sorted(path.name for path in folder.iterdir()) == ["labels.txt", "model.onnx", "observer.json"]
    assert observers.names()[-1] == "colours_8"
    observer = observers.get("colours_8")
    assert observer.info == ObserverInfo("colours_8", *list(INFO.__dict__.values())[1:])
    assert list(observer.labels) == LABELS
    assert observer.ready()
    best = observer.classify(Image.new("RGB", (20, 20), "red"))[0]
    assert (best.wnid, best.label) == ("n00000003", "blue")  # the network sees BGR
    assert observers.infos()[-1] == observer.info
    assert observers.get(folder / "model.onnx").info == observer.info
    assert main(["observers", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["name"], row["classes"], row["available"], row["top1"]) == ("colours_8", 3, True, 61.5)


def test_bytes_and_other_info(model: Path) -> None:
    store.install("a", model.read_bytes(), INFO, LABELS, output="auto")
    sidecar = json.loads((store.folder("a") / "observer.json").read_text())
    assert sidecar["output"] == "auto"
    assert sidecar["bytes"] == model.stat().st_size
    assert len(sidecar["sha256"]) == 64


def test_nothing_is_replaced_without_force(model: Path) -> None:
    store.install("a", model, INFO, LABELS)
    with pytest.raises(OutputError, match="There is an observer a already"):
        store.install("a", model, INFO, LABELS[:2])
    assert len(observers.get("a").labels) == 3
    store.install("a", model, INFO, LABELS[:2], force=True)
    assert len(observers.get("a").labels) == 2
    assert leftovers() == ["a"]


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a b", "a\n", "x.onnx", "ä", "x" * 101, "-a"])
def test_names_that_are_none(name: str, model: Path) -> None:
    with pytest.raises(BadOptionError, match="is no plain name"):
        store.install(name, model, INFO, LABELS)
    assert not store.observers_dir().exists()


@pytest.mark.parametrize("name", ["efficientnet_lite0", "squeezenet"])
def test_shipped_observers_are_not_replaced(name: str, model: Path) -> None:
    with pytest.raises(BadOptionError, match=f"The observer {name} ships with Beholder"):
        store.install(name, model, INFO, LABELS, force=True)


def test_an_interrupted_installation_leaves_the_old_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.install("a", model, INFO, LABELS)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.install("a", model, INFO, LABELS[:2], force=True)
    rename = os.rename

    def second_fails(source: Path, target: Path) -> None:
        if Path(target).name == "a" and (Path(source) / "labels.txt").read_text().count("\n") == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        store.install("a", model, INFO, LABELS[:2], force=True)
    assert len(observers.get("a").labels) == 3
    assert leftovers() == ["a"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set BEHOLDER_CACHE to another folder"):
        store.install("a", model, INFO, LABELS)
    assert store.installed() == []


def test_damaged_files_are_told_and_hide_nothing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        store.install(name, model, INFO, LABELS)
    (store.folder("a") / "observer.json").write_text("{")
    (store.folder("b") / "model.onnx").write_bytes(model.read_bytes()[:-10])
    assert observers.names()[-3:] == ["a", "b", "c"]
    with pytest.raises(BadFileError, match=r"observer\.json is no JSON file"):
        observers.get("a")
    with pytest.raises(NotAvailableError, match=r"weights of b are damaged .*: prepare or train it again"):
        observers.get("b").predict([])
    assert [info.name for info in observers.infos()][-2:] == ["b", "c"]
    assert main(["observers"]) == 0
    out = capsys.readouterr().out
    assert "no JSON file" in out
    assert "weights of b are damaged" in out


def test_a_damaged_prepared_observer_names_the_command(model: Path) -> None:
    store.install("mobilenet", model, INFO, LABELS)
    assert observers.get("mobilenet").ready()
    (store.folder("mobilenet") / "labels.txt").unlink()
    assert "run `beholder prepare mobilenet --force`" in str(observers.get("mobilenet").unavailable())
    assert observers.names().count("mobilenet") == 1


def test_the_cache_lies_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BEHOLDER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert store.cache_dir() == tmp_path / "beholder"
    assert store.cache_dir() == platformdirs.user_cache_path("beholder", appauthor=False)
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "chosen"))
    assert store.cache_dir() == tmp_path / "chosen"
