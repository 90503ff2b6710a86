"""Number of threads that work uses, and threads of our own for the small products of the entropy model.

A BLAS library splits every product among all processors and waits for the slowest. Where another program keeps one of
them busy, products of a few hundred positions take ten times as long. Windows of a picture need nothing of each
other, so threads that take one window after another lose nothing.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")


def for_each(work: Callable[[T], None], parts: Sequence[T]) -> None:
    """Do the work for every part, in threads where there are several parts; they must not depend on each other."""
    if len(parts) > 1 and threads() > 1:
        for _ in _pool(os.getpid()).map(work, parts):
            pass
        return
    for part in parts:
        work(part)


def begin(work: Callable[[], T]) -> Callable[[], T]:
    """Begin work in one of our threads, if there are several; return a function that waits for its result."""
    if threads() == 1:
        return functools.cache(work)
    process, result = os.getpid(), _pool(os.getpid()).submit(work)
    again = functools.cache(work)
    # A fork has none of its parent's threads, so nobody there would finish what they had begun.
    return lambda: result.result() if result.done() or os.getpid() == process else again()


def threads() -> int:
    """Threads that work on one picture may keep busy: as many as OMP_NUM_THREADS says, or as the process has
    processors.  ONNX Runtime, which listens to no environment variable, is told them by whoever opens a session."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(wanted) if wanted.isdecimal() and int(wanted) else available


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """One of each process: a fork has none of its parent's threads."""
    return ThreadPoolExecutor(threads(), thread_name_prefix="beholder-codec")


class _OneThread:
    """Counts who wants BLAS to use one thread: the first sets it, the last puts back what was there before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._controller: ThreadpoolController | None = None
        self._modules = 0
        self._limits: list[tuple[object, int]] = []

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            if self._controller is None or self._modules != len(sys.modules):  # an import may bring another library
                self._controller = ThreadpoolController().select(user_api="blas")
                self._modules = len(sys.modules)
            for library in self._controller.lib_controllers:
                self._limits.append((library, library.num_threads))
                library.set_num_threads(1)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            for library, count in self._limits:
                library.set_num_threads(count)  # type: ignore[attr-defined]
            self._limits.clear()

    def forget(self) -> None:
        """In a forked child, where no thread is left that would leave."""
        self._lock, self._users = threading.Lock(), 0
        for library, count in self._limits:
            library.set_num_threads(count)  # type: ignore[attr-defined]
        self._limits = []


_one_thread = _OneThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread.forget)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS runs on one thread within, whatever other threads enter and leave meanwhile; afterwards as before.

    The limit holds for the whole process, for BLAS knows no other.
    """
    _one_thread.enter()
    try:
        yield
    finally:
        _one_thread.leave()
