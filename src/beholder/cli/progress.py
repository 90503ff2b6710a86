"""Bars for what takes its time, on a terminal's standard error: what, how much of it, time gone by and time left."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task

_LOG_EVERY = 10.0  # seconds between lines where there is no terminal
_SLOW = 2.0  # seconds after which one picture gets a bar
_PATIENCE = 3600.0  # seconds that speed is estimated over: the steps of many workers come in bursts


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many of how many steps of ``what`` are done; nothing elsewhere than on a terminal."""
    shown = bars(terminal())
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextlib.contextmanager
def patient(what: str, *, hidden: bool = False) -> Iterator[Callable[[float, float], None]]:
    """As :func:`bar`, for work that is mostly over at once: the bar appears after two seconds, and goes in the end.

    Work that tells no steps gets the time gone by; nothing is shown if ``hidden``.
    """
    if hidden:
        yield lambda done, total: None
        return
    late = _LateBar(what)
    timer = threading.Timer(_SLOW, late.start)
    timer.daemon = True
    timer.start()
    try:
        yield late.step
    finally:
        timer.cancel()
        late.stop()


class _LateBar:
    """A bar that is made when it appears, for rich takes as long as a small picture; it knows all steps from before."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._before: deque[tuple[float, float, float]] = deque(maxlen=1000)
        self._shown: Progress | None = None
        self._past: float | None = None
        self._ended = False

    def step(self, done: float, total: float) -> None:
        with self._lock:
            if self._shown is None:
                self._before.append((time.monotonic(), done, total))
            else:
                self._shown.update(self._shown.task_ids[0], completed=done, total=total)

    def start(self) -> None:
        with self._lock:
            console = terminal()
            if self._ended or not console.is_terminal:
                return
            self._past = self._begun
            self._shown = bars(console, transient=True, clock=self._clock)
            task = self._shown.add_task(self._what, total=None)
            for past, done, total in self._before:
                self._past = past
                self._shown.update(task, completed=done, total=total)
            self._past = None
            self._shown.start()

    def _clock(self) -> float:
        return time.monotonic() if self._past is None else self._past

    def stop(self) -> None:
        with self._lock:
            self._ended = True
            if self._shown is not None:
                self._shown.stop()


@contextlib.contextmanager
def counted(what: str, *, hidden: bool = False) -> Iterator[Callable[[int, int, int, int], None]]:
    """A function of how many ``what`` are done, of how many, how many of them failed and how many were done before.

    It moves a bar on a terminal and prints a line now and then elsewhere, both on standard error; nothing if
    ``hidden``.
    """
    console = terminal()
    if hidden:
        yield lambda done, total, failed, resumed: None
        return
    if not console.is_terminal:
        yield _Log(what)
        return
    with bars(console) as shown:
        task = shown.add_task(what, total=None)

        def show(done: int, total: int, failed: int, resumed: int) -> None:
            shown.update(
                task, total=total, completed=done, description=what + (f", {failed:,} failed" if failed else "")
            )

        yield show


class _Log:
    """Lines for a log file."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int, failed: int, resumed: int) -> None:
        now, fresh = time.monotonic(), done - resumed
        if not fresh:
            self._start = now
        if now - self._last < _LOG_EVERY:
            return
        self._last = now
        left = (total - done) * (now - self._start) / max(fresh, 1)
        rest = f", {_duration(left)} left" if fresh and done < total else ""
        broken = f", {failed:,} failed" if failed else ""
        print(f"{done:,} of {total:,} {self._what}{broken}{rest}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 60:
        return "less than a minute"
    return f"about {minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"about {minutes} min"


def terminal() -> Console:
    """Standard error, where texts are never taken for markup."""
    from beholder.cli.console import SafeConsole

    return SafeConsole(sys.stderr)


def bars(console: Console, *, transient: bool = False, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Bars on ``console``, or nothing where it is no terminal; those that are ``transient`` leave no trace."""
    from rich import progress
    from rich.text import Text

    class Count(progress.ProgressColumn):
        """``3/40``, and nothing as long as nobody knows how many there will be."""

        def render(self, task: Task) -> Text:
            return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")

    class Left(progress.TimeRemainingColumn):
        """The time left, with the word; nothing as long as it is not known."""

        def render(self, task: Task) -> Text:
            known = task.finished or (task.total is not None and task.time_remaining is not None)
            return Text.assemble(super().render(task), " left") if known else Text("")

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        Count(),
        progress.TimeElapsedColumn(),
        Left(),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=_PATIENCE,
        get_time=clock,
        transient=transient,
    )
