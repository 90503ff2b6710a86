"""A sweep's rows as a stream of arrays: parts are read column by column, some hundred thousand rows at a time.

However many rows there are, no more than :data:`CHUNK_ROWS` of them are in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from beholder.errors import BadFileError, NotAvailableError
from beholder.evaluation.sweep.results import TABLE
from beholder.extras import install_command

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 1 << 18

GroupKey = tuple[str, float | None, int, str | None]
"""(codec, alpha, quality, classifier)."""

OUTCOMES = ("correct", "correct5", "correct_original", "agrees")
"""Boolean columns; null where they are not known."""
FIGURES = ("bpp", "bytes", "encode_seconds", "decode_seconds")
"""Numeric columns that every sweep has."""
_TEXT = ("image", "codec", "classifier")
_KEYS = ("image", "codec", "alpha", "quality", "classifier")


@dataclass(frozen=True)
class Chunk:
    """Some rows.  ``groups[group[i]]`` and ``images[image[i]]`` say what row i belongs to."""

    groups: list[GroupKey]
    group: NDArray[np.intp]
    images: list[str]
    image: NDArray[np.intp]
    values: dict[str, NDArray[np.float64]]
    """Column -> shape (rows,); NaN where null."""


class Rows(ABC):
    """The rows of a sweep, which can be gone through again and again."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns."""

    @abstractmethod
    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows, in batches of any size."""

    def metrics(self) -> list[str]:
        """The columns that hold metrics: floating-point ones that are not known as something else."""
        pa = _pyarrow()
        others = {*FIGURES, "alpha"}
        return [field.name for field in self.schema() if pa.types.is_floating(field.type) and field.name not in others]

    def chunks(self, values: Sequence[str]) -> Iterator[Chunk]:
        """All rows, with the columns ``values`` as numbers."""
        pa = _pyarrow()
        waiting: list[Any] = []
        rows = 0
        for batch in self._batches([*_KEYS, *values]):
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                piece = batch.slice(start, CHUNK_ROWS)
                if rows + piece.num_rows > CHUNK_ROWS:
                    yield _chunk(pa.Table.from_batches(waiting), values)
                    waiting, rows = [], 0
                waiting.append(piece)
                rows += piece.num_rows
        if rows:
            yield _chunk(pa.Table.from_batches(waiting), values)

    def check(self) -> None:
        """Raise BadFileError unless the file has a sweep's columns."""
        pa = _pyarrow()
        schema = self.schema()
        kinds = {
            **dict.fromkeys(_TEXT, pa.types.is_string),
            **dict.fromkeys(("quality", "bytes"), pa.types.is_integer),
            **dict.fromkeys(("alpha", "bpp", "encode_seconds", "decode_seconds"), pa.types.is_floating),
            **dict.fromkeys(OUTCOMES, pa.types.is_boolean),
        }
        for name, fits in kinds.items():
            index = schema.get_field_index(name)
            if index < 0 or not fits(schema.field(index).type):
                raise BadFileError(
                    f"The table has no fitting column {name}: give results that `beholder evaluate` wrote."
                )


class TableRows(Rows):
    """Rows that are in memory already."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.check()

    def schema(self) -> pa.Schema:
        """The columns."""
        return self._table.schema

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(list(columns)).to_batches()


class FolderRows(Rows):
    """The parts of ``results.parquet`` in ``folder``.

    Raises:
        BadFileError: there are none, or a part is damaged.
        NotAvailableError: pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._files = _parts(folder)
        self.check()

    def schema(self) -> pa.Schema:
        """The columns of the first part, which all others must share."""
        return self._open(self._files[0]).schema_arrow.remove_metadata()

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        pa = _pyarrow()
        expected = self.schema()
        for path in self._files:
            part = self._open(path)
            if not part.schema_arrow.remove_metadata().equals(expected):
                raise BadFileError(
                    f"{path} has other columns than the first part: keep sweeps in folders of their own."
                )
            try:
                yield from part.iter_batches(batch_size=CHUNK_ROWS, columns=list(columns))
            except (pa.ArrowException, OSError) as error:
                raise _damaged(path, error) from None

    def of_images(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """All that is known of some images; parts are opened until each image has been met."""
        pa = _pyarrow()
        import pyarrow.compute as pc

        wanted, rows = set(keys), []
        for path in self._files:
            if not wanted:
                break
            part = self._open(path)
            try:
                here = wanted & set(pc.unique(part.read(columns=["image"]).column("image")).to_pylist())
                if here:
                    table = part.read()
                    rows += table.filter(pc.is_in(table.column("image"), pa.array(sorted(here)))).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise _damaged(path, error) from None
            wanted -= here
        return rows

    def _open(self, path: Path) -> Any:
        pa = _pyarrow()
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from None


def _chunk(table: pa.Table, values: Sequence[str]) -> Chunk:
    codes, names = zip(*(_encode(table.column(name)) for name in ("codec", "classifier", "image")), strict=True)
    alpha, alphas = _unique(_numbers(table.column("alpha")))
    quality, qualities = _unique(_numbers(table.column("quality")))
    shape = (len(names[0]), len(alphas), len(qualities), len(names[1]))
    combined, group = np.unique(np.ravel_multi_index((codes[0], alpha, quality, codes[1]), shape), return_inverse=True)
    groups: list[GroupKey] = []
    for c, a, q, k in zip(*np.unravel_index(combined, shape), strict=True):
        if names[0][c] is None or np.isnan(qualities[q]):
            raise BadFileError("A row names no codec or quality: give results that `beholder evaluate` wrote.")
        groups.append((names[0][c], None if np.isnan(alphas[a]) else float(alphas[a]), int(qualities[q]), names[1][k]))
    return Chunk(groups, group, names[2], codes[2], {name: _numbers(table.column(name)) for name in values})


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.intp], list[Any]]:
    """Codes from 0, and what they stand for; null is one of the values."""
    encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp), encoded.dictionary.to_pylist()


def _unique(numbers: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    found, codes = np.unique(numbers, return_inverse=True)
    return codes, found


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    pa = _pyarrow()
    return column.cast(pa.float64()).to_numpy().astype(np.float64, copy=False)


def _parts(folder: Path) -> list[Path]:
    place = folder if folder.name == TABLE else folder / TABLE
    found = sorted(place.glob("part-*.parquet")) if place.is_dir() else [place] if place.is_file() else []
    if not found:
        raise BadFileError(f"There are no results in {folder}: give a folder that `beholder evaluate` wrote.")
    return found


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise NotAvailableError(f"Tables of results need pyarrow: {install_command('evaluate')}.") from None
    return pyarrow


def _damaged(path: Path, error: Exception) -> BadFileError:
    reason = " ".join(str(error).split()).rstrip(".")
    return BadFileError(f"{path} is damaged ({reason}): run `beholder evaluate --resume` again.")
