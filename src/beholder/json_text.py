"""JSON that strangers wrote: whatever it holds, a value of plain numbers and texts comes back, or a ValueError.

Python's reader ends at deep nesting with a RecursionError, takes ``NaN`` for a number, lets the last of two equal keys
win, and makes integers that no floating-point number can hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 32 << 20
"""Longest JSON file that is read: Python needs up to 30 times its bytes."""

_LONGEST_KEY = 100
_DIGITS = 300
"""Digits of an integer that fits a float of 64 bits, which ends at 1.8e308."""


def parse_json(text: str | bytes, *, strict: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: a whole file.
        strict: refuse ``NaN``, ``Infinity`` and a key that is there twice.  Files that other programs wrote have them.

    Raises:
        ValueError: it is no JSON, nested too deep, or has a number that is too large; the text says which.
    """
    hooks: dict[str, Any] = {"parse_constant": _refuse_constant, "object_pairs_hook": _unique} if strict else {}
    try:
        return json.loads(text, parse_int=_integer, parse_float=_float, **hooks)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(path: Path, limit: int = MOST_BYTES, *, strict: bool = True) -> Any:
    """The value in the JSON file ``path``, of at most ``limit`` bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: see :func:`parse_json`; or the file is larger.
    """
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit:,} bytes")
    return parse_json(data, strict=strict)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f'"{key[:_LONGEST_KEY]}" is there twice')
        result[key] = value
    return result
