"""When, where and by which command a sweep was measured: ``runs.json``, an entry for each beginning and resumption."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

from beholder import __version__
from beholder.files import save_atomically
from beholder.json_text import read_json

RUNS = "runs.json"

_PIECES = re.compile(r"([=,;])")


def record(folder: Path, command: Sequence[str] | None = None) -> None:
    """Add this run to ``runs.json`` in ``folder``.

    Args:
        folder: a sweep's.
        command: the program and its arguments; None for those of this process.  Paths are cut to their last name.

    Raises:
        OutputError: ``folder`` is not writable.
    """
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if command is None else command
    run = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": f"Beholder {__version__}, Python {platform.python_version()}, {platform.system()}",
        "processor": f"{processor()}, {os.cpu_count() or 1} threads",
        "command": shlex.join(without_folders(words)),
    }
    save_atomically(folder / RUNS, (json.dumps([*read(folder), run], indent=2) + "\n").encode())


def read(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``runs.json``; none where there is no such file, or no readable one."""
    try:
        runs = read_json(folder / RUNS, strict=False)
    except (OSError, ValueError):
        return []
    return [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []


def processor() -> str:
    """Name that the processor of this computer gives itself."""
    try:
        if sys.platform == "darwin":
            found = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True
            ).stdout
        else:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
            found = next((line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")), "")
    except (OSError, subprocess.SubprocessError):
        found = ""
    return " ".join(found.split()) or platform.processor() or platform.machine()


def without_folders(words: Sequence[str]) -> list[str]:
    """The words of a command with the last name in place of each absolute path, also in lists and behind ``=``."""
    return ["".join(map(last_name, _PIECES.split(word))) for word in words]


def last_name(text: str) -> str:
    """Return the last name of an absolute path, the host and path of an address without user and key, and anything
    else unchanged."""
    if "://" in text:
        parts = urlsplit(text)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute() or text.startswith("~"):
            return kind(text).name
    return text
