"""The observers of a sweep: registered names, ONNX files, or objects, which travel to worker processes pickled."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path

from beholder import observers
from beholder.errors import BadOptionError
from beholder.observers import Observer
from beholder.observers.custom import is_file_name

Named = str | PathLike[str] | Observer
"""Name that a user gives an observer."""


@dataclass(frozen=True)
class Given:
    """An observer that was given as an object; its copies in other processes are equal to it."""

    observer: Observer = field(compare=False, repr=False)
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __str__(self) -> str:
        kind = type(self.observer)
        return f"{kind.__module__}.{kind.__qualname__}"

    def __deepcopy__(self, memo: object) -> Given:
        return self


def resolve(names: Iterable[Named]) -> tuple[str | Given, ...]:
    """Absolute paths, names and objects of the observers that a user names, each once.

    Raises:
        BadOptionError: something is nothing of the kind.
    """
    result: dict[str | int, str | Given] = {}
    for name in names:
        if not isinstance(name, str | PathLike):
            result.setdefault(id(name), Given(observers.get(name)))
        else:
            text = str(Path(name).resolve()) if is_file_name(name) else fspath(name)
            result.setdefault(text, text)
    return tuple(result.values())


def open_observers(sources: Sequence[str | Given], labels: str | None) -> list[Observer]:
    """The observers, in the order of ``sources``.

    Raises:
        BadOptionError: two have the same name, or there are labels but no ONNX file.
        BadFileError, NotAvailableError: see :func:`beholder.observers.get`.
    """
    files = [source for source in sources if isinstance(source, str) and is_file_name(source)]
    if labels is not None and not files:
        raise BadOptionError("Labels are for classifiers given as ONNX files, and there is none: leave them out.")
    result = [
        source.observer
        if isinstance(source, Given)
        else observers.get(source, Path(labels) if labels is not None and source in files else None)
        for source in sources
    ]
    shown = [observer.info.name for observer in result]
    for name in shown:
        if shown.count(name) > 1:
            raise BadOptionError(f"Two classifiers are called {name}: rename one, their rows could not be told apart.")
    return result
