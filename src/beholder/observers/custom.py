"""Any classifier as an observer: an ONNX file, its sidecar (:mod:`.sidecar`) and its labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from beholder.errors import BadFileError
from beholder.observers import labels as label_files
from beholder.observers import sidecar as sidecars
from beholder.observers import store
from beholder.observers.onnx_observer import OnnxObserver

SUFFIX = ".onnx"


def is_file_name(name: str | os.PathLike[str]) -> bool:
    """Whether ``name`` is meant as the path of an ONNX file, not as the name of an observer."""
    return Path(name).suffix.lower() == SUFFIX


def open_file(path: Path, labels: Path | None = None) -> OnnxObserver:
    """The classifier in the ONNX file ``path``.

    Its sidecar is ``NAME.json`` beside ``NAME.onnx``, else ``observer.json``.  The labels come from ``labels``, else
    from what the sidecar names.

    Raises:
        BadFileError: one of the files is missing or damaged; the sentence says which and what is wrong.
    """
    if not path.is_file():
        raise BadFileError(f"There is no classifier {path}: check the path.")
    beside = path.with_suffix(".json")
    general = path.with_name(store.SIDECAR)
    sidecar = sidecars.read(general if general.is_file() and not beside.exists() else beside, path.stem)
    names = _labels(path, labels, sidecar.labels)
    return OnnxObserver(sidecar.info, path, names, output=sidecar.output, remedy="get a whole ONNX file")


def installed(name: str) -> OnnxObserver:
    """The observer ``name`` in the user's cache.

    Raises:
        BadFileError: its files are damaged.
    """
    folder = store.folder(name)
    sidecar = sidecars.read(folder / store.SIDECAR, name)
    names = _labels(folder / store.MODEL, None, sidecar.labels or store.LABELS)
    return OnnxObserver(
        sidecar.info,
        folder / store.MODEL,
        names,
        output=sidecar.output,
        remedy="prepare or train it again",
        size=sidecar.bytes,
    )


def _labels(model: Path, chosen: Path | None, named: str | None) -> Sequence[tuple[str, str]]:
    if chosen is not None:
        return label_files.read(chosen)
    if named == sidecars.IMAGENET:
        return label_files.imagenet()
    if named is not None:
        return label_files.read(model.with_name(named))
    raise BadFileError(
        f"Nobody says what the classes of {model} are called: give --labels FILE with one class a line, "
        f'or write "labels": "{sidecars.IMAGENET}" into its sidecar.'
    )
