"""The JSON file beside a classifier's ONNX file: how it wants its pixels, and where it comes from.

Needed by any classifier that is given as a file::

    {"input_size": 224, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "channel_order": "RGB"}

Pixels are 0..255; ``mean`` is subtracted and the difference divided by ``std``, both in ``channel_order`` (one
number serves for all three channels).  Optional: ``output`` (``probabilities``, ``logits`` or, the default,
``auto``: softmax where rows do not sum to 1), ``labels`` (a file beside this one, or ``imagenet``), and
``name``, ``title``, ``parameters``, ``top1``, ``licence``, ``source``, ``paper``, ``bytes``, ``sha256``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from beholder.errors import BadFileError
from beholder.observers.base import ObserverInfo

Output = Literal["auto", "probabilities", "logits"]

IMAGENET = "imagenet"
"""In place of a labels file: the 1000 classes of ILSVRC-2012 in their usual order."""
REQUIRED = ("input_size", "mean", "std", "channel_order")
LARGEST_INPUT = 4096
EXAMPLE = (
    '{"input_size": 224, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "channel_order": "RGB"}'
)

_MOST_BYTES = 1 << 20
_UNKNOWN = "not stated"


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says."""

    info: ObserverInfo
    output: Output = "auto"
    labels: str | None = None
    """Name of a file in the sidecar's folder, or ``imagenet``."""
    bytes: int | None = None
    """Size of the ONNX file."""
    sha256: str | None = None

    def to_json(self) -> str:
        """The text of the file."""
        extra = {"output": self.output, "labels": self.labels, "bytes": self.bytes, "sha256": self.sha256}
        return json.dumps(asdict(self.info) | extra, indent=1) + "\n"


def read(path: Path, name: str) -> Sidecar:
    """Read the sidecar at ``path``; ``name`` is the observer's where the file names none.

    Raises:
        BadFileError: the file is missing or says nothing useful; the sentence says what is missing.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too large")
        fields = json.loads(data)
    except FileNotFoundError:
        raise BadFileError(f"There is no {path}: write how the classifier wants its pixels, as {EXAMPLE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFileError(f"{path} is no JSON file ({reason}): write it as {EXAMPLE}.") from None
    if not isinstance(fields, dict):
        raise BadFileError(f"{path} is no JSON object: write it as {EXAMPLE}.")
    missing = [key for key in REQUIRED if key not in fields]
    if missing:
        raise BadFileError(f"{path} does not say {_and(missing)}: write it as {EXAMPLE}.")
    return _Reader(path, fields).sidecar(name)


@dataclass(frozen=True)
class _Reader:
    path: Path
    fields: dict[str, Any]

    def sidecar(self, name: str) -> Sidecar:
        info = ObserverInfo(
            name=self.text("name", name),
            title=self.text("title", self.text("name", name)),
            input_size=self.size(),
            parameters=self.count("parameters"),
            top1=self.percent("top1"),
            licence=self.text("licence", _UNKNOWN),
            source=self.text("source", str(self.path.parent)),
            paper=self.text("paper", _UNKNOWN),
            mean=self.triple("mean"),
            std=self.triple("std"),
            channel_order=cast(Literal["RGB", "BGR"], self.choice("channel_order", ("RGB", "BGR"), "RGB")),
        )
        if min(info.std) <= 0:
            raise self.bad("std", "three positive numbers")
        output = cast(Output, self.choice("output", get_args(Output), "auto"))
        labels = self.text("labels", "") or None
        if labels is not None and Path(labels).name != labels:
            raise self.bad("labels", "the name of a file in the same folder")
        return Sidecar(info, output, labels, self.count("bytes"), self.text("sha256", "") or None)

    def bad(self, key: str, wanted: str) -> BadFileError:
        return BadFileError(f'"{key}" in {self.path} must be {wanted}.')

    def text(self, key: str, default: str) -> str:
        value = self.fields.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
            raise self.bad(key, "a short line of text")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.fields.get(key, default)
        if value not in allowed:
            raise self.bad(key, " or ".join(allowed))
        return str(value)

    def size(self) -> int:
        value = self.fields["input_size"]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_INPUT:
            raise self.bad("input_size", f"the side of the square input, 1 to {LARGEST_INPUT} pixels")
        return value

    def count(self, key: str) -> int | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.bad(key, "a whole number")
        return value

    def percent(self, key: str) -> float | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if not _is_number(value) or not 0 <= value <= 100:
            raise self.bad(key, "a percentage")
        return float(value)

    def triple(self, key: str) -> tuple[float, float, float]:
        value = self.fields[key]
        if _is_number(value):
            value = [value] * 3
        if not isinstance(value, list) or len(value) != 3 or not all(_is_number(v) for v in value):
            raise self.bad(key, "three numbers, for pixels of 0 to 255")
        first, second, third = (float(v) for v in value)
        return first, second, third


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _and(keys: list[str]) -> str:
    return " and ".join(", ".join(keys).rsplit(", ", 1))
