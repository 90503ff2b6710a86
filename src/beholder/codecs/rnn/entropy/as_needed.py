"""Networks and tables that are made when a picture first needs them: most need half of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class AsNeeded(dict[int, T]):
    """Values by number, each made by ``make`` when it is first asked for."""

    def __init__(self, make: Callable[[int], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, number: int) -> T:
        self[number] = value = self._make(number)
        return value
