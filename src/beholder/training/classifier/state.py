"""Checkpoints of a job: everything that decides how it goes on, in one file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beholder.errors import BadFileError, OutputError

FORMAT = 1


@dataclass
class Progress:
    """Progress of a job."""

    epoch: int = 0
    step: int = 0
    """Steps done of ``epoch``."""
    best: float = -1.0
    """Highest validation accuracy so far, 0 to 1."""
    skipped: int = 0
    """Steps that were left out because a gradient was not finite."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Measurements of each epoch."""
    metrics: list[Tensor] | None = None
    """Sums of the training metrics in the epoch under way."""


def snapshot(variables: Sequence[Any]) -> list[Tensor]:
    """Copies of the values of Keras variables, of any shape, on the CPU."""
    return [variable.value.detach().to("cpu", copy=True) for variable in variables]


def put(variables: Sequence[Any], values: Sequence[Tensor], source: Path) -> None:
    """Give Keras variables their values back, of any shape.

    Raises:
        BadFileError: shapes or numbers differ.
    """
    if len(variables) != len(values) or any(
        tuple(variable.shape) != tuple(value.shape) for variable, value in zip(variables, values, strict=True)
    ):
        raise BadFileError(f"{source} does not fit this network: it was written by another version or changed.")
    with torch.no_grad():
        for variable, value in zip(variables, values, strict=True):
            variable.value.copy_(value)


def write(path: Path, content: dict[str, Any], progress: Progress) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        OutputError: the disk is full, the folder has gone, ...
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        torch.save({"format": FORMAT, **content, "progress": vars(progress)}, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise OutputError(f"{path} cannot be written ({reason[:120]}): make room, then go on with --resume.") from None


def read(path: Path) -> dict[str, Any]:
    """A checkpoint; ``progress`` comes as Progress.

    Raises:
        BadFileError: there is none, or the file is something else.
    """
    if not path.is_file():
        raise BadFileError(f"There is no checkpoint {path}: train first, or check --job-id.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError
        content["progress"] = Progress(**content["progress"])
        content["terms"]["classifier"], content["weights"], content["classes"], content["optimizer"]
    except Exception:  # what torch raises depends on the bytes
        raise BadFileError(f"{path} is no checkpoint of `beholder train classifier`: give its last.pt.") from None
    return dict(content)
