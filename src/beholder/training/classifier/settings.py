"""Settings of a job: the command line's options, and a config's hyperparameters, checked before anything runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.errors import BadOptionError
from beholder.training.config_file import (
    CONFIGS,
    Section,
    check,
    choice,
    names,
    number,
    pair,
    read_object,
    setting,
    whole,
)

DATASETS = ("folder", "stanford_dogs", "cub200", "imagenet")
"""Choices of ``--dataset``; ``folder`` is anything that :mod:`beholder.data` can read by itself."""
WITHOUT_EFFECT = ("workers", "checkpoint_seconds")
"""Settings that change how fast a job runs but not what it computes: they may differ on --resume."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class ClassifierJob:
    """One run of ``beholder train classifier``."""

    classifier: str
    """A network that can be trained, such as ``inception_v3``."""
    train_data: Path | str
    val_data: Path | str
    job_id: str
    settings: Settings
    """Result of :func:`read_settings`."""
    dataset: str = "folder"
    pretrained: str | None = None
    """Initial weights: None for random ones, ``imagenet``, or a file."""
    train_layers: str = "all"
    """``all``, ``head``, or names of layers and beginnings of names, separated by commas."""
    runs: Path = Path("runs")
    resume: bool = False
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """The job's folder, which holds its checkpoint, weights and history."""
        return self.runs / self.job_id

    @property
    def last(self) -> Path:
        """The checkpoint that ``--resume`` goes on from."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The weights with the highest validation accuracy, in Keras' own format."""
        return self.folder / "best.weights.h5"

    def terms(self) -> dict[str, Any]:
        """Settings that must be the same on --resume: everything that the result depends on except for the pictures."""
        settings = {key: value for key, value in self.settings.items() if key not in WITHOUT_EFFECT}
        return {
            "classifier": self.classifier,
            "dataset": self.dataset,
            "pretrained": self.pretrained,
            "train_layers": self.train_layers,
            "settings": settings,
        }


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Section ``optimizer``; ``momentum`` is Adam's first decay."""

    name: str = setting(choice("adam", "rmsprop", "sgd"))
    epsilon: float | None = setting(number(0, 10), None)
    momentum: float | None = setting(number(0, 1), None)
    clip: float | None = setting(number(0, 1e9), None)


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """Section ``learning_rate``."""

    initial: float = setting(number(0, 100))
    schedule: str | None = setting(choice("exponential", "cosine", "constant"), None)
    factor: float | None = setting(number(0, 1), None)
    epochs_per_decay: float | None = setting(number(1e-6, 1e6), None)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Section ``augmentation`` (:mod:`.pictures`)."""

    area: tuple[float, float] | None = setting(pair(1e-3, 1), None)
    aspect: tuple[float, float] | None = setting(pair(0.1, 10), None)
    short_side: tuple[float, float] | None = setting(pair(1, 65536), None)
    flip: float | None = setting(number(0, 1), None)
    brightness: float | None = setting(number(0, 1), None)
    contrast: tuple[float, float] | None = setting(pair(0, 10), None)
    saturation: tuple[float, float] | None = setting(pair(0, 10), None)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Section ``limits``: at most so many pictures, or steps of an epoch."""

    train: int | None = setting(whole(1), None)
    val: int | None = setting(whole(1), None)
    steps: int | None = setting(whole(1), None)


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Keys of a config; the section ``networks`` holds others for single networks."""

    epochs: int = setting(whole(1))
    batch: int = setting(whole(1, 65536))
    optimizer: Optimizer = setting(Section(Optimizer))
    learning_rate: LearningRate = setting(Section(LearningRate))
    weight_decay: float | None = setting(number(0, 1), None)
    label_smoothing: float | None = setting(number(0, 1), None)
    augmentation: Augmentation | None = setting(Section(Augmentation), None)
    fresh_layers: tuple[str, ...] | None = setting(names(), None)
    precision: str | None = setting(choice("auto", "float32", "mixed_bfloat16", "mixed_float16"), None)
    input_size: int | None = setting(whole(32, 4096), None)
    limits: Limits | None = setting(Section(Limits), None)
    seed: int | None = setting(whole(0, 2**31 - 1), None)
    workers: int | None = setting(whole(0, 1024), None)
    checkpoint_seconds: float | None = setting(number(0, 1e9), None)


def read_settings(config: str | Path | None, dataset: str, classifier: str) -> Settings:
    """The hyperparameters of a config for one network.

    Args:
        config: a JSON file, or one of DATASETS; None: the one that ships for ``dataset``.
        dataset: one of DATASETS.
        classifier: the config's section ``networks`` may hold other values for single networks.

    Raises:
        BadOptionError: no such file, no JSON, unknown keys, values out of range.
    """
    if dataset not in DATASETS:
        raise BadOptionError(f"There is no data set {dataset!r}: choose one of {', '.join(DATASETS)}.")
    path = Path(config or dataset)
    if config is None or (not path.is_file() and str(config) in DATASETS):
        path = CONFIGS / f"classifier_{config or dataset}.json"
    if not path.is_file():
        raise BadOptionError(f"There is no config {path}: give a JSON file, or one of {', '.join(DATASETS)}.")
    settings = read_object(path)
    networks = settings.pop("networks", {})
    if not isinstance(networks, dict):
        raise BadOptionError(f"In the config {path}, networks must be a JSON object.")
    whole_config = Section(ClassifierSettings)
    for name, section in networks.items():
        check(section, whole_config, str(path), f"networks.{name}.", partial=True)
    settings |= networks.get(classifier, {})
    check(settings, whole_config, str(path))
    return settings


def difference(old: Any, new: Any, name: str = "") -> str | None:
    """The first setting in which two jobs differ, in words; None if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name and name != "settings" else key
            found = difference(old.get(key), new.get(key), inner)
            if found:
                return found
        return None
    return None if old == new else f"{name} {json.dumps(old)}, now {json.dumps(new)}"
