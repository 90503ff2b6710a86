"""Writing one shard: a tar in WebDataset's form that holds the same bytes whoever writes it, and when."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from beholder.data.base import Example, decode
from beholder.data.files import FileSource
from beholder.data.shards.index import ShardInfo, Table, digest
from beholder.data.strings import PackedStrings
from beholder.errors import BadImageError, OutputError
from beholder.files import sync_folder
from beholder.limits import limit_pixels

TEMPORARY = ".beholder-"
"""Beginning of the names of unfinished files."""

_BLOCK = 512
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Job:
    """Plan that all shards share: images ``order[k * shard_size : ...]`` go into shard ``k``."""

    source: FileSource
    output: Path
    name: str
    plan: str
    order: np.ndarray
    shard_size: int
    max_pixels: int | None = None

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-len(self.order) // self.shard_size)

    def file(self, shard: int) -> str:
        """The name of a shard."""
        return f"{self.name}-{shard:06}.tar"

    def images(self, shard: int) -> np.ndarray:
        """The numbers of the images of a shard, (images,)."""
        return self.order[shard * self.shard_size : (shard + 1) * self.shard_size]


def write_shard(job: Job, shard: int, advance: Callable[[], None]) -> tuple[ShardInfo, Table]:
    """Write a shard and then its table, each under a temporary name until it is whole.

    An image that cannot be opened is left out and named in the table.  ``advance`` is called after each image.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    info_file = job.file(shard)
    rows: list[tuple[str, str, int | None, int, int, int]] = []
    skipped = []
    try:
        with _AtomicFile(job.output / info_file) as out, warnings.catch_warnings(), limit_pixels(job.max_pixels):
            warnings.simplefilter("ignore")  # Pillow's, about harmless faults such as odd EXIF data
            for index in job.images(shard).tolist():
                try:
                    example = job.source[index]
                    decode(example)
                except BadImageError as error:
                    skipped.append((job.source.paths[index], str(error)))
                else:
                    rows.append((example.key, example.name, example.label, *_write_sample(out, job.source, example)))
                advance()
            out.write(_END)
        table = Table(
            job.plan,
            out.size,
            out.sha256.hexdigest(),
            PackedStrings(row[0] for row in rows),
            PackedStrings(row[1] for row in rows),
            np.array([row[2] for row in rows], np.int32) if job.source.labelled else None,
            np.array([row[3] for row in rows], np.int64),
            np.array([row[4] for row in rows], np.int32),
            np.array([row[5] for row in rows], np.uint32),
            tuple(skipped),
        )
        data = table.to_json()
        info = ShardInfo(info_file, len(rows), out.size, table.sha256, digest(data))
        write_file(job.output / info.table, data)
    except OSError as error:
        raise OutputError(
            f"{job.output / info_file} cannot be written ({error.strerror or error}): "
            "make room, or choose another place, and run the command again."
        ) from None
    return info, table


def write_file(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there, even if the power fails."""
    with _AtomicFile(path) as out:
        out.write(data)


class _AtomicFile:
    """A file under a temporary name that gets its own when all is written and on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}.tmp")
        self.sha256 = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> _AtomicFile:
        self._file = open(self.temporary, "wb")
        return self

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                os.replace(self.temporary, self.path)
                sync_folder(self.path.parent)
        finally:
            with contextlib.suppress(OSError):
                self.temporary.unlink(missing_ok=True)


def _write_sample(out: _AtomicFile, source: FileSource, example: Example) -> tuple[int, int, int]:
    """Append the members of one sample; offset, size and CRC-32 of the image file."""
    suffix = PurePosixPath(example.name).suffix.lower()
    offset = _write_member(out, example.key + suffix, example.data)
    facts: dict[str, str | int] = {"key": example.key, "name": example.name}
    if example.label is not None:
        entry = source.classes[example.label]
        facts |= {"label": entry.index, "wnid": entry.wnid, "class": entry.name}
        _write_member(out, f"{example.key}.cls", str(entry.index).encode())
    _write_member(out, f"{example.key}.json", json.dumps(facts).encode())
    return offset, len(example.data), zlib.crc32(example.data)


def _write_member(out: _AtomicFile, name: str, data: bytes) -> int:
    header = tarfile.TarInfo(name)  # modification time, owner and group are zero
    header.size = len(data)
    out.write(header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
    offset = out.size
    out.write(data)
    out.write(bytes(-len(data) % _BLOCK))
    return offset
