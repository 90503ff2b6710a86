"""`beholder train classifier` as a whole, with a toy network: it learns, resumes exactly, and becomes an observer."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

from helpers.classifier_toy import (
    COLOURS,
    SETTINGS,
    Run,
    checkpoint,
    make_job,
    make_known,
    photos,
    run,
    same,
    tiny,
    toy,
)

from beholder import observers
from beholder.training.classifier.run import train_classifier

pytestmark = pytest.mark.xdist_group("classifier")  # one process, for its fixture takes seconds

__all__ = ["photos", "run", "toy"]  # fixtures


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of an uninterrupted job of two epochs."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_known(patch, folder)
        assert train_classifier(make_job(photos, folder, "whole", epochs=2)).finished
    return folder


def test_it_learns_and_becomes_an_observer(run: Run, tmp_path: Path, photos: Path) -> None:
    outcome = run(epochs=8, label_smoothing=0.0)
    assert outcome.finished
    assert outcome.accuracy == 1
    history = checkpoint(tmp_path)["progress"]["history"]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert [row["learning_rate"] for row in history] == pytest.approx([0.01 * 0.5**n for n in range(1, 9)], rel=1e-3)
    assert "toy" in observers.names()
    observer = observers.get("toy")
    assert observer.ready()
    assert [name for _, name in observer.labels] == sorted(COLOURS)
    assert observer.info.top1 == 100
    assert observer.info.channel_order == "BGR"
    for name in COLOURS:
        picture = Image.open(photos / "val" / name / "0.png")
        best = observer.classify(picture, topk=1)[0]
        assert best.label == name


def test_what_a_job_leaves(run: Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(epochs=2)
    folder = tmp_path / "runs" / "toy"
    assert {path.name for path in folder.iterdir()} == {
        *("last.pt", "best.weights.h5", "history.csv", "settings.json", "tensorboard")
    }
    rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    steps = 36 // SETTINGS["batch"]
    for tag in ("train/loss", "train/accuracy", "train/learning_rate", "val/loss", "val/accuracy"):
        assert [event.step for event in events.Scalars(tag)] == [steps, 2 * steps]
        name = tag.replace("train/", "").replace("/", "_")
        assert events.Scalars(tag)[1].value == pytest.approx(float(rows[1][name]), rel=1e-4)


def test_best_and_last_weights(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best weights are those of the epoch with the highest validation accuracy, not the last ones."""
    import keras

    from beholder.training.classifier import callbacks

    kept: list[tuple[float, Any]] = []
    end = callbacks.Curves.on_epoch_end

    def spoiled(self: Any, epoch: int, logs: dict[str, float]) -> None:
        kept.append((epoch, [weight.numpy().copy() for weight in self.checkpoints.module.network.weights]))
        end(self, epoch, logs | {"val_accuracy": [0.4, 0.9, 0.6][epoch]})

    monkeypatch.setattr(callbacks.Curves, "on_epoch_end", spoiled)
    assert run(epochs=3).accuracy == pytest.approx(0.9)
    model = tiny(classes=3)
    model.load_weights(tmp_path / "runs" / "toy" / "best.weights.h5")
    assert all(np.array_equal(weight.numpy(), value) for weight, value in zip(model.weights, kept[1][1], strict=True))
    for weight, value in zip(model.weights, checkpoint(tmp_path)["weights"], strict=True):
        weight.assign(value)
    assert all(np.array_equal(weight.numpy(), value) for weight, value in zip(model.weights, kept[2][1], strict=True))
    assert keras.backend.backend() == "torch"


# Interrupted and resumed.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "where", [("on_train_batch_end", 6), ("on_train_batch_end", 4), ("on_test_batch_end", 1)], ids=["mid", "end", "val"]
)
def test_interrupted_and_resumed_is_the_same_run(
    run: Run,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, int],
    number: signal.Signals,
) -> None:
    """A signal in an epoch, at its end, or while it is validated; two worker processes instead of none afterwards."""
    from beholder.training.classifier import callbacks

    method, when = where
    calls = 0
    original = getattr(callbacks.Checkpoints, method)

    def interrupted(self: Any, batch: int, logs: Any = None) -> None:
        nonlocal calls
        calls += 1
        if calls == when:
            os.kill(os.getpid(), number)
        original(self, batch, logs)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, method, interrupted)
        outcome = run("parts", epochs=2)
    assert not outcome.finished
    assert outcome.observer is None
    assert "parts" not in observers.names()
    assert signal.getsignal(number) is handler
    half, expected = checkpoint(tmp_path, "parts"), checkpoint(whole, "whole")
    assert not same(half["weights"], expected["weights"])
    assert run("parts", epochs=2, resume=True, workers=2 if method == "on_train_batch_end" else 0).finished
    resumed = checkpoint(tmp_path, "parts")
    for part in ("weights", "optimizer", "progress", "classes"):
        assert same(resumed[part], expected[part]), part
    for name in ("history.csv", "best.weights.h5"):
        ours, theirs = (tmp_path / "runs/parts" / name).read_bytes(), (whole / "runs/whole" / name).read_bytes()
        assert name != "history.csv" or ours == theirs
    assert (tmp_path / "cache/observers/parts/model.onnx").read_bytes() == (
        whole / "cache/observers/whole/model.onnx"
    ).read_bytes()


def test_killed_and_resumed_is_the_same_run(
    run: Run, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written when the process dies; what was written before, within an epoch, is enough."""
    from beholder.training.classifier import module

    step = module.ClassifierModule.train_step
    calls = 0

    class Killed(BaseException):
        pass

    def dies(self: Any, data: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Killed
        return step(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(module.ClassifierModule, "train_step", dies)
        with pytest.raises(Killed):
            run("parts", epochs=2, checkpoint_seconds=0)
    assert checkpoint(tmp_path, "parts")["progress"]["step"] == 2  # of the second epoch
    run("parts", epochs=2, resume=True, checkpoint_seconds=180)
    expected, resumed = checkpoint(whole, "whole"), checkpoint(tmp_path, "parts")
    for part in ("weights", "optimizer", "progress"):
        assert same(resumed[part], expected[part]), part


def test_a_finished_job_can_be_exported_again(run: Run, tmp_path: Path) -> None:
    run(epochs=1)
    model = tmp_path / "cache" / "observers" / "toy" / "model.onnx"
    before = model.read_bytes()
    model.write_bytes(b"damaged")
    assert run(epochs=1, resume=True).finished
    assert model.read_bytes() == before


# What learns, and from what.


@pytest.mark.parametrize(
    ("layers", "learning"),
    [
        ("head", {"predictions"}),
        ("head,block", {"predictions", "block_conv", "block_bn"}),
        ("block_conv+", {"block_conv", "block_bn", "predictions"}),
        ("stem_bn", {"stem_bn"}),
    ],
)
def test_frozen_layers_stay_as_they_are(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str, learning: set[str]
) -> None:
    """Weights and moving averages alike."""
    from beholder.training.classifier import loop

    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    original = loop.Training.run

    def watched(self: Any) -> bool:
        def weights() -> dict[str, Any]:
            return {layer.name: [w.numpy().copy() for w in layer.weights] for layer in self.module.network.layers}

        before.update(weights())
        finished = original(self)
        after.update(weights())
        return finished

    monkeypatch.setattr(loop.Training, "run", watched)
    run(epochs=1, train_layers=layers)
    for name, values in before.items():
        moved = [not np.array_equal(old, new) for old, new in zip(values, after[name], strict=True)]
        assert all(moved) if name in learning else not any(moved), name


def test_first_weights_from_files(run: Run, photos: Path, tmp_path: Path) -> None:
    """A checkpoint of ours and Keras' own format: all layers with the same classes, all but the head with others."""
    from beholder.training.classifier import network

    run("first", epochs=1)
    folder = tmp_path / "runs" / "first"
    trained = checkpoint(tmp_path, "first")["weights"]
    reference = tiny(classes=3)
    reference.load_weights(folder / "best.weights.h5")
    for file in ("last.pt", "best.weights.h5"):
        job = make_job(photos, tmp_path, "second", pretrained=str(folder / file))
        for classes in (3, 5):
            model = network.build(job, classes)
            for layer, source in zip(model.layers, reference.layers, strict=True):
                equal = [np.array_equal(a, b) for a, b in zip(layer.get_weights(), source.get_weights(), strict=True)]
                assert all(equal) if classes == 3 or layer.name != "predictions" else not all(equal), (file, layer.name)
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(reference.weights, trained, strict=True))
    fresh = make_job(photos, tmp_path, "third", pretrained=str(folder / "last.pt"), fresh_layers=["block_conv"])
    for layer, source in zip(network.build(fresh, 3).layers, reference.layers, strict=True):
        equal = [np.array_equal(a, b) for a, b in zip(layer.get_weights(), source.get_weights(), strict=True)]
        assert not all(equal) if layer.name == "block_conv" else all(equal), layer.name


def test_the_validation_is_what_the_observer_measures(run: Run, photos: Path, tmp_path: Path) -> None:
    """Validation accuracy and loss of the last epoch, computed again through the ONNX graph on files."""
    run(epochs=1, label_smoothing=0.0)
    row = checkpoint(tmp_path)["progress"]["history"][0]
    observer = observers.get("toy")
    files = [
        (number, path) for number, name in enumerate(sorted(COLOURS)) for path in (photos / "val" / name).iterdir()
    ]
    found = observer.predict([observer.view(Image.open(path)) for _, path in files])
    labels = [number for number, _ in files]
    assert row["val_accuracy"] == pytest.approx(np.mean(found.argmax(1) == labels))
    assert row["val_loss"] == pytest.approx(-np.mean(np.log(found[np.arange(len(files)), labels])), rel=1e-3)


def test_a_data_set_as_it_is_published(run: Run, photos: Path, tmp_path: Path) -> None:
    """CUB-200-2011's lists: one folder holds both splits."""
    root = tmp_path / "CUB_200_2011"
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "classes": []}
    number = 0
    for index, name in enumerate(sorted(COLOURS), 1):
        lists["classes"].append(f"{index} {index:03}.{name}_Bird")
        for split in ("train", "val"):
            for path in sorted((photos / split / name).iterdir()):
                number += 1
                image = root / "images" / f"{index:03}.{name}_Bird" / f"{number}.png"
                image.parent.mkdir(parents=True, exist_ok=True)
                image.write_bytes(path.read_bytes())
                lists["images"].append(f"{number} {image.parent.name}/{image.name}")
                lists["image_class_labels"].append(f"{number} {index}")
                lists["train_test_split"].append(f"{number} {int(split == 'train')}")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    assert run(dataset="cub200", train_data=root, val_data=root, epochs=1).finished
    assert checkpoint(tmp_path)["counts"] == [36, 15]
    observer = observers.get("toy")
    assert [name for _, name in observer.labels] == [f"{name} Bird" for name in sorted(COLOURS)]
    assert observer.info.title == "Tiny, trained on CUB-200-2011"
