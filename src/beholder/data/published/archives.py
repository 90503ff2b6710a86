"""Where the images lie within uncompressed tar archives, so that they need not be unpacked."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from beholder.data.files import SUFFIXES
from beholder.errors import BadFileError

_BLOCK = 512
_LONGEST_HEADER = 1 << 18
"""Bytes of a long name or of extended attributes; systems keep at most 64 KiB of each attribute."""
_LONGEST_NUMBER = 1000
"""Digits in a row in a header: tarfile takes their square in steps."""
_DIGITS = re.compile(rb"[0-9]+")

Entry = tuple[str, int, int]
"""File name without folders, offset of its first byte, size."""


def images_in_tar(path: Path) -> list[Entry]:
    """The image files in an archive, sorted by name; of two with one name the later counts, as tar does it.

    Raises:
        BadFileError: the archive is compressed, damaged, truncated or missing.
    """
    with _opened(path) as file:
        return _images(file, 0, str(path))


def images_in_tars(path: Path) -> Iterator[tuple[str, list[Entry]]]:
    """For an archive of archives: the name of each without suffix, and its images; offsets are those in ``path``."""
    with _opened(path) as file:
        for member in members(file, str(path)):
            name = PurePosixPath(member.name)
            if name.suffix == ".tar":
                inner = _Window(file, member.offset_data, member.size)
                yield name.stem, _images(inner, member.offset_data, f"{path}/{name.name}")


def members_with_data(
    path: Path, wanted: Callable[[str], bool], limit: int
) -> Iterator[tuple[str, int, int, bytes | None]]:
    """Name with folders, offset and size of each file in an archive, and the bytes of those that are ``wanted``.

    Raises:
        BadFileError: the archive is compressed, damaged or truncated, or a wanted member is longer than ``limit``.
    """
    with _opened(path) as file:
        for member in members(file, str(path)):
            data = None
            if wanted(member.name):
                if member.size > limit:
                    raise BadFileError(f"{member.name} in {path} is above the limit of {limit:,} bytes: shorten it.")
                back = file.tell()
                file.seek(member.offset_data)
                data = file.read(member.size)
                file.seek(back)
            yield member.name, member.offset_data, member.size, data


def _images(file: IO[bytes] | _Window, base: int, shown: str) -> list[Entry]:
    found = {}
    for member in members(file, shown):
        name = PurePosixPath(member.name)
        if name.suffix.lower() in SUFFIXES:
            found[name.name] = (name.name, base + member.offset_data, member.size)
    return sorted(found.values())


def members(file: IO[bytes] | _Window, shown: str) -> Iterator[tarfile.TarInfo]:
    """The plain files in an archive, which lie within it; links, devices and sparse files are left out.

    Raises:
        BadFileError: the archive is compressed, damaged or truncated, or has a header that no archive needs; the
            message calls it ``shown``.
    """
    try:
        # "r:" takes no compression, which would make random access impossible.
        with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                archive.members = []  # or all headers stay in memory
                if member.size < 0:  # which leads back to the same header
                    raise tarfile.ReadError("a file has a negative size")
                if member.isreg() and not member.issparse():
                    yield member
            # tarfile takes a damaged header, or none, for the end.
            file.seek(archive.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("it does not end where an archive ends")
    except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, RecursionError) as error:
        raise BadFileError(f"{shown} is damaged or no uncompressed tar ({error}): get a whole copy.") from None


def _opened(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise BadFileError(f"{path} cannot be read ({error.strerror}): check the path.") from None


class _Headers:
    """A file from which tarfile reads headers, and never more than a header needs."""

    def __init__(self, file: IO[bytes] | _Window) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self._file.read(size)
        if size > _BLOCK and max(map(len, _DIGITS.findall(data)), default=0) > _LONGEST_NUMBER:
            raise tarfile.ReadError("a header with a number of more digits than any has")
        return data


class _Window:
    """A part of a file as a file, which is all that tarfile needs."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._at, 0)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at
