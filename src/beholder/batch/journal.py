"""Record of a batch, in the folder of its results: one line a file in ``files.csv``, failures also in ``errors.csv``.

``files.csv`` grows by a line as each file is done, so an interrupted batch can go on. A file counts as done if its
line is there, with the same settings and a source of the same content. Its result must have the size that it says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from beholder.batch.tasks import Row
from beholder.errors import BadOptionError, OutputError
from beholder.files import csv_text, csv_value, save_atomically

FILES = "files.csv"
ERRORS = "errors.csv"

_SETTINGS = "settings"
_FIELDS = [field.name for field in fields(Row)]
_NUMBERS = {"width", "height", "bytes_before", "bytes_after", "metadata_bytes", "tries"}


class Journal:
    """Adds lines to ``files.csv`` in ``folder``."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._path = folder / FILES
        self._settings = settings
        self._file: TextIO | None = None

    def begin(self, done: Iterable[Row]) -> None:
        """Write the lines of files that are already done, and keep the journal open.

        Raises:
            OutputError: the folder cannot be written.
        """
        text = csv_text([[*_FIELDS, _SETTINGS], *map(self._line, done)])
        save_atomically(self._path, text.encode("utf-8", "surrogateescape"))
        self._file = self._path.open("a", encoding="utf-8", errors="surrogateescape", newline="")

    def add(self, row: Row) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            OutputError: the disk is full, the folder has gone, ...
        """
        assert self._file is not None
        try:
            self._file.write(csv_text([self._line(row)]))
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written ({error.strerror or error}): make room.") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _line(self, row: Row) -> list[str]:
        values = row.as_dict()
        return [*("" if values[name] is None else str(values[name]) for name in _FIELDS), self._settings]


def read(folder: Path, settings: str) -> dict[str, Row]:
    """The rows of ``files.csv`` without failures, by source; none if there is no such file.

    Raises:
        BadOptionError: they were made with other settings.
    """
    path = folder / FILES
    rows: dict[str, Row] = {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            for line in csv.DictReader(file):
                if line.get(_SETTINGS) is None:  # cut off by an interruption
                    continue
                if csv_value(line[_SETTINGS]) != settings:
                    raise BadOptionError(
                        f"The files in {folder} were made with other settings ({line[_SETTINGS]}; now {settings}): "
                        "give the same, or another folder."
                    )
                row = _row(line)
                if row is not None and row.error is None:
                    rows[row.source] = row
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as error:
        raise BadOptionError(f"{path} cannot be read ({error}): remove it, or choose another folder.") from None
    return rows


def write_errors(folder: Path, rows: Iterable[Row]) -> Path | None:
    """Write ``errors.csv`` and return its path; remove it if nothing failed."""
    failed = [row for row in rows if row.error is not None]
    path = folder / ERRORS
    if not failed:
        path.unlink(missing_ok=True)
        return None
    text = csv_text([("source", "error"), *((row.source, row.error) for row in failed)])
    save_atomically(path, text.encode("utf-8", "surrogateescape"))
    return path


def _row(line: dict[str, Any]) -> Row | None:
    values: dict[str, Any] = {}
    try:
        for name in _FIELDS:
            text = line[name]
            if text == "":
                values[name] = None
            elif name in _NUMBERS:
                values[name] = int(text)
            elif name in ("quality", "bpp", "ms_ssim"):
                values[name] = float(text)
            elif name == "reached":
                values[name] = text == "True"
            else:
                values[name] = csv_value(text)
        return Row(**values)
    except (KeyError, ValueError, TypeError):
        return None
