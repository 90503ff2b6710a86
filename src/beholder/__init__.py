"""Beholder: lossy image compression for whoever looks, the human eye, a machine, or both.

    import beholder

    data = beholder.compress("photo.jpg", quality=3)       # bytes of a .bhd file
    image = beholder.decompress(data)                      # a Pillow image
    report = beholder.evaluate("photo.jpg", "bpg", quality=37)
    print(report.bpp, report.ms_ssim, report.predictions_compressed[0].label)

Importing this module is quick: functions bring their libraries along when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from beholder.errors import (
    BadFileError,
    BadImageError,
    BadOptionError,
    BeholderError,
    NotAvailableError,
    OutputError,
)

if TYPE_CHECKING:
    from beholder.api import compress, decompress, evaluate
    from beholder.evaluation.single import Evaluation

__version__ = "0.1.0"

__all__ = [
    "BadFileError",
    "BadImageError",
    "BadOptionError",
    "BeholderError",
    "Evaluation",
    "NotAvailableError",
    "OutputError",
    "__version__",
    "compress",
    "decompress",
    "evaluate",
]

_HOMES = {
    "Evaluation": "beholder.evaluation.single",
    "compress": "beholder.api",
    "decompress": "beholder.api",
    "evaluate": "beholder.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
