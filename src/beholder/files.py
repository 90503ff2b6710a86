"""Files that are either whole or untouched."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from beholder.errors import OutputError


def save_atomically(path: Path | str, data: bytes, *, force: bool = True) -> None:
    """Write ``data`` to ``path`` so that the file is either whole or untouched.

    The bytes go to a temporary name in the same folder, which is then renamed.  An existing file keeps
    its permissions, a symbolic link stays one.  Devices and pipes are written directly.

    Raises:
        OutputError: the folder is missing or not writable, ``path`` is a folder, the disk is full, or
            ``path`` exists and ``force`` is false.
    """
    shown = path
    try:
        path = Path(os.path.realpath(path))
        if path.is_dir():
            raise OutputError(f"{shown} is a folder: give the name of a file.")
        if path.exists():
            if not path.is_file():
                path.write_bytes(data)
                return
            if not force:
                raise OutputError(f"{shown} exists already: choose another name or allow overwriting.")
        elif not path.parent.is_dir():
            raise OutputError(f"There is no folder {Path(shown).parent}: create it or choose another.")
        _replace(path, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{shown} cannot be written ({reason}): choose another place.") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".beholder-{secrets.token_hex(8)}.tmp")
    try:
        # Not tempfile: it would leave mode 0600 instead of what the user's umask asks for.
        with open(temporary, "xb") as file:
            file.write(data)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
