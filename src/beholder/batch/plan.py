"""Which files are meant by names of files and folders, and where the result of each goes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from beholder.errors import BadImageError, BadOptionError

HEAD = 64
"""Bytes by which the kind of a file is told."""

OWN = frozenset({"files.csv", "errors.csv"})
"""Names of what a batch writes about itself: never taken for its input."""

Wanted = Callable[[Path, bytes], bool]
"""Whether a file of a folder, given its path and its first ``HEAD`` bytes, is to be worked on."""


@dataclass(frozen=True)
class Item:
    """One file of a batch."""

    source: Path
    stem: Path
    """Path of the result without its suffix; relative to the folder of the results if there is one."""
    error: str | None = None
    """Reason why nothing can be done with it: a folder in a folder that cannot be read."""


@dataclass(frozen=True)
class Plan:
    """The files of a batch, in a fixed order."""

    items: tuple[Item, ...]
    passed_over: tuple[Path, ...]
    """Files of the folders that are of no known kind."""


def collect(
    names: Sequence[str | os.PathLike[str]], wanted: Wanted, *, output: Path | None = None, recursive: bool = False
) -> Plan:
    """Find the files and mirror their folders below ``output``.

    A file that is named is always taken; of a folder those that are ``wanted``, in alphabetical order, without hidden
    files and without what lies in ``output``.  Results of one folder lie in ``output`` as their sources in the folder;
    of several folders each in a folder of the same name.  Where two results would have one name, as those of
    ``a.jpg`` and ``a.png``, the old suffix stays a part of both: ``a.jpg.bhd`` and ``a.png.bhd``.

    Args:
        names: files and folders.
        wanted: tells the files of folders that are to be worked on.
        output: folder of the results; None to leave each beside its source.
        recursive: take the folders in folders, too.

    Raises:
        BadImageError: a file or folder is missing, or there is nothing to do.
        BadOptionError: two results would have one name all the same.
    """
    folders = [Path(name) for name in names if os.path.isdir(name)]
    found: list[tuple[Path, Path]] = []
    unread: list[Path] = []
    passed_over: list[Path] = []
    for path in dict.fromkeys(map(Path, names)):
        if not os.path.isdir(path):
            if not os.path.exists(path):
                raise BadImageError(f"There is no file {path}: check the path.")
            found.append((path, path.parent if output is None else Path()))
            continue
        closed: list[Path] = []
        for source in _walk(path, output, recursive, closed):
            if not os.path.isfile(source) or not _is_wanted(source, wanted):
                passed_over.append(source)
                continue
            inside = source.parent.relative_to(path)
            parent = source.parent if output is None else _home(path, folders) / inside
            found.append((source, parent))
        unread += closed
    if not found and not unread:
        places = ", ".join(map(str, folders))
        deeper = "" if recursive else ", or search the folders in it with --recursive"
        raise BadImageError(f"There is nothing to do in {places}: name a folder with files for this command{deeper}.")
    once: dict[str, tuple[Path, Path]] = {}
    for source, parent in found:
        once.setdefault(os.path.realpath(source), (source, parent))
    failed = [Item(path, path, f"The folder {path} cannot be read: check its permissions.") for path in unread]
    return Plan((*_named(list(once.values())), *failed), tuple(passed_over))


def _home(folder: Path, folders: Sequence[Path]) -> Path:
    """Where a folder's results lie below the folder of all results."""
    return Path() if len(folders) == 1 else Path(os.path.basename(os.path.abspath(folder)))


def _walk(folder: Path, output: Path | None, recursive: bool, closed: list[Path]) -> Iterator[Path]:
    """The files of ``folder`` that are not hidden, in alphabetical order.  Unreadable folders go to ``closed``."""
    own = None if output is None else os.path.realpath(output)

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise BadImageError(f"{folder} cannot be read ({error.strerror or error}): check the path.")
        closed.append(Path(error.filename))

    for root, inner, files in os.walk(folder, onerror=refuse):
        kept = [name for name in inner if not name.startswith(".")]
        inner[:] = sorted(name for name in kept if os.path.realpath(os.path.join(root, name)) != own)
        if not recursive:
            inner.clear()
        for name in sorted(files):
            if not name.startswith(".") and name not in OWN:
                yield Path(root, name)


def _is_wanted(path: Path, wanted: Wanted) -> bool:
    try:
        with path.open("rb") as file:
            return wanted(path, file.read(HEAD))
    except OSError:  # told when its turn comes
        return wanted(path, b"")


def _named(found: Sequence[tuple[Path, Path]]) -> Iterator[Item]:
    short = Counter(_key(parent / source.stem) for source, parent in found)
    used: dict[str, Path] = {}
    for source, parent in found:
        stem = parent / (source.stem if short[_key(parent / source.stem)] == 1 else source.name)
        other = used.setdefault(_key(stem), source)
        if other != source:
            raise BadOptionError(
                f"{other} and {source} would be written to one file: give the folder they lie in, or each alone."
            )
        yield Item(source, stem)


def _key(path: Path) -> str:
    # Some file systems do not tell capitals from small letters.
    return str(path).casefold()
