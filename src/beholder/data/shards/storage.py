"""Reading pieces of files in a folder, on this machine or wherever fsspec reaches."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from beholder.errors import BadFileError, NotAvailableError
from beholder.extras import install_command

_ATTEMPTS = 3
_PAUSE = 0.5  # seconds before the second attempt, twice that before the third
# What another attempt would not change.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError)


def is_url(text: str) -> bool:
    """Whether ``text`` is for fsspec: ``s3://bucket/folder``, ``https://host/folder``, ``memory://folder``."""
    return "://" in text or "::" in text


def open_storage(path_or_url: str) -> Storage:
    """The folder at a path or URL; nothing is read yet."""
    return RemoteStorage(path_or_url) if is_url(path_or_url) else LocalStorage(Path(path_or_url))


class Storage(ABC):
    """Files in a folder; can be pickled and shared between threads."""

    place: str
    """Where that is, for messages."""

    @abstractmethod
    def read(self, name: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a file from ``offset`` on, fewer at its end.

        Raises:
            BadFileError: there is no such file, or it cannot be read.
        """

    def read_all(self, name: str, limit: int) -> bytes:
        """A whole file; BadFileError if it is longer than ``limit`` bytes."""
        data = self.read(name, 0, limit + 1)
        if len(data) > limit:
            raise BadFileError(f"{name} in {self.place} is above the limit of {limit:,} bytes: get it again.")
        return data


class LocalStorage(Storage):
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    def read(self, name: str, offset: int, size: int) -> bytes:
        try:
            with open(self.folder / name, "rb") as file:
                # Python would allocate all of ``size`` at once.
                size = min(size, os.fstat(file.fileno()).st_size - offset)
                file.seek(offset)
                return file.read(max(size, 0))
        except FileNotFoundError:
            raise _missing(name, self.place) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadFileError(f"{name} in {self.place} cannot be read ({reason}): check its permissions.") from None


class RemoteStorage(Storage):
    """A folder at a URL, read through fsspec.

    Where a web server cannot send parts of files, whole files are fetched and the last one is kept in memory.
    """

    def __init__(self, url: str) -> None:
        self.place = url.rstrip("/")
        self._system: tuple[int, Any, str] | None = None
        self._whole: tuple[str, bytes] | None = None

    def read(self, name: str, offset: int, size: int) -> bytes:
        kept = self._whole
        if kept is not None and kept[0] == name:
            return kept[1][offset : offset + size]
        for attempt in range(_ATTEMPTS):
            try:
                system, folder = self._connect()
                data: bytes = system.cat_file(f"{folder}/{name}", start=offset, end=offset + size)
                break
            except FileNotFoundError:
                raise _missing(name, self.place) from None
            except NotAvailableError:
                raise
            except Exception as error:  # every protocol has errors of its own
                if isinstance(error, _FINAL) or attempt == _ATTEMPTS - 1:
                    raise self._failure(name, error) from None
                time.sleep(_PAUSE * 2**attempt)
        if len(data) > size:
            self._whole = (name, data)
            data = data[offset : offset + size]
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "_system": None, "_whole": None}

    def _connect(self) -> tuple[Any, str]:
        # Connections do not survive a fork.
        if self._system is None or self._system[0] != os.getpid():
            try:
                from fsspec.core import url_to_fs
            except ImportError:
                raise NotAvailableError(
                    f"Reading {self.place} needs fsspec: {install_command('data')}, or copy the shards here."
                ) from None
            try:
                system, folder = url_to_fs(self.place)
            except ImportError as error:
                raise NotAvailableError(f"Reading {self.place} needs a package more: {_line(error)}.") from None
            self._system = (os.getpid(), system, str(folder).rstrip("/"))
        return self._system[1], self._system[2]

    def _failure(self, name: str, error: Exception) -> BadFileError:
        return BadFileError(f"{name} at {self.place} cannot be read ({_line(error)}): check the address.")


def _missing(name: str, place: str) -> BadFileError:
    return BadFileError(f"There is no {name} in {place}: check the path, or copy the missing file there.")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
