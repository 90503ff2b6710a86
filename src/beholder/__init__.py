"""Beholder: lossy image compression for whoever looks: people, machines, or both.

    import beholder

    data = beholder.compress("photo.jpg", quality=3)       # bytes of a .bhd file
    image = beholder.decompress(data)                      # a Pillow image
    report = beholder.evaluate_image("photo.jpg", "bpg", quality=37)
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
    BeholderWarning,
    NotAvailableError,
    OutputError,
    TargetMissedWarning,
)

if TYPE_CHECKING:
    from beholder.api import compress, compress_to_target, decompress, evaluate_image
    from beholder.evaluation.one_image import Evaluation
    from beholder.targets import Bpp, KeepLabel, MaxBytes, MsSsim, Psnr, Ssimulacra2

__version__ = "0.1.0"

__all__ = [
    "BadFileError",
    "BadImageError",
    "BadOptionError",
    "BeholderError",
    "BeholderWarning",
    "Bpp",
    "Evaluation",
    "KeepLabel",
    "MaxBytes",
    "MsSsim",
    "NotAvailableError",
    "OutputError",
    "Psnr",
    "Ssimulacra2",
    "TargetMissedWarning",
    "__version__",
    "compress",
    "compress_to_target",
    "decompress",
    "evaluate_image",
]

_HOMES = {
    "Evaluation": "beholder.evaluation.one_image",
    "compress": "beholder.api",
    "compress_to_target": "beholder.api",
    "decompress": "beholder.api",
    "evaluate_image": "beholder.api",
    **dict.fromkeys(("Bpp", "KeepLabel", "MaxBytes", "MsSsim", "Psnr", "Ssimulacra2"), "beholder.targets"),
}


_SECOND_NAMES = {"evaluate": "evaluate_image"}
"""Names that work (docs/glossary.md) and are not listed."""


def __getattr__(name: str) -> Any:
    name = _SECOND_NAMES.get(name, name)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
