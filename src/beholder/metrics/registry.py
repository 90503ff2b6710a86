"""The metrics by name, imported only when asked for.

To add one, write a file with a function of two pictures (original, decoded), and its line in ``_REGISTRY``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from beholder.errors import BadOptionError, NotAvailableError
from beholder.extras import install_command
from beholder.metrics.pixels import Picture

Metric = Callable[[Picture, Picture], float]


@dataclass(frozen=True)
class MetricInfo:
    """Names and unit of a metric in tables and figures."""

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool = True
    entry_point: str = ""
    """``module:function``; empty for metrics that need more than two pictures."""
    needs: str = ""
    """The package that must be installed."""
    extra: str = ""
    """Which of Beholder's extras brings it."""


_REGISTRY = {
    info.name: info
    for info in (
        MetricInfo("ms_ssim", "MS-SSIM", entry_point="beholder.metrics.ms_ssim:ms_ssim"),
        MetricInfo("ssim", "SSIM", entry_point="beholder.metrics.ssim:ssim"),
        MetricInfo("psnr", "PSNR", "dB", entry_point="beholder.metrics.psnr:psnr"),
        MetricInfo("ssimulacra2", "SSIMULACRA 2", entry_point="beholder.metrics.ssimulacra2:ssimulacra2"),
        MetricInfo("vif", "VIF", entry_point="beholder.metrics.vif:vif", needs="torchmetrics", extra="metrics"),
        # Measured by an observer, in sweeps.
        MetricInfo("feature_distance", "Feature distance", higher_is_better=False),
    )
}


def names() -> list[str]:
    """Return the metrics that :func:`get` knows, which compare two pictures."""
    return [info.name for info in _REGISTRY.values() if info.entry_point]


def get(name: str) -> Metric:
    """The metric called ``name``, a function of two pictures of one size: (original, decoded) -> value.

    Pictures are uint8 arrays of shape (H, W, 3) or Pillow images, RGB.  The value is NaN where the metric is not
    defined and infinite for the PSNR of identical pictures.

    Raises:
        BadOptionError: no metric has this name.
        NotAvailableError: the package that it needs is not installed.
    """
    if name not in names():
        raise BadOptionError(f"There is no metric {name!r}: choose one of {', '.join(names())}.")
    reason = unavailable(name)
    if reason is not None:
        raise NotAvailableError(reason)
    module, _, function = _REGISTRY[name].entry_point.partition(":")
    metric: Metric = getattr(import_module(module), function)
    return metric


def unavailable(name: str) -> str | None:
    """Why the metric cannot run here, as a sentence that says what to install; None if it can."""
    info = describe(name)
    if info.needs and importlib.util.find_spec(info.needs) is None:
        return f"The metric {name} needs {info.needs}: {install_command(info.extra)}."
    return None


def higher_is_better(name: str) -> bool:
    """Whether larger values of ``name`` mean better pictures; true for names that nobody knows."""
    return describe(name).higher_is_better


def describe(name: str) -> MetricInfo:
    """Description of a metric; for columns of other programs just the name."""
    return _REGISTRY.get(name) or MetricInfo(name, name.replace("_", " "))
