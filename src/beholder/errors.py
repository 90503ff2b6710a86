"""Errors a user can act on: one clear sentence saying what is wrong and what to do.

The command line prints them without a traceback and exits with code 2.  What is worth saying, but no error, is a
:class:`BeholderWarning`: the command line prints it as a note, and Python's ``warnings`` filter it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import Any


class BeholderError(Exception):
    """Base of every error that Beholder raises on purpose."""


class BadImageError(BeholderError):
    """An input is missing, is no image, or is above the limit of pixels."""


class BadFileError(BeholderError):
    """A compressed file, shard, index or list is truncated, damaged, foreign, or asks for too much memory."""


class BadOptionError(BeholderError):
    """A quality, alpha, codec, classifier or other option is outside its range."""


class NotAvailableError(BeholderError):
    """A codec, observer or feature needs something that is not installed or not prepared."""


class OutputError(BeholderError):
    """A result cannot be written where it was asked for."""


class InterruptedWorkError(BeholderError):
    """Work was stopped from the keyboard; the sentence says how to go on.  The command line exits with code 130."""


class BeholderWarning(UserWarning):
    """A result that stands, although something was left out, guessed or had no effect."""


class TargetMissedWarning(BeholderWarning):
    """No file of the codec reaches the target: the nearest one is returned."""


def note(sentence: str) -> None:
    """Warn with ``sentence`` at the line outside of this package that asked for the work."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, BeholderWarning, stacklevel=level)


def print_notes() -> None:
    """Print each BeholderWarning of this process once, as a note on standard error, instead of with its place."""
    printed: set[str] = set()
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        sentence = " ".join(str(message).split())
        if not issubclass(category, BeholderWarning):
            others(message, category, *place, **more)
        elif sentence not in printed:
            printed.add(sentence)
            with contextlib.suppress(OSError):
                print("Note:", sentence, file=sys.stderr)

    warnings.simplefilter("always", BeholderWarning)
    warnings.showwarning = show
