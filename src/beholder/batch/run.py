"""A batch: one task, many files, several worker processes of one thread each."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from beholder.batch import journal
from beholder.batch.plan import Item
from beholder.batch.tasks import Row, Task
from beholder.errors import BadOptionError, BeholderError, BeholderWarning, OutputError

_AHEAD = 2  # files handed to each worker, so that none waits for the next


@dataclass(frozen=True)
class Progress:
    """Progress of a batch."""

    done: int
    total: int
    failed: int
    resumed: int
    """Files of ``done`` that an earlier run did."""
    row: Row | None
    """The file that was done last; None at the beginning."""


@dataclass(frozen=True)
class Summary:
    """Result of a batch."""

    rows: tuple[Row, ...]
    """One for each file, in the order of the plan."""
    resumed: int
    errors: Path | None
    """``errors.csv``, if there is one."""

    @property
    def failures(self) -> list[Row]:
        """The files that came to nothing."""
        return [row for row in self.rows if row.error is not None]

    @property
    def missed(self) -> list[Row]:
        """The files that were written but do not reach their target."""
        return [row for row in self.rows if row.reached is False]

    @property
    def bytes_before(self) -> int:
        """Bytes of the files that were done."""
        return sum(row.bytes_before or 0 for row in self.rows if row.error is None)

    @property
    def bytes_after(self) -> int:
        """Bytes of their results."""
        return sum(row.bytes_after or 0 for row in self.rows if row.error is None)

    @property
    def bpp(self) -> float | None:
        """8 x bytes of all compressed files / pixels of all."""
        known = [row for row in self.rows if row.bpp is not None]
        pixels = [(row.width or 0) * (row.height or 0) for row in known]
        bits = sum((row.bpp or 0) * count for row, count in zip(known, pixels, strict=True))
        return bits / sum(pixels) if sum(pixels) else None

    @property
    def ms_ssim(self) -> float | None:
        """Mean over files, where it was measured."""
        return _mean([row.ms_ssim for row in self.rows])


def run(
    task: Task,
    items: Sequence[Item],
    folder: Path | None,
    *,
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Summary:
    """Do ``task`` with every file; one that fails does not stop the others.

    Args:
        task: the work on each file.
        items: from :func:`beholder.batch.plan.collect`.
        folder: where results, ``files.csv`` and ``errors.csv`` go; it is made if it is missing.  None leaves results
            beside their sources.
        jobs: number of worker processes; None for one a core.
        force: overwrite results that exist.
        resume: leave alone what an earlier run with the same settings finished.
        progress: called after each file.

    Raises:
        OutputError: results exist already (without ``force`` and ``resume``), or ``folder`` cannot be written.
        BadOptionError: ``jobs`` is below 1, ``resume`` has no folder, or the earlier run had other settings.
    """
    if jobs is not None and jobs < 1:
        raise BadOptionError(f"{jobs} jobs do nothing: give 1 or more.")
    if resume and folder is None:
        raise BadOptionError("--resume needs the folder of the earlier results: name it with -o.")
    done = _finished(task, items, folder) if resume and folder is not None else {}
    todo = [item for item in items if str(item.source) not in done]
    # A folder without a record holds other people's results.
    if not force and not (resume and folder is not None and (folder / journal.FILES).exists()):
        check_new(task, items, folder)
    book = None
    if folder is not None:
        _make(folder)
        book = journal.Journal(folder, task.describe())
        book.begin(done.values())
    resumed, rows = len(done), dict(done)
    progress(Progress(resumed, len(items), 0, resumed, None))
    failed = 0
    # What an interrupted run left without a line is written anew.
    work = _work(task, todo, folder, min(jobs or cores(), max(1, len(todo))), force or resume)
    try:
        with closing(work):
            for row in work:
                rows[row.source] = row
                failed += row.error is not None
                if book is not None:
                    book.add(row)
                progress(Progress(len(rows), len(items), failed, resumed, row))
    finally:
        if book is not None:
            book.close()
    ordered = tuple(rows[str(item.source)] for item in items)
    errors = None if folder is None else journal.write_errors(folder, ordered)
    return Summary(ordered, resumed, errors)


def check_new(task: Task, items: Sequence[Item], folder: Path | None) -> None:
    """Raise OutputError if results exist already, before any work."""
    there = [path for item in items if (path := existing(task, item, folder)) is not None]
    if there:
        more = f" and {len(there) - 1:,} more" if len(there) > 1 else ""
        verb = "exist" if more else "exists"
        on = "go on with --resume, or " if folder is not None else ""
        other = "overwrite with --force" if task.overwrites else "choose another folder"
        raise OutputError(f"{there[0]}{more} {verb} already: {on}{other}.")


def existing(task: Task, item: Item, folder: Path | None) -> Path | None:
    """The result of ``item`` that lies there already, if one does."""
    for suffix in task.suffixes():
        path = (folder or Path()) / item.stem.parent / (item.stem.name + suffix)
        if os.path.exists(path) and os.path.realpath(path) != os.path.realpath(item.source):
            return path
    return None


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _finished(task: Task, items: Sequence[Item], folder: Path) -> dict[str, Row]:
    rows = journal.read(folder, task.describe())
    done = {}
    for item in items:
        row = rows.get(str(item.source))
        if row is not None and _size(item.source) == row.bytes_before and _digest(item.source) == row.digest:
            result = None if row.output is None else _size(folder / row.output)
            if result == row.bytes_after:
                done[row.source] = row
    return done


def _digest(path: Path) -> str | None:
    """Begin of the SHA-256 of a file, by which an edited one of the same size is known."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"The folder {folder} cannot be created ({reason}): choose another.") from None


def _work(task: Task, items: Sequence[Item], folder: Path | None, jobs: int, force: bool) -> Generator[Row]:
    """Rows as files are done.  Files whose worker died are tried again, each alone, before they count as failures."""
    from beholder.evaluation.sweep.workers import pool  # as late as this: it brings along all that a sweep needs

    waiting, suspects = deque(items), deque[Item]()
    while waiting:
        with pool(jobs) as workers:
            yield from _drain(workers, task, waiting, suspects, folder, jobs, force)
    while suspects:
        alone, died = deque([suspects.popleft()]), deque[Item]()
        with pool(1) as workers:
            yield from _drain(workers, task, alone, died, folder, 1, force)
        for item in died:
            yield Row(str(item.source), error="The worker process died, often for lack of memory: use fewer --jobs.")


def _drain(
    workers: ProcessPoolExecutor,
    task: Task,
    waiting: deque[Item],
    suspects: deque[Item],
    folder: Path | None,
    jobs: int,
    force: bool,
) -> Iterator[Row]:
    running: dict[Future[Row], Item] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs * _AHEAD:
                running[workers.submit(do, task, waiting[0], folder, force)] = waiting[0]
                waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                row = future.result()
                del running[future]
                yield row
    except BrokenProcessPool:
        suspects.extend(running.values())


def do(task: Task, item: Item, folder: Path | None, force: bool) -> Row:
    """Do one file in a worker process; whatever goes wrong is told in the row."""
    if item.error is not None:
        return Row(str(item.source), error=item.error)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BeholderWarning)
            row = task.run(item.source, item.stem, folder, force)
        notes = dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, BeholderWarning))
        return replace(row, notes=" ".join(notes) or None, digest=_digest(item.source))
    except BeholderError as error:
        sentence = str(error)
    except MemoryError:
        sentence = "There is not enough memory for this image: use fewer --jobs."
    except Exception as error:  # one strange file must not end a batch of thousands
        sentence = f"{type(error).__name__}: {error}"
    return Row(str(item.source), error=" ".join(sentence.split()))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
