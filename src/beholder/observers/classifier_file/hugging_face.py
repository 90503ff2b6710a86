"""Files that Optimum writes beside ``model.onnx``: ``preprocessor_config.json`` and ``config.json``.

They describe the network's input and name its classes, in the words of the library transformers. So a folder from
``optimum-cli export onnx`` needs no sidecar.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beholder.errors import BadFileError
from beholder.json_text import read_json
from beholder.observers.classifier_file import structure

PREPROCESSOR = "preprocessor_config.json"
CONFIG = "config.json"

_MOST_BYTES = 1 << 24
_RESCALE = 1 / 255


def sidecar_fields(path: Path) -> dict[str, Any]:
    """The keys of a sidecar for the network beside the file ``path``.

    Raises:
        BadFileError: the file does not say how pixels are prepared.
    """
    said = _read(path)
    if said is None:
        raise BadFileError(f"{path} is no JSON object: write a sidecar for the classifier.")
    size = next((side for side in (_side(said.get("crop_size")), _side(said.get("size"))) if side), None)
    if size is None:
        raise BadFileError(f"{path} names no square size: write a sidecar for the classifier.")
    factor = said.get("rescale_factor", _RESCALE) if said.get("do_rescale", True) else 1.0
    mean, std = [0.0] * 3, [1.0] * 3
    if said.get("do_normalize", True):
        mean, std = said.get("image_mean", mean), said.get("image_std", std)
    try:
        # (pixel * factor - offset - mean) / std, for pixels 0 to 255
        offset = 1.0 if said.get("rescale_offset") else 0.0
        scaled_mean = [(float(value) + offset) / factor for value in mean]
        scaled_std = [float(value) / factor for value in std]
    except (TypeError, ValueError, ArithmeticError):
        raise BadFileError(
            f"{path} does not say how pixels are prepared: write a sidecar for the classifier."
        ) from None
    return {"input_size": size, "mean": scaled_mean, "std": scaled_std, "channel_order": "RGB"}


def class_names(folder: Path) -> tuple[str, ...] | None:
    """The names in ``config.json``; None where there are none."""
    said = _read(folder / CONFIG)
    return None if said is None else structure.names_of(said.get("id2label"))


def _side(size: Any) -> int | None:
    """``224``, ``{"height": 224, "width": 224}`` or ``{"shortest_edge": 224}``."""
    if isinstance(size, dict):
        if "shortest_edge" in size:
            size = size["shortest_edge"]
        elif size.get("height") == size.get("width"):
            size = size.get("height")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path, _MOST_BYTES, strict=False)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
