"""A bound on jobs: some run at once, some wait, the rest is turned away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from beholder.errors import BeholderError


class BusyError(BeholderError):
    """All jobs are taken and enough visitors wait."""


class Gate:
    """Places for ``jobs`` that run at once and ``waiting`` that wait for one."""

    def __init__(self, jobs: int, waiting: int) -> None:
        self.jobs, self.waiting = jobs, waiting
        self._free = anyio.Semaphore(jobs)
        self._inside = 0

    @asynccontextmanager
    async def place(self, known: bool = False) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Args:
            known: the next step of a job that was let in before: it waits as long as it takes.

        Raises:
            BusyError: too many wait already.
        """
        if not known and self._inside >= self.jobs + self.waiting:
            raise BusyError(f"The server works on {self.jobs} jobs and {self.waiting} wait: try again in a minute.")
        self._inside += 1
        try:
            async with self._free:
                yield
        finally:
            self._inside -= 1
