"""`beholder train classifier` on the command line, on several processes, and with the networks that ship."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

import torch
from helpers.classifier_toy import COLOURS, SETTINGS, make_job, make_known, photos, toy
from helpers.processes import run_members

from beholder import observers
from beholder.cli import main
from beholder.training.classifier.run import train_classifier
from beholder.training.classifier.state import read

__all__ = ["photos", "toy"]  # fixtures


@pytest.fixture
def arguments(toy: None, photos: Path, tmp_path: Path) -> list[str]:
    """A command line that works."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SETTINGS | {"epochs": 1}))
    data = ["--train-data", str(photos / "train"), "--val-data", str(photos / "val")]
    job = ["--job-id", "toy", "--runs", str(tmp_path / "runs"), "--config", str(config), "--device", "cpu"]
    return ["train", "classifier", "--classifier", "tiny", *data, *job]


def test_from_photographs_to_an_observer(
    arguments: list[str],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "val_accuracy" in printed
    assert "Best validation accuracy: " in printed
    assert f"Observer toy: {tmp_path / 'cache' / 'observers' / 'toy'}" in printed
    assert main(["observers"]) == 0
    assert "toy" in capsys.readouterr().out
    picture = photos / "val" / "red" / "0.png"
    assert main(["evaluate-image", str(picture), "-c", "jpeg", "-q", "50", "--classifier", "toy", "--topk", "2"]) == 0
    evaluated = capsys.readouterr().out
    assert sum(name in evaluated for name in COLOURS) >= 2
    assert main([*arguments, "--resume"]) == 0  # done already: makes the observer again


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--classifier": "alexnet"}, "no network 'alexnet': choose one of"),
        ({"--dataset": "cats"}, "no data set 'cats'"),
        ({"--device": "tpu"}, "no device 'tpu'"),
        ({"--job-id": "../x"}, "no plain name"),
        ({"--job-id": "vgg16"}, "an observer vgg16 already"),
        ({"--train-data": "missing"}, "missing"),
        ({"--val-data": "missing"}, "missing"),
        ({"--config": "missing.json"}, "no config missing.json"),
        ({"--pretrained": "missing.h5"}, "missing.h5"),
        ({"--train-layers": "stam"}, "did you mean stem_"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], words: str
) -> None:
    for option, value in changes.items():
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        else:
            arguments += [option, value]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "runs").exists()


def plain(weights: None = None, classes: int = 1000, name: str = "tiny") -> Any:
    """No batch normalisation, no dropout: what a batch gives does not depend on how it is shared out."""
    import keras
    from keras import layers

    pixels = keras.Input((32, 32, 3), name="pixels")
    x = layers.Conv2D(8, 3, 4, activation="relu", name="stem_conv")(pixels)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", name="predictions")(x), name=name)


_MEMBER = """
import sys
sys.path[:0] = {folders!r}
import test_classifier_command
from pathlib import Path
from helpers.classifier_toy import make_job, make_known
from pytest import MonkeyPatch
from beholder.training.classifier.run import train_classifier
make_known(MonkeyPatch(), Path({folder!r}), "test_classifier_command:plain")
print(train_classifier(make_job(Path({photos!r}), Path({folder!r}), {job!r}, epochs=3)))
"""


def train_together(photos: Path, folder: Path, job: str, world: int) -> list[str]:
    """Run a job on ``world`` processes as torchrun starts them; what each printed."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    code = _MEMBER.format(folders=folders, photos=str(photos), folder=str(folder), job=job)
    return run_members(code, world)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same loss curve with the same global batch, but for rounding; only the first process prints."""
    make_known(monkeypatch, tmp_path, f"{__name__}:plain")
    train_classifier(make_job(photos, tmp_path, "one", epochs=3))
    first, second = train_together(photos, tmp_path, "two", 2)
    assert "Epoch 3/3" in first
    assert "Epoch" not in second
    one, two = (read(tmp_path / "runs" / job / "last.pt") for job in ("one", "two"))
    for ours, theirs in zip(one["progress"].history, two["progress"].history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for ours, theirs in zip(one["weights"], two["weights"], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert len({row["loss"] for row in one["progress"].history}) == 3


@pytest.mark.slow
def test_a_network_that_ships(toy: None, tmp_path: Path) -> None:
    """SqueezeNet's head on pictures that differ in colour: ONNX and Keras agree, and it knows the classes."""
    from beholder.training.classifier.run import train_classifier
    from beholder.training.classifier.settings import ClassifierJob, ClassifierSettings
    from beholder.training.config_file import build

    for split, count in (("train", 4), ("val", 2)):
        for name, colour in (("dark", 40), ("light", 210)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).normal(colour, 20, (64, 64, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    changed = {"epochs": 4, "batch": 8, "learning_rate": {"initial": 1e-4}, "augmentation": {}}
    settings = build(ClassifierSettings, SETTINGS | changed)
    job = ClassifierJob(
        "squeezenet", tmp_path / "train", tmp_path / "val", "small", settings, runs=tmp_path / "runs", device="cpu"
    )
    outcome = train_classifier(job)
    assert outcome.finished
    observer = observers.get("small")
    assert observer.info.input_size == 227
    assert observer.classes == 2
    history = read(tmp_path / "runs" / "small" / "last.pt")["progress"].history
    assert history[-1]["loss"] < history[0]["loss"]
