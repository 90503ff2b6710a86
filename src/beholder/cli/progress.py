"""Bars for what takes its time, on a terminal's standard error: what, how much of it, time gone by and time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task

_PATIENCE = 3600.0  # seconds that speed is estimated over: the steps of many workers come in bursts


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many of how many steps of ``what`` are done; nothing elsewhere than on a terminal."""
    shown = bars(terminal())
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def terminal() -> Console:
    """Standard error, where texts are never taken for markup."""
    from rich.console import Console

    return Console(file=sys.stderr, markup=False, emoji=False, highlight=False)


def bars(console: Console) -> Progress:
    """Bars on ``console``, or nothing where it is no terminal."""
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
    )
