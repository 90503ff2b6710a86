"""Who does the batches of a sweep on one machine: this process, or several beside it.

A runner takes settings and batches and yields their results in whatever order they come.  Closing the generator
stops the work at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from beholder.errors import NotAvailableError, print_notes
from beholder.evaluation.sweep.jobs import Batch, Evaluator, evaluator
from beholder.evaluation.sweep.results import BatchResult
from beholder.evaluation.sweep.settings import Settings

Runner = Callable[[Settings, Sequence[Batch]], Iterator[BatchResult]]

ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}
"""Environment of a worker process: as many workers as cores, each with one thread, never get in each other's way."""

_TRIES = 3  # a worker that dies is replaced so often


def inline(settings: Settings, batches: Sequence[Batch]) -> Iterator[BatchResult]:
    """Do all batches in this process; the libraries may use several threads."""
    if batches:
        worker = Evaluator(settings)
        for batch in batches:
            yield worker.batch(batch)


def processes(count: int) -> Runner:
    """A runner with ``count`` worker processes of one thread each.

    A worker that dies takes nothing with it: what was under way is done again by new ones.  If this process dies,
    they end as well.

    Raises:
        NotAvailableError: from the runner, where processes die again and again at the same images.
    """

    def run(settings: Settings, batches: Sequence[Batch]) -> Iterator[BatchResult]:
        waiting = deque(batches)
        tries = 0
        while waiting:
            before = len(waiting)
            with pool(min(count, len(waiting))) as workers:
                yield from _drain(workers, settings, waiting, 2 * count)
            tries = tries + 1 if len(waiting) == before else 1
            if waiting and tries >= _TRIES:
                raise NotAvailableError(
                    f"Worker processes died {_TRIES} times at the same images, often for lack of memory: use fewer "
                    "workers, and go on with --resume."
                )

    return run


def run_batch(settings: Settings, batch: Batch) -> BatchResult:
    """Work of a worker process."""
    return evaluator(settings).batch(batch)


def use_one_thread() -> None:
    """Make AVIF's encoder, which listens to no environment variable, run in one thread in this process."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _drain(pool: ProcessPoolExecutor, settings: Settings, waiting: deque[Batch], window: int) -> Iterator[BatchResult]:
    """Yield results until ``waiting`` is empty or a worker has died; what it was doing is waiting again."""
    running: dict[Future[BatchResult], Batch] = {}
    try:
        while waiting or running:
            # No more than a window, so that results do not pile up where writing is slow.
            while waiting and len(running) < window:
                batch = waiting.popleft()
                try:
                    running[pool.submit(run_batch, settings, batch)] = batch
                except BrokenProcessPool:
                    waiting.appendleft(batch)
                    raise
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del running[future]
                yield result
    except BrokenProcessPool:
        waiting.extendleft(sorted(running.values(), key=lambda batch: -batch.number))


@contextlib.contextmanager
def pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; they are killed rather than waited for if something goes wrong or is interrupted."""
    strangers = set(multiprocessing.active_children())
    with _environment(ONE_THREAD):
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_begin)
        try:
            yield pool
        except BaseException:
            for child in set(multiprocessing.active_children()) - strangers:
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()


def _begin() -> None:
    # Ctrl-C reaches the whole group; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    print_notes()


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
