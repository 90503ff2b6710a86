"""Sample photographs, free of copyright (CC0); README.md beside this file names their sources."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "coffee"
NAMES = ("chelsea", "coffee")


def path(name: str) -> Path:
    """The file of the sample ``name``, one of ``NAMES``."""
    return Path(__file__).parent / f"{name}.webp"
