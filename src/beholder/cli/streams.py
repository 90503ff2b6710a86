"""Standard output and error as the commands write to them: no terminal obeys the text, a full disk is one sentence.

Names of files and labels may hold control characters, with which a stranger's file could rewrite the screen. They are
printed as ``\\u001b``, which JSON reads back.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

# C0 and C1 but for tab and line feed, and what changes the direction or the lines of text (Unicode 15, 23.2).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BREAK = re.compile("[\t\n]")
# They move the cursor on purpose; rich gets its texts through `console.SafeConsole`.
_TRUSTED = ("rich", "keras")


def printable(text: str) -> str:
    """``text`` with control characters written as ``\\u`` and four hexadecimal digits."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(name: object) -> str:
    """The name of a file as part of a line: printable, tabs and line ends included."""
    return _BREAK.sub(lambda match: f"\\u{ord(match[0]):04x}", printable(str(name)))


class PrintableStream:
    """A text stream that makes text printable before it writes it, and passes all else to the wrapped stream."""

    def __init__(self, stream: TextIO, *, may_fail: bool) -> None:
        """``may_fail``: whether a full disk ends the work, or is none of its business."""
        self._stream = stream
        self._may_fail = may_fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text`` and return how many characters it had."""
        caller = str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0]
        with self._failing():
            self._stream.write(text if caller in _TRUSTED else printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._failing():
            self._stream.flush()

    def _failing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._may_fail else contextlib.suppress(OSError)


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Standard output and error are :class:`PrintableStream` within the block."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            # A file name that the terminal cannot show must not end the program.
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (PrintableStream(stream, may_fail=stream is streams[0]) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def give_up_stdout() -> None:
    """Send what is still buffered for standard output nowhere: Python would try again at exit and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
