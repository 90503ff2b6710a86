"""The JSON file beside a classifier's ONNX file: how it wants its pixels, and where it comes from.

Needed by any classifier that is given as a file::

    {"input_size": 224, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "channel_order": "RGB"}

Pixels are 0..255; ``mean`` is subtracted and the difference divided by ``std``, both in ``channel_order`` (one
number serves for all three channels).  Classifiers that take whole numbers (uint8) scale them on their own: their
sidecars say 0 and 1.

Optional:

- ``output``: ``probabilities``, ``logits`` or, the default, ``auto``: told by the file's last operator, else by whether
  rows sum to 1.  One column is the second of two classes, by a sigmoid of its logit.
- ``output_name``: which output answers, in a file with several.
- ``layout``: ``NCHW`` or ``NHWC``, where the shape of the input does not tell.
- ``labels``: a file beside this one, or ``imagenet``.
- ``name``, ``title``, ``parameters``, ``top1``, ``licence``, ``source``, ``paper``, ``bytes``, ``sha256``.

Other keys are errors, but for notes, whose keys begin with ``_`` or ``$``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args

from beholder.errors import BadFileError
from beholder.json_text import read_json
from beholder.observers.base import ObserverInfo

Output = Literal["auto", "probabilities", "logits"]
Layout = Literal["NCHW", "NHWC"]

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
    """Content of a sidecar."""

    info: ObserverInfo
    output: Output = "auto"
    labels: str | None = None
    """Name of a file in the sidecar's folder, or ``imagenet``."""
    bytes: int | None = None
    """Size of the ONNX file."""
    sha256: str | None = None
    output_name: str | None = None
    """The output with the answer; None to tell by shapes and names."""
    layout: Layout | None = None
    """Order of the input's axes; None to tell by its shape."""

    def to_json(self) -> str:
        """The text of the file."""
        extra = {"output": self.output, "labels": self.labels, "bytes": self.bytes, "sha256": self.sha256}
        chosen = {"output_name": self.output_name, "layout": self.layout}
        extra |= {key: value for key, value in chosen.items() if value is not None}
        return json.dumps(asdict(self.info) | extra, indent=1) + "\n"


KEYS = tuple(field.name for kind in (ObserverInfo, Sidecar) for field in fields(kind) if field.name != "info")
"""All keys that a sidecar may have."""


def read(path: Path, name: str) -> Sidecar:
    """Read the sidecar at ``path``; ``name`` is the observer's where the file names none.

    Raises:
        BadFileError: the file is missing or says nothing useful; the sentence says what is missing.
    """
    try:
        content = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        raise BadFileError(f"There is no {path}: write how the classifier wants its pixels, as {EXAMPLE}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFileError(f"{path} is no JSON file ({reason}): write it as {EXAMPLE}.") from None
    if not isinstance(content, dict):
        raise BadFileError(f"{path} is no JSON object: write it as {EXAMPLE}.")
    return parse(content, path, name)


def parse(content: dict[str, Any], path: Path, name: str) -> Sidecar:
    """Check the keys of a sidecar that lies at ``path``.

    Raises:
        BadFileError: a key is missing, unknown or impossible; the sentence names it.
    """
    unknown = [key for key in content if key not in KEYS and not key.startswith(("_", "$"))]
    missing = [key for key in REQUIRED if key not in content]
    if unknown:
        raise BadFileError(_unknown(path, unknown[0], [key for key in KEYS if key not in content]))
    if missing:
        raise BadFileError(f"{path} does not say {_and(missing)}: write it as {EXAMPLE}.")
    return _Reader(path, content).sidecar(name)


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
        if max(map(abs, info.mean)) <= 1 and min(info.std) < 1:
            raise BadFileError(f'"mean" and "std" in {self.path} are those of pixels 0 to 1: multiply them by 255.')
        output = cast(Output, self.choice("output", get_args(Output), "auto"))
        output_name = self.text("output_name", "") or None
        layout = cast(Layout | None, self.choice("layout", get_args(Layout), "") or None)
        labels = self.text("labels", "") or None
        if labels is not None and Path(labels).name != labels:
            raise self.bad("labels", "the name of a file in the same folder")
        digest = self.text("sha256", "") or None
        return Sidecar(info, output, labels, self.count("bytes"), digest, output_name, layout)

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
        if value not in allowed and value != default:
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


def _unknown(path: Path, key: str, free: list[str]) -> str:
    near = get_close_matches(key.lower(), free, 1)
    hint = f'write "{near[0]}"' if near else f"leave it out, or choose one of {', '.join(free)}"
    return f'"{key[:100]}" in {path} has no meaning: {hint}.'


def _and(keys: list[str]) -> str:
    return " and ".join(", ".join(keys).rsplit(", ", 1))
