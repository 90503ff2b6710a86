"""Any classifier as an observer: an ONNX file, its sidecar (:mod:`.sidecar`) and its labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from beholder.errors import BadFileError
from beholder.observers import labels as label_files
from beholder.observers import sidecar as sidecars
from beholder.observers import store
from beholder.observers.classifier_file import hugging_face, structure
from beholder.observers.onnx_observer import OnnxObserver

SUFFIX = ".onnx"


def is_file_name(name: str | os.PathLike[str]) -> bool:
    """Whether ``name`` is meant as the path of an ONNX file, not as the name of an observer."""
    return Path(name).suffix.lower() == SUFFIX


def open_file(path: Path, labels: Path | None = None) -> OnnxObserver:
    """The classifier in the ONNX file ``path``.

    Its sidecar is ``NAME.json`` beside ``NAME.onnx``, else ``observer.json``, else what Optimum wrote
    (:mod:`.classifier_file.hugging_face`).  The labels come from ``labels``, else from what the sidecar names, else
    from Optimum's ``config.json``, else from the ONNX file.

    Raises:
        BadFileError: one of the files is missing or damaged; the sentence says which and what is wrong.
    """
    if not path.is_file():
        raise BadFileError(f"There is no classifier {path}: check the path.")
    sidecar = _sidecar(path)
    names = _labels(path, labels, sidecar.labels)
    return _observer(sidecar, path, names, remedy="get a whole ONNX file")


def installed(name: str) -> OnnxObserver:
    """The observer ``name`` in the user's cache.

    Raises:
        BadFileError: its files are damaged.
    """
    folder = store.folder(name)
    sidecar = sidecars.read(folder / store.SIDECAR, name)
    names = _labels(folder / store.MODEL, None, sidecar.labels or store.LABELS)
    return _observer(sidecar, folder / store.MODEL, names, remedy="prepare or train it again", size=sidecar.bytes)


def _sidecar(path: Path) -> sidecars.Sidecar:
    beside = path.with_suffix(".json")
    general = path.with_name(store.SIDECAR)
    optimum = path.with_name(hugging_face.PREPROCESSOR)
    if beside.exists() or not (general.is_file() or optimum.is_file()):
        return sidecars.read(beside, path.stem)
    if general.is_file():
        return sidecars.read(general, path.stem)
    return sidecars.parse(hugging_face.sidecar_fields(optimum), optimum, path.stem)


def _observer(
    sidecar: sidecars.Sidecar,
    path: Path,
    names: Sequence[tuple[str, str]],
    *,
    remedy: str,
    size: int | None = None,
) -> OnnxObserver:
    return OnnxObserver(
        sidecar.info,
        path,
        names,
        output=sidecar.output,
        output_name=sidecar.output_name,
        layout=sidecar.layout,
        remedy=remedy,
        size=size,
    )


def _labels(model: Path, chosen: Path | None, named: str | None) -> Sequence[tuple[str, str]]:
    if chosen is not None:
        return label_files.read(chosen)
    if named == sidecars.IMAGENET:
        return label_files.imagenet()
    if named is not None:
        return label_files.read(model.with_name(named))
    found = hugging_face.class_names(model.parent) or structure.read(model).class_names
    if found is not None:
        return [label_files.parse(name) for name in found]
    raise BadFileError(
        f"Nobody says what the classes of {model} are called: give --labels FILE with one class a line, "
        f'or write "labels": "{sidecars.IMAGENET}" into its sidecar.'
    )
