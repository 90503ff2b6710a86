"""Observers: image classifiers that judge what a compressed image still shows.

An observer is one of these:

- a network of :mod:`.specs`, which Keras can build: two ship, ``beholder prepare`` makes the others,
- an entry point of another package,
- a classifier that was trained on this computer,
- any ONNX file.

To add one that Keras builds, write its line in :mod:`.specs`.  A package adds observers by entry points in the group
``beholder.observers``, each a function without arguments, or a class, that gives an :class:`Observer`::

    [project.entry-points."beholder.observers"]
    my_classifier = "my_package.observers:my_classifier"
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.observers import builtin, custom, specs, store
from beholder.observers.base import Observer, ObserverInfo, Prediction

__all__ = ["Observer", "ObserverInfo", "Prediction", "get", "infos", "is_builtin", "names"]

ENTRY_POINT_GROUP = "beholder.observers"


def names() -> list[str]:
    """The names of all observers: the built-in ones (the default first), other packages', and those installed here."""
    found = dict.fromkeys(specs.NETWORKS)
    found |= dict.fromkeys(sorted(_plugins()))
    found |= dict.fromkeys(store.installed())
    return list(found)


def is_builtin(name: str) -> bool:
    """Whether ``name`` belongs to an observer that every Beholder knows."""
    return name in specs.NETWORKS


def get(name: str | os.PathLike[str] | Observer, labels: Path | None = None) -> Observer:
    """The observer that ``name`` stands for.

    Args:
        name: one of :func:`names`, or the path of an ONNX file, which ends with ``.onnx`` and has a sidecar beside it
            (see :mod:`.sidecar`), or an observer, which is returned.
        labels: the label file of an ONNX file: one class a line.

    Raises:
        BadOptionError: nobody has this name (the message lists the known ones), ``name`` is nothing of the kind, or
            labels are given for what has its own.
        BadFileError: a file of the classifier is missing or damaged.
        NotAvailableError: a package's observer cannot be loaded.
    """
    if isinstance(name, Observer):
        if labels is not None:
            raise BadOptionError(f"The classifier {name.info.name} has its own labels: give labels only for a file.")
        return name
    if not isinstance(name, str | os.PathLike):
        raise BadOptionError(
            f"A classifier cannot be {type(name).__name__}: give its name, the path of an ONNX file, or an Observer."
        )
    if custom.is_file_name(name):
        return custom.open_file(Path(name), labels)
    name = os.fspath(name)
    if labels is not None:
        raise BadOptionError(f"The classifier {name} has its own labels: give labels only for an ONNX file.")
    if is_builtin(name):
        return builtin.get(name)
    plugins = _plugins()
    if name in plugins:
        return _load(plugins[name])
    if name in store.installed():
        return custom.installed(name)
    raise BadOptionError(f"There is no classifier {name!r}: choose one of {', '.join(names())}, or an ONNX file.")


def infos() -> list[ObserverInfo]:
    """The descriptions of all observers that can be described, in the order of :func:`names`."""
    result = []
    for name in names():
        try:
            result.append(get(name).info)
        except (BadFileError, NotAvailableError):  # a broken plugin or a damaged file must not hide the others
            continue
    return result


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _load(point: EntryPoint) -> Observer:
    try:
        observer = point.load()()
    except Exception as error:  # a stranger's code
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NotAvailableError(
            f"The observer {point.name} at {point.value} cannot be loaded ({reason}): reinstall its package."
        ) from None
    if not isinstance(observer, Observer):
        raise NotAvailableError(f"What lies at {point.value} is no observer: reinstall its package.")
    return observer
