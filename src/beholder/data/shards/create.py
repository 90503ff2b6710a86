"""``beholder data create``: from a data set as it is published to shards, in parallel, stopped and resumed at will.

Which image goes into which shard follows from the list of images alone, and a broken image leaves a gap rather than
moving its neighbours. So any process writes a shard with the same bytes at any time. An interrupted run goes on with
the missing shards.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beholder.data.files import FileSource
from beholder.data.shards.index import (
    INDEX,
    MAX_JSON,
    MAX_SHARD_SIZE,
    Index,
    ShardInfo,
    Table,
    digest,
    parse_index,
    parse_table,
)
from beholder.data.shards.storage import LocalStorage
from beholder.data.shards.workers import write_shards
from beholder.data.shards.writing import TEMPORARY, Job, write_file
from beholder.errors import BadFileError, BadImageError, BadOptionError, OutputError
from beholder.files import csv_text
from beholder.limits import limit_pixels

SHARD_SIZE = 1000
SKIPPED = "skipped.csv"
"""The file that names the images left out, and why."""

_LOCK = ".beholder-lock"


@dataclass(frozen=True)
class Created:
    """Content of the output now; ``resumed``: how many of the shards were there before."""

    index: Index
    skipped: tuple[tuple[str, str], ...]
    resumed: int


def create(
    source: FileSource,
    output: Path,
    dataset: str = "folder",
    split: str = "val",
    *,
    shard_size: int = SHARD_SIZE,
    shuffle: int | None = None,
    workers: int = 1,
    max_pixels: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Created:
    """Write the images of ``source`` as shards into the folder ``output``, or finish an interrupted run there.

    Args:
        shuffle: the seed of a random order; None for the order of the source.
        max_pixels: the largest width x height to open; None for 200 million.
        progress: called with the numbers of images done and of all.

    Raises:
        BadOptionError: the limit of pixels is no positive integer, or the shard size is outside of 1..100,000.
        BadImageError: none of the images can be opened.
        OutputError: the output holds other shards, is in use, or cannot be written.
    """
    if not 1 <= shard_size <= MAX_SHARD_SIZE:
        raise BadOptionError(f"A shard of {shard_size:,} images is outside 1 to {MAX_SHARD_SIZE:,}: choose another.")
    order = np.arange(len(source)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(source))
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", source.name)[:100] or "images"
    plan = _plan(source, order, name, dataset, split, shard_size, max_pixels)
    with limit_pixels(max_pixels):  # refuses what is no limit
        job = Job(source, output, name, plan, order, shard_size, max_pixels)
    with _reserved(output):
        finished = _finished(job)
        resumed = len(finished)
        done = sum(len(job.images(shard)) for shard in finished)
        progress(done, len(source))

        def advance() -> None:
            nonlocal done
            done += 1
            progress(done, len(source))

        todo = [shard for shard in range(job.shards) if shard not in finished]
        for shard in write_shards(job, todo, workers, advance):
            found = _read(job, shard)
            assert found is not None
            finished[shard] = found[0]
        return _finish(job, finished, dataset, split, resumed)


def _finish(job: Job, finished: dict[int, ShardInfo], dataset: str, split: str, resumed: int) -> Created:
    skipped: list[tuple[str, str]] = []
    for shard in range(job.shards):
        found = _read(job, shard)
        if found is None:
            raise OutputError(f"{job.file(shard)} has gone from {job.output}: run the command again.")
        skipped += found[1].skipped
    if len(skipped) == len(job.order):
        raise BadImageError(f"None of the {len(skipped):,} images can be opened, such as {skipped[0][1]}")
    skipped += [(path, "It is named in the data set's lists, but it is not there.") for path in job.source.missing]
    shards = tuple(finished[shard] for shard in range(job.shards))
    index = Index(job.name, dataset, split, job.plan, len(skipped), job.source.classes, shards)
    try:
        if skipped:
            text = csv_text([("file", "reason"), *skipped])
            write_file(job.output / SKIPPED, text.encode("utf-8", "backslashreplace"))
        write_file(job.output / INDEX, index.to_json())
    except OSError as error:
        raise OutputError(f"{job.output} cannot be written ({error.strerror}): make room and try again.") from None
    return Created(index, tuple(skipped), resumed)


def _plan(
    source: FileSource,
    order: np.ndarray,
    name: str,
    dataset: str,
    split: str,
    shard_size: int,
    max_pixels: int | None = None,
) -> str:
    """A digest of all that determines the shards, except for the images themselves."""
    result = hashlib.sha256()
    classes = [(entry.wnid, entry.name) for entry in source.classes]
    limit = [] if max_pixels is None else [max_pixels]
    result.update(json.dumps([name, dataset, split, shard_size, len(source), classes, *limit]).encode())
    result.update(source.labels()[order].astype("<i4").tobytes())
    for index in order.tolist():
        result.update(f"{source.key(index)}\0{source.paths[index]}\0".encode("utf-8", "surrogatepass"))
    return result.hexdigest()


def _finished(job: Job) -> dict[int, ShardInfo]:
    """The shards of this job that are already there.

    Raises:
        OutputError: there are shards of another job.
    """
    other = OutputError(
        f"{job.output} holds shards of other images or settings: choose an empty folder, or delete what is in it."
    )
    storage = LocalStorage(job.output)
    if (job.output / INDEX).exists():
        try:
            index = parse_index(storage.read_all(INDEX, MAX_JSON), storage.place)
        except BadFileError:
            raise other from None
        if index.plan != job.plan:
            raise other
    result = {}
    for shard in range(job.shards):
        found = _read(job, shard)
        if found is not None:
            if found[1].plan != job.plan:
                raise other
            result[shard] = found[0]
    return result


def _read(job: Job, shard: int) -> tuple[ShardInfo, Table] | None:
    """A finished shard; its table is written last and says how long it has to be."""
    path = job.output / job.file(shard)
    table_path = path.with_suffix(".json")
    if not path.exists() or not table_path.exists():
        return None
    try:
        data = LocalStorage(job.output).read_all(table_path.name, MAX_JSON)
        table = parse_table(data, str(table_path), len(job.source.classes))
    except BadFileError:
        return None
    if path.stat().st_size != table.tar_bytes:
        return None
    return ShardInfo(path.name, len(table), table.tar_bytes, table.sha256, digest(data)), table


@contextmanager
def _reserved(output: Path) -> Iterator[None]:
    """Keep a second run out of ``output``, and remove what killed ones left unfinished."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = open(output / _LOCK, "wb")  # noqa: SIM115
    except OSError as error:
        raise OutputError(f"The folder {output} cannot be written ({error.strerror}): choose another.") from None
    with lock:
        _lock(lock.fileno(), output)
        try:
            _sweep(output)
            yield
        finally:
            _sweep(output)
            with suppress(OSError):
                (output / _LOCK).unlink()


def _lock(descriptor: int, output: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"Another run is writing to {output}: wait for it, or choose another folder.") from None
    except OSError:
        pass  # a file system without locks


def _sweep(output: Path) -> None:
    for path in output.glob(f"{TEMPORARY}*.tmp"):
        with suppress(OSError):
            path.unlink()
