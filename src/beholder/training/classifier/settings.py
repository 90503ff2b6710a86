"""Settings of a job: the command line's options, and a config's hyperparameters, checked before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.errors import BadOptionError

CONFIGS = Path(__file__).parents[1] / "configs"
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
    """None: random weights; ``imagenet``; or a file of weights."""
    train_layers: str = "all"
    """``all``, ``head``, or names of layers and beginnings of names, separated by commas."""
    runs: Path = Path("runs")
    resume: bool = False
    device: str = "auto"

    @property
    def folder(self) -> Path:
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


def _number(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    def check(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    return check, f"a number from {low:g} to {high:g}"


def _whole(low: int, high: int = 10**9) -> tuple[Callable[[Any], bool], str]:
    def check(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return check, f"a whole number from {low}" + (f" to {high}" if high < 10**9 else "")


def _range(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    single, _ = _number(low, high)

    def check(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 2 and all(map(single, value)) and value[0] <= value[1]

    return check, f"two rising numbers from {low:g} to {high:g}"


def _choice(*options: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in options, f"one of {', '.join(options)}"


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_SCHEMA: dict[str, Any] = {
    "epochs": _whole(1),
    "batch": _whole(1, 65536),
    "optimizer": {
        "name": _choice("adam", "rmsprop", "sgd"),
        "epsilon": _number(0, 10),
        "momentum": _number(0, 1),
        "clip": _number(0, 1e9),
    },
    "learning_rate": {
        "initial": _number(0, 100),
        "schedule": _choice("exponential", "cosine", "constant"),
        "factor": _number(0, 1),
        "epochs_per_decay": _number(1e-6, 1e6),
    },
    "weight_decay": _number(0, 1),
    "label_smoothing": _number(0, 1),
    "augmentation": {
        "area": _range(1e-3, 1),
        "aspect": _range(0.1, 10),
        "short_side": _range(1, 65536),
        "flip": _number(0, 1),
        "brightness": _number(0, 1),
        "contrast": _range(0, 10),
        "saturation": _range(0, 10),
    },
    "fresh_layers": (_names, "a list of names of layers"),
    "precision": _choice("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    "input_size": _whole(32, 4096),
    "limits": {"train": _whole(1), "val": _whole(1), "steps": _whole(1)},
    "seed": _whole(0, 2**31 - 1),
    "workers": _whole(0, 1024),
    "checkpoint_seconds": _number(0, 1e9),
}
_REQUIRED = ("epochs", "batch", "optimizer", "learning_rate")


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
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(DATASETS)
        raise BadOptionError(f"There is no config {path}: give a JSON file, or one of {known}.") from None
    except ValueError as error:
        raise BadOptionError(f"The config {path} is not valid JSON ({error}): correct it.") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("networks", {}), dict):
        raise BadOptionError(f"The config {path} is no JSON object of settings: compare it with one that ships.")
    networks = settings.pop("networks", {})
    for name, section in networks.items():
        _check(section, _SCHEMA, f"{path}, networks.{name}")
    settings |= networks.get(classifier, {})
    _check(settings, _SCHEMA, str(path))
    missing = [key for key in _REQUIRED if key not in settings]
    missing += [f"optimizer.{key}" for key in ("name",) if key not in settings.get("optimizer", {"name": 0})]
    missing += [f"learning_rate.{key}" for key in ("initial",) if key not in settings.get("learning_rate", {key: 0})]
    if missing:
        raise BadOptionError(f"The config {path} lacks {', '.join(missing)}: add what is missing.")
    return dict(settings)


def _check(section: Any, schema: dict[str, Any], where: str, prefix: str = "") -> None:
    if not isinstance(section, dict):
        raise BadOptionError(f"In the config {where}, {prefix.rstrip('.') or 'the whole'} must be a JSON object.")
    for key, value in section.items():
        if key not in schema:
            close = difflib.get_close_matches(key, schema, 1)
            advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(schema)}."
            raise BadOptionError(f"The config {where} has an unknown setting {prefix}{key}: {advice}")
        if isinstance(schema[key], dict):
            _check(value, schema[key], where, f"{prefix}{key}.")
        else:
            allowed, words = schema[key]
            if not allowed(value):
                raise BadOptionError(f"In the config {where}, {prefix}{key} is {json.dumps(value)}: give {words}.")


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
