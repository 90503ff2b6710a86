"""What the tests of sweeps share: photographs, cheap settings, an observer that counts how often it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from helpers.photos import make_photo
from PIL import Image

from beholder import data
from beholder.evaluation.sweep import results
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep import settings as sweep_settings
from beholder.evaluation.sweep.settings import Settings

OBSERVER = "efficientnet_lite0"


def write_photos(folder: Path, count: int = 4) -> Path:
    """Photographs with labels in their names."""
    folder.mkdir()
    for number in range(count):
        make_photo(96, 72, seed=number).save(folder / f"{(3, 281, 500, 999)[number % 4] - number // 4:04d}_photo.png")
    return folder


def prepare(photos: Path, **options: Any) -> Settings:
    """Settings of a cheap sweep."""
    defaults: dict[str, Any] = {"codecs": ["jpeg"], "qualities": {"jpeg": [5, 50]}, "classifiers": []}
    return sweep_settings.prepare(photos, **(defaults | options))


def rows_of(settings: Settings, folder: Path, **options: Any) -> list[dict[str, Any]]:
    sweep.run(settings, folder, **options)
    rows: list[dict[str, Any]] = results.read(folder).to_pylist()
    return rows


class Watcher:
    """An observer that sees the mean colour and counts how often it is asked."""

    def __init__(self, name: str, size: int, classes: Sequence[tuple[str, str]] | None = None) -> None:
        self.info = SimpleNamespace(name=name, input_size=size)
        self.labels = tuple(classes or ((c.wnid, c.name) for c in data.imagenet_classes()))
        self.shown: list[Image.Image] = []

    def unavailable(self) -> str | None:
        return None

    def view(self, image: Image.Image) -> Image.Image:
        return image.convert("RGB").resize((self.info.input_size, self.info.input_size))

    def features(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.array([np.asarray(image, np.float32).mean((0, 1)) for image in images])

    def predict(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.shown += images
        scores = np.zeros((len(images), len(self.labels)), np.float32)
        for row, colour in zip(scores, self.features(images), strict=True):
            row[int(colour.sum()) % len(row)] = 0.75
            row[0] += 0.25
        return scores


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]
