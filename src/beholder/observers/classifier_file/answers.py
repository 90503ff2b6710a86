"""From the numbers that a classifier gives to probabilities of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.errors import BadFileError
from beholder.observers.base import Float32Array
from beholder.observers.classifier_file.structure import LastStep
from beholder.observers.sidecar import Output

_SUM_TOLERANCE = 1e-3  # of float32 softmax over thousands of classes
_COARSE_TOLERANCE = 0.03  # of 8-bit and 16-bit networks


def table(values: Any, rows: int, names: Sequence[str]) -> Float32Array:
    """One output of ONNX Runtime as float32 (rows, columns).

    Args:
        values: an array (rows, ...), or one dictionary a row from class to probability (``ZipMap``).
        rows: the number of pictures shown.
        names: what the classes are called: dictionaries from names are read in their order where it is theirs.
    """
    if isinstance(values, list) and values and isinstance(values[0], dict):
        keys = sorted(values[0])
        if set(keys) == set(names) and len(keys) == len(names):
            keys = list(names)
        return np.array([[row[key] for key in keys] for row in values], np.float32)
    return np.asarray(values).astype(np.float32).reshape(rows, -1)


def probabilities(
    values: Float32Array, classes: int, output: Output, last: LastStep | None, path: Path
) -> Float32Array:
    """Probabilities (N, classes), rows sum to 1.

    Args:
        values: (N, columns); one column is the second of two classes.
        classes: how many are named.
        output: what the sidecar says.
        last: the file's last operator.
        path: the classifier's file, for messages.

    Raises:
        BadFileError: another number of classes, no numbers, or values that cannot be what the sidecar says.
    """
    if not np.isfinite(values).all():
        raise BadFileError(f"{path} answers with infinite values or NaN: export it again, perhaps in float32.")
    if values.shape[1] == 1 and classes == 2:
        second = _one_column(values[:, 0], output, last, path)
        return np.stack([1 - second, second], axis=1)
    if values.shape[1] != classes or classes == 1:
        raise BadFileError(_other_number(values.shape[1], classes, path))
    if output == "logits":
        return _softmax(values)
    if output == "probabilities":  # or per cent, or independent scores
        if values.min() < -_SUM_TOLERANCE:
            raise BadFileError(
                f'{path} gives negative values, which are no probabilities: write "output": "logits" in its sidecar.'
            )
        return _scaled(values)
    sums = values.sum(axis=1)
    whole = values.min() >= 0 and bool(np.all(np.abs(sums - 1) < _COARSE_TOLERANCE))
    if last == "linear" or last == "log_softmax" or (last == "softmax" and not whole):
        return _softmax(values)
    if last == "softmax" or last == "sigmoid":  # a sigmoid a class: independent scores
        return _scaled(values)
    if values.min() >= 0 and bool(np.all(np.abs(sums - 100) < 100 * _COARSE_TOLERANCE)):  # per cent
        return _scaled(values)
    done = (np.abs(sums - 1) < _SUM_TOLERANCE) & (values.min(axis=1) >= 0)
    return np.where(done[:, np.newaxis], values, _softmax(values))


def _one_column(values: Float32Array, output: Output, last: LastStep | None, path: Path) -> Float32Array:
    """Probability (N,) of the second of two classes."""
    bounded = values.min() >= 0 and values.max() <= 1
    if output == "probabilities" or (output == "auto" and last == "sigmoid"):
        if not bounded:
            raise BadFileError(
                f"{path} gives values outside 0 to 1, which are no probabilities: "
                'write "output": "logits" in its sidecar.'
            )
        return values
    if output == "auto" and last != "linear" and bounded:
        raise BadFileError(
            f"{path} gives one value, which may be a probability or a logit: "
            'write "output": "probabilities" or "output": "logits" in its sidecar.'
        )
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -80, 80))), np.float32)


def _other_number(columns: int, classes: int, path: Path) -> str:
    if columns == classes + 1:
        hint = "give the labels that belong to it, with a line for the background if that is its first class"
    elif columns == 1 and classes == 1:
        hint = "name both classes, first the one that the value 0 stands for"
        columns = 2
    else:
        hint = "give the labels that belong to it"
    named = "1 is named" if classes == 1 else f"{classes:,} are named"
    return f"{path} tells {columns:,} classes apart, but {named}: {hint}."


def _softmax(values: Float32Array) -> Float32Array:
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def _scaled(values: Float32Array) -> Float32Array:
    """Rows divided by their sums where those are not 1; all zeros become equal parts."""
    values = np.maximum(values, 0)
    sums = values.sum(axis=1, keepdims=True)
    scaled = np.where(sums > 0, values / np.where(sums > 0, sums, 1), 1 / values.shape[1])
    return np.asarray(np.where(np.abs(sums - 1) < _SUM_TOLERANCE, values, scaled), np.float32)
