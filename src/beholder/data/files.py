"""Images that lie in files on this machine: on their own, or inside of uncompressed tar archives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.base import UNLABELLED, ClassInfo, Example, Source
from beholder.data.keys import make_keys
from beholder.data.strings import PackedStrings
from beholder.errors import BadFileError, BadImageError

MAX_BYTES = 512 << 20
"""The largest image file that is read."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl", ".bpg", ".bhd"}
)
"""The files of a folder that are taken for images, in lower case."""

# Thumbnails and copies that archivers, Synology's disks and Windows put beside pictures.
_NOT_ONES_OWN = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"})


@dataclass(frozen=True)
class Spans:
    """Where images lie within archives: ``archives[which[i]]`` from ``offsets[i]`` on, ``sizes[i]`` bytes."""

    archives: tuple[str, ...]
    which: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


@dataclass
class Listing:
    """Images and labels that a reader of a data set's layout found.

    ``paths`` are relative to ``root``, with ``/`` on every system (with ``spans``: the names within the archives).
    ``missing`` are images that the data set's lists name and that are not there.  ``folders``: whether an image's
    key is made of its folders, too.
    """

    name: str
    root: Path
    paths: Sequence[str] | PackedStrings
    labels: np.ndarray | None = None
    classes: tuple[ClassInfo, ...] = ()
    spans: Spans | None = None
    missing: tuple[str, ...] = field(default=())
    folders: bool = False


class FileSource(Source):
    """The images of a :class:`Listing`."""

    def __init__(self, listing: Listing) -> None:
        self.name = listing.name
        self.root = listing.root
        self.classes = listing.classes if listing.labels is not None else ()
        self.missing = listing.missing
        self.paths = listing.paths if isinstance(listing.paths, PackedStrings) else PackedStrings(listing.paths)
        self._keys = make_keys(self.paths, listing.folders)
        self._labels = None if listing.labels is None else listing.labels.astype(np.int32)
        self._spans = listing.spans

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Example:
        index = self.position(index)
        label = None if self._labels is None else int(self._labels[index])
        wnid = None if label is None else self.classes[label].wnid or None
        return Example(self._keys[index], self._read(index), label, wnid, PurePosixPath(self.paths[index]).name)

    def key(self, index: int) -> str:
        return self._keys[self.position(index)]

    def labels(self) -> np.ndarray:
        return np.full(len(self), UNLABELLED, np.int32) if self._labels is None else self._labels.copy()

    def _read(self, index: int) -> bytes:
        spans = self._spans
        if spans is None:
            path, offset, size = self.root / self.paths[index], 0, None
        else:
            path = self.root / spans.archives[spans.which[index]]
            offset, size = int(spans.offsets[index]), int(spans.sizes[index])
        try:
            with open(path, "rb") as file:
                expected = os.fstat(file.fileno()).st_size if size is None else size
                if expected > MAX_BYTES:
                    raise BadImageError(f"{path} is above the limit of {MAX_BYTES:,} bytes: use a smaller image.")
                file.seek(offset)
                data = file.read(expected)
        except FileNotFoundError:
            raise BadImageError(f"There is no file {path}: it was there when the folder was opened.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadImageError(f"{path} cannot be read ({reason}): check its permissions.") from None
        if len(data) != expected:
            raise BadImageError(f"{path} ends within {self.paths[index]}: get a whole copy.")
        return data


def read_bounded(path: Path, limit: int) -> bytes:
    """A file that comes with a data set; BadFileError if it cannot be read or is longer than ``limit`` bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read ({error.strerror}): get it again.") from None
    if len(data) > limit:
        raise BadFileError(f"{path} is above the limit of {limit:,} bytes: get it again.")
    return data


def find_images(root: Path) -> list[str]:
    """The image files below ``root`` as sorted relative paths with ``/``; hidden files are left out.

    Links to folders are followed, each folder once.

    Raises:
        BadImageError: ``root`` is no folder or cannot be read.
    """
    if not root.is_dir():
        raise BadImageError(f"There is no folder {root}: check the path.")
    found: list[str] = []
    try:
        _walk(os.fspath(root), "", set(), found)
    except OSError as error:
        raise BadImageError(
            f"{error.filename or root} cannot be read ({error.strerror}): check its permissions."
        ) from None
    return sorted(found)


def _walk(folder: str, prefix: str, seen: set[tuple[int, int]], found: list[str]) -> None:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in _NOT_ONES_OWN:
                continue
            if entry.is_dir():
                _walk(entry.path, f"{prefix}{entry.name}/", seen, found)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                found.append(prefix + entry.name)
