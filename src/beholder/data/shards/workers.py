"""Shards written by several processes, each of which asks for the next number when it has finished one."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from beholder.data.shards.writing import Job, write_shard
from beholder.errors import BeholderError, OutputError


def write_shards(job: Job, shards: list[int], workers: int, advance: Callable[[], None]) -> Iterator[int]:
    """Write these shards with up to ``workers`` processes; their numbers as they are finished.

    Raises:
        OutputError: a shard cannot be written, or a process ended before its time.
    """
    workers = min(workers, len(shards))
    if workers <= 1:
        for shard in shards:
            write_shard(job, shard, advance)
            yield shard
        return
    # A new interpreter each, on every system: forking a program with threads is a gamble.
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection[Any, Any], BaseProcess] = {}
    waiting = list(reversed(shards))
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(job, theirs), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            _send(ours, process, waiting.pop())
        while processes:
            for ready in wait(list(processes)):
                connection = cast("Connection[Any, Any]", ready)
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    raise _ended(processes[connection]) from None
                if kind == "image":
                    advance()
                elif kind == "failed":
                    raise value
                else:
                    yield value
                    more = waiting.pop() if waiting else None
                    _send(connection, processes[connection], more)
                    if more is None:
                        processes.pop(connection).join()
    finally:
        for left in processes.values():
            left.terminate()
            left.join()


def _send(connection: Connection[Any, Any], process: BaseProcess, shard: int | None) -> None:
    try:
        connection.send(shard)
    except OSError:
        raise _ended(process) from None


def _ended(process: BaseProcess) -> OutputError:
    process.join()
    return OutputError(
        f"A worker process ended (exit code {process.exitcode}): run the command again, perhaps with fewer "
        "--jobs; it goes on where it stopped."
    )


def _work(job: Job, connection: Connection[Any, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches everybody; the parent decides
    # Without the parent every send fails, so that nobody is left behind when it is killed.
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        while (shard := connection.recv()) is not None:
            try:
                write_shard(job, shard, lambda: connection.send(("image", None)))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except BeholderError as error:
                connection.send(("failed", error))
                return
            except Exception:
                connection.send(("failed", RuntimeError(traceback.format_exc())))
                return
            connection.send(("done", shard))
