"""Files that are either whole or untouched, and tables that spreadsheets read as text.

What is being written has a temporary name, ``.beholder-*.tmp``, in the folder of the finished file and is locked.  A
process that is killed leaves it behind; the next one that writes in that folder finds it without a lock and removes it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from beholder.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".beholder-", ".tmp"
LEFTOVER = f"{_PREFIX}*{_SUFFIX}"
"""Pattern of temporary names."""

_DAY = 86_400.0  # seconds after which leftovers are removed where files cannot be locked
_FORMULA = ("=", "+", "-", "@", "\t")  # how a cell begins that a spreadsheet takes for a formula

_swept: set[str] = set()


def save_atomically(path: Path | str, data: bytes, *, force: bool = True) -> None:
    """Write ``data`` to ``path`` so that the file is either whole or untouched, even if the power fails.

    The bytes go to a temporary name in the same folder and to the disk, then the file is renamed.  An existing file
    keeps its permissions, a symbolic link stays one.  Devices and pipes are written directly.

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
        with replacing(path) as file:
            file.write(data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{shown} cannot be written ({reason}): choose another place.") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name that takes the place of ``path`` when the block ends, and goes if it fails."""
    remove_leftovers(path.parent)
    temporary, file = _create(path.parent)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:  # Windows renames no open file
                file.close()
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder under a temporary name in ``parent``, from which files can be moved; it goes when the block ends."""
    remove_leftovers(parent)
    folder, lock = _create_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing into ``folder``; looks once in the life of a process."""
    key = os.path.realpath(folder)
    if key in _swept:
        return
    _swept.add(key)
    for path in folder.glob(LEFTOVER):
        with contextlib.suppress(OSError):
            if _is_abandoned(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; texts that a spreadsheet would take for a formula get an apostrophe before them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def csv_value(cell: str) -> str:
    """The text that :func:`csv_text` wrote as ``cell``, but for carriage returns."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # Python's writer leaves it without quotes, and its reader ends a row there
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "\t" not in text


def _create(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file, locked until it is closed."""
    while True:
        path = folder / _temporary_name()
        # Not tempfile: it would leave mode 0600 instead of what the user's umask asks for.
        file = open(path, "xb")  # noqa: SIM115
        try:
            if fcntl is None:
                return path, file
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return path, file
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        file.close()  # another process took it for abandoned before it was locked


def _create_folder(parent: Path) -> tuple[Path, int | None]:
    """A new folder and the descriptor that keeps it locked."""
    while True:
        folder = parent / _temporary_name()
        folder.mkdir()
        if fcntl is None:
            return folder, None
        with contextlib.suppress(FileNotFoundError):  # another process took it for abandoned before it was locked
            descriptor = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody holds the lock of a temporary file or folder; without locks, whether it is a day old."""
    if fcntl is None:
        return time.time() - path.stat().st_mtime > _DAY
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - path.stat().st_mtime > _DAY
    finally:
        os.close(descriptor)
    return True


def _temporary_name() -> str:
    return f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
