"""Where the commands' input comes from and their output goes: files, or ``-`` for the shell's streams."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from beholder.errors import BadFileError, BadOptionError, OutputError

STREAM = "-"


def read_stdin() -> bytes:
    """All bytes of standard input.

    Raises:
        BadFileError: there are more than a file may have.
    """
    from beholder.limits import MAX_FILE_BYTES

    data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadFileError(f"Standard input is larger than {MAX_FILE_BYTES >> 20} MiB: give a smaller file.")
    return data


def choose_codec(codec: str | None, output: str | None) -> str:
    """The name of the codec that ``--codec`` and the suffix of ``--output`` ask for; rnn where neither does.

    Raises:
        BadOptionError: they contradict each other, or the suffix is that of a format no codec writes.
    """
    from beholder import codecs

    if codec == codecs.AUTO:
        return codec
    suffix = "" if output in (None, STREAM) else Path(str(output)).suffix.lower()
    expected = codecs.by_suffix(suffix) if suffix else None
    chosen = None if codec is None else codecs.get(codec)
    if expected is None and suffix and suffix in _image_suffixes():
        raise BadOptionError(f"No codec writes {suffix} files: choose one of {', '.join(codecs.suffixes())}.")
    if chosen is None:
        return expected.name if expected else "rnn"
    if expected is not None and expected.name != chosen.name:
        raise BadOptionError(
            f"{output} has the suffix of {expected.name}, not of {chosen.name}: use {chosen.suffix}, or another "
            "--codec."
        )
    return chosen.name


def _image_suffixes() -> frozenset[str]:
    from beholder.data.files import SUFFIXES

    return SUFFIXES


def default_output(source: str, suffix: str) -> str:
    """``source`` with another suffix; standard output for standard input."""
    if source == STREAM:
        return STREAM
    path = Path(source)
    return str(path.parent / (path.stem + suffix))


def with_suffix(name: str, suffix: str) -> str:
    """``name`` with ``suffix`` in the place of the suffix of an image; ``-`` stays."""
    if name == STREAM:
        return STREAM
    from beholder import codecs
    from beholder.pictures.saving import SUFFIXES

    known = {*codecs.suffixes(), *SUFFIXES}
    path = Path(name)
    return str(path.with_suffix(suffix) if path.suffix.lower() in known else path.parent / (path.name + suffix))


def check_output(output: str, source: str, force: bool) -> None:
    """Refuse before any work what cannot or must not be written.

    Raises:
        OutputError: ``output`` exists (without ``force``), is the input itself, a folder, has no folder to lie in,
            or is a terminal.
    """
    if output == STREAM:
        if sys.stdout.isatty():
            raise OutputError("A terminal cannot show a compressed file: name a file with -o, or use a pipe.")
        return
    path = Path(output)
    try:
        if source != STREAM and path.exists() and path.samefile(source):
            raise OutputError(f"{output} is the input itself: name another file with -o.")
        if path.is_dir():
            raise OutputError(f"{output} is a folder: give the name of a file.")
        if path.exists():
            if not force:
                raise OutputError(f"{output} exists already: name another file with -o, or overwrite it with --force.")
        elif not path.parent.is_dir():
            raise OutputError(f"There is no folder {path.parent}: create it or choose another.")
        elif not os.access(path.parent, os.W_OK):
            raise OutputError(f"{output} cannot be written (the folder is read-only): choose another place.")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{output} cannot be written ({reason}): choose another place.") from None


def write(output: str, data: bytes, *, force: bool) -> None:
    """Write ``data`` to a file, wholly or not at all, or to standard output."""
    if output == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from beholder.files import save_atomically

    save_atomically(output, data, force=force)


def check_folder(path: Path) -> None:
    """Find out before any work whether results can be written into the folder ``path``, which need not exist.

    Raises:
        OutputError: ``path`` is no folder, cannot be created, or cannot be written.
    """
    from beholder.files import temporary_folder

    try:
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            if place == path:
                raise OutputError(f"{path} is no folder: choose another.")
            raise OutputError(f"The folder {path} cannot be created ({place} is no folder): choose another.")
        with temporary_folder(place):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written ({reason}): choose another place.") from None


def make_folder(path: Path) -> None:
    """Create ``path`` with its parents; OutputError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"The folder {path} cannot be created ({reason}): choose another.") from None


def json_text(values: dict[str, Any]) -> str:
    """One JSON object; infinite and undefined numbers are null."""
    return json.dumps(_finite(values))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
