"""A toy network among the known ones, pictures for it, and jobs that train it in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from beholder.observers import specs
from beholder.observers.base import ObserverInfo
from beholder.training.classifier.run import Outcome, train_classifier
from beholder.training.classifier.settings import ClassifierJob, ClassifierSettings
from beholder.training.classifier.state import read
from beholder.training.config_file import build

SIDE = 32
COLOURS = {"red": (190, 70, 60), "green": (70, 180, 80), "blue": (60, 80, 190)}
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch": 8,
    "optimizer": {"name": "adam", "epsilon": 1e-7},
    "learning_rate": {"initial": 0.01, "schedule": "exponential", "factor": 0.5, "epochs_per_decay": 1},
    "weight_decay": 1e-4,
    "label_smoothing": 0.1,
    "augmentation": {
        "area": [0.3, 1],
        "aspect": [0.75, 1.33],
        "flip": 0.5,
        "brightness": 0.1,
        "saturation": [0.5, 1.5],
    },
    "seed": 3,
    "workers": 0,
}


def tiny(weights: None = None, classes: int = 1000, name: str = "tiny") -> Any:
    """All kinds of layers that matter here: batch normalisation, depthwise, dropout, a head."""
    import keras
    from keras import layers

    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="stem_conv")(pixels)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False, name="block_conv")(x)
    x = layers.BatchNormalization(name="block_bn")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", name="predictions")(x), name=name)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The toy network among the known ones; observers go to a folder of the test's own."""
    make_known(monkeypatch, tmp_path)


def make_known(monkeypatch: pytest.MonkeyPatch, folder: Path, builder: str = f"{__name__}:tiny") -> None:
    """Put the toy network among the known ones, and observers into ``folder``."""
    info = ObserverInfo("tiny", "Tiny", SIDE, 227, None, "MIT", "here", "none", (127.0,) * 3, (128.0,) * 3, "BGR")
    network = specs.Network(info, builder, specs.Download("http://127.0.0.1:1/tiny.h5", None))
    monkeypatch.setitem(specs.NETWORKS, "tiny", network)
    monkeypatch.setenv("BEHOLDER_CACHE", str(folder / "cache"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with noisy pictures of three colours."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(colour) + rng.normal(0, 70, (36, 44, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


Run = Callable[..., Outcome]


@pytest.fixture
def run(toy: None, photos: Path, tmp_path: Path) -> Run:
    """Train the toy network; keywords are those of ClassifierJob or settings."""

    def call(job_id: str = "toy", **options: Any) -> Outcome:
        return train_classifier(make_job(photos, tmp_path, job_id, **options))

    return call


def make_job(photos: Path, folder: Path, job_id: str = "toy", **options: Any) -> ClassifierJob:
    fields = ClassifierJob.__dataclass_fields__
    settings = build(ClassifierSettings, SETTINGS | {key: value for key, value in options.items() if key not in fields})
    given = {key: value for key, value in options.items() if key in fields}
    given = {"train_data": photos / "train", "val_data": photos / "val", "device": "cpu"} | given
    return ClassifierJob("tiny", job_id=job_id, settings=settings, runs=folder / "runs", **given)


def same(a: Any, b: Any) -> bool:
    """Bit-identical, tensors and all."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def checkpoint(folder: Path, job_id: str = "toy") -> dict[str, Any]:
    content = read(folder / "runs" / job_id / "last.pt")
    return content | {"progress": vars(content["progress"])}
