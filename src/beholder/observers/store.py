"""Where classifiers lie that were prepared, trained or installed on this computer.

Each is a folder ``NAME`` in :func:`observers_dir` with ``model.onnx``, ``observer.json`` (see :mod:`.sidecar`)
and ``labels.txt``.  Folders are written under a temporary name and renamed: there are no half-written ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from beholder.errors import BadOptionError, OutputError
from beholder.files import sync_folder, temporary_folder
from beholder.observers import labels as label_files
from beholder.observers import specs
from beholder.observers.base import ObserverInfo
from beholder.observers.sidecar import Output, Sidecar

CACHE_VARIABLE = "BEHOLDER_CACHE"
MODEL = "model.onnx"
SIDECAR = "observer.json"
LABELS = "labels.txt"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_CHUNK = 1 << 20


def cache_dir() -> Path:
    """Beholder's folder in the user's cache: ``$BEHOLDER_CACHE``, or the platform's usual place."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("beholder", appauthor=False)


def observers_dir() -> Path:
    """The folder of the installed observers; it need not exist."""
    return cache_dir() / "observers"


def folder(name: str) -> Path:
    """Where the observer ``name`` lies once it is installed."""
    return observers_dir() / check_name(name)


def installed() -> list[str]:
    """The names of all installed observers, in alphabetical order."""
    try:
        found = [path.name for path in observers_dir().iterdir() if (path / SIDECAR).is_file()]
    except OSError:
        return []
    return sorted(name for name in found if _NAME.fullmatch(name))


def check_name(name: str) -> str:
    """Return ``name`` if it can be an observer's; BadOptionError otherwise."""
    if not _NAME.fullmatch(name) or name.endswith(".onnx"):
        raise BadOptionError(
            f"The observer name {name!r} is no plain name: use letters, digits, dots, dashes and underscores."
        )
    return name


def install(
    name: str,
    model: bytes | Path,
    info: ObserverInfo,
    labels: Sequence[tuple[str, str]],
    *,
    output: Output = "probabilities",
    force: bool = False,
    move: bool = False,
) -> Path:
    """Put a classifier where ``observers.get(name)`` finds it; returns its folder.

    Args:
        model: the bytes of an ONNX file, or its path (copied): one input (N, 3, S, S) or (N, S, S, 3) of preprocessed
            pixels; the first output (N, classes), a second one named ``features`` (N, D) if there is one.
        info: its ``name`` is replaced by ``name``.
        labels: (wnid, readable name) of every class; wnid "" where there is none.
        output: what the first output holds.
        force: replace an observer of the same name.
        move: take the file ``model`` away instead of copying it.

    Raises:
        BadOptionError: the name is no plain name, or that of an observer that ships.
        OutputError: an observer of this name exists (without ``force``), or the folder cannot be written.
    """
    network = specs.NETWORKS.get(name)
    if network is not None and network.shipped:
        raise BadOptionError(f"The observer {name} ships with Beholder: choose another name.")
    place = folder(name)
    if place.exists() and not force:
        raise OutputError(f"There is an observer {name} already ({place}): choose another name or allow overwriting.")
    with room() as temporary:
        if isinstance(model, Path) and move:
            shutil.move(model, temporary / MODEL)
        elif isinstance(model, Path):
            shutil.copyfile(model, temporary / MODEL)
        else:
            (temporary / MODEL).write_bytes(model)
        size, digest = _fingerprint(temporary / MODEL)
        sidecar = Sidecar(replace(info, name=name), output, LABELS, size, digest)
        (temporary / LABELS).write_text(label_files.to_text(labels), encoding="utf-8")
        (temporary / SIDECAR).write_text(sidecar.to_json(), encoding="utf-8")
        _swap(temporary, place)
    return place


@contextlib.contextmanager
def room(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder in ``parent`` (None: that of the installed observers), from which files can be moved at once.

    Raises:
        OutputError: it cannot be made, or the disk fails within the block.
    """
    parent = parent or observers_dir()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(parent) as folder:
            yield folder
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{parent} cannot be written ({reason}): set {CACHE_VARIABLE} to another folder.") from None


def _swap(source: Path, place: Path) -> None:
    """Rename the folder ``source`` to ``place``, which may exist."""
    with temporary_folder(place.parent) as aside:
        old = aside / "old"
        if place.exists():
            os.rename(place, old)
        try:
            os.rename(source, place)
        except OSError:
            if old.exists():
                os.rename(old, place)
            raise
    sync_folder(place.parent)


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return path.stat().st_size, digest.hexdigest()
