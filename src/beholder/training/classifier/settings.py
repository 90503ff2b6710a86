"""Settings of a job: the command line's options, and a config's hyperparameters, checked before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beholder.errors import BadOptionError
from beholder.training.config_file import (
    CONFIGS,
    Section,
    build,
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


@dataclass(frozen=True)
class ClassifierJob:
    """One run of ``beholder train classifier``."""

    classifier: str
    """A network that can be trained, such as ``inception_v3``."""
    train_data: Path | str
    val_data: Path | str
    job_id: str
    settings: ClassifierSettings
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
        """Settings that must be the same on --resume: everything that the result depends on except for the pictures.

        Values are those that a JSON file holds.
        """
        settings = {key: value for key, value in asdict(self.settings).items() if key not in WITHOUT_EFFECT}
        return {
            "classifier": self.classifier,
            "dataset": self.dataset,
            "pretrained": self.pretrained,
            "train_layers": self.train_layers,
            "settings": json.loads(json.dumps(settings)),
        }


Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Section ``optimizer``; ``momentum`` is Adam's first decay, None means Keras' own."""

    name: str = setting(choice("adam", "rmsprop", "sgd"))
    epsilon: float | None = setting(number(0, 10), None)
    momentum: float | None = setting(number(0, 1), None)
    clip: float = setting(number(0, 1e9), 0.0)
    """Largest norm of all gradients together; 0 for any."""


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """Section ``learning_rate``."""

    initial: float = setting(number(0, 100))
    schedule: str = setting(choice("exponential", "cosine", "constant"), "constant")
    factor: float = setting(number(0, 1), 0.94)
    epochs_per_decay: float = setting(number(1e-6, 1e6), 1.0)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Section ``augmentation`` (:mod:`.pictures`)."""

    area: Range = setting(pair(1e-3, 1), (1.0, 1.0))
    """Fraction of the picture that a crop keeps."""
    aspect: Range = setting(pair(0.1, 10), (1.0, 1.0))
    """Width of a crop divided by its height."""
    short_side: Range | None = setting(pair(1, 65536), None)
    """Instead of the two: length of the picture's short side, for inputs of 224 pixels, before a square is cut out."""
    flip: float = setting(number(0, 1), 0.0)
    """Probability of a mirrored picture."""
    brightness: float = setting(number(0, 1), 0.0)
    """Largest shift; 1 is white."""
    contrast: Range = setting(pair(0, 10), (1.0, 1.0))
    """Factors."""
    saturation: Range = setting(pair(0, 10), (1.0, 1.0))
    """Factors."""


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
    weight_decay: float = setting(number(0, 1), 0.0)
    label_smoothing: float = setting(number(0, 1), 0.0)
    augmentation: Augmentation = setting(Section(Augmentation), Augmentation())
    fresh_layers: tuple[str, ...] = setting(names(), ())
    precision: str = setting(choice("auto", "float32", "mixed_bfloat16", "mixed_float16"), "auto")
    input_size: int | None = setting(whole(32, 4096), None)
    limits: Limits = setting(Section(Limits), Limits())
    seed: int = setting(whole(0, 2**31 - 1), 0)
    workers: int | None = setting(whole(0, 1024), None)
    checkpoint_seconds: float = setting(number(0, 1e9), 180.0)


def read_settings(config: str | Path | None, dataset: str, classifier: str) -> ClassifierSettings:
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
    return build(ClassifierSettings, settings)


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
