"""Targets that a compressed file can be asked to reach: a size, a metric of its picture, or a classifier's answer."""

from __future__ import annotations

import functools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from beholder import metrics
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.pictures.comparable import comparable

if TYPE_CHECKING:
    from beholder.observers import Observer


@dataclass(frozen=True)
class Score:
    """Score of one file by a target."""

    value: float
    """In the target's unit."""
    reached: bool
    rank: float
    """Larger is nearer to the target, among files that miss it."""
    distance: float | None = None
    """Signed distance from the target, nearly linear in quality, and above 0 for better pictures and larger files.
    None where there is no such scale."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More about it, ready for JSON."""


Measure = Callable[[Image.Image], Score]
"""From a decompressed picture to its score."""


class Target(ABC):
    """Goal that a file must reach.  Targets are small, frozen and can be sent to other processes."""

    name: ClassVar[str]
    """The option of the command line without its dashes."""
    close: ClassVar[float | None] = None
    """``Score.distance`` of files that reach the target so closely that better ones are not worth a try: about half a
    per cent of the rate.  None where scores have no distance, since quality may fall where files grow."""

    @abstractmethod
    def describe(self) -> str:
        """The target in words, such as ``MS-SSIM of at least 0.97``."""

    @abstractmethod
    def told(self, score: Score) -> str:
        """Value that a file reached, in words, such as ``MS-SSIM 0.9712``."""

    def check(self) -> None:  # noqa: B027 - most targets need nothing
        """Raise NotAvailableError if this target cannot be measured here, before any work is done."""


class RateTarget(Target):
    """An upper limit on the size of the whole file: the best quality that fits is wanted."""

    close: ClassVar[float | None] = 0.005

    @abstractmethod
    def limit(self, width: int, height: int) -> int:
        """The largest number of bytes allowed for an image of this size in pixels."""

    @abstractmethod
    def value(self, size: int, width: int, height: int) -> float:
        """The size of a file of ``size`` bytes in the target's unit."""

    def score(self, size: int, width: int, height: int) -> Score:
        """The score of a file of ``size`` bytes."""
        limit = self.limit(width, height)
        distance = math.log(size / max(limit, 1))
        return Score(self.value(size, width, height), size <= limit, -size, distance)


class QualityTarget(Target):
    """A lower limit on quality: the smallest file that reaches it is wanted."""

    patience: ClassVar[float] = 0.03
    """Part of the quality scale that may fail below the best file found before the search ends there."""

    @abstractmethod
    def measure(self, original: Image.Image) -> Measure:
        """A function that scores decompressed pictures of ``original`` (mode L, LA, RGB or RGBA).

        Raises:
            BadImageError: the target is not defined for this image.
            BeholderError: what measures it cannot run here.
        """


@dataclass(frozen=True)
class MaxBytes(RateTarget):
    """At most ``bytes`` bytes, an integer of 1 or more."""

    bytes: int
    name: ClassVar[str] = "max-bytes"

    def __post_init__(self) -> None:
        if isinstance(self.bytes, bool) or not isinstance(self.bytes, int) or self.bytes < 1:
            raise BadOptionError(f"A file of at most {self.bytes} bytes is not possible: give an integer of 1 or more.")

    def describe(self) -> str:
        return f"at most {self.bytes:,} bytes"

    def told(self, score: Score) -> str:
        return f"{score.value:,.0f} bytes"

    def limit(self, width: int, height: int) -> int:
        return self.bytes

    def value(self, size: int, width: int, height: int) -> float:
        return size


@dataclass(frozen=True)
class Bpp(RateTarget):
    """At most ``bpp`` bits a pixel, counted as 8 x bytes of the whole file / pixels; above 0."""

    bpp: float
    name: ClassVar[str] = "bpp"

    def __post_init__(self) -> None:
        _positive(self.bpp, "A rate", "bits a pixel, such as 0.25")

    def describe(self) -> str:
        return f"at most {self.bpp:g} bpp"

    def told(self, score: Score) -> str:
        return f"{score.value:.4f} bpp"

    def limit(self, width: int, height: int) -> int:
        return math.floor(self.bpp * width * height / 8)

    def value(self, size: int, width: int, height: int) -> float:
        return 8 * size / (width * height)


class _Metric(QualityTarget):
    """At least a value of a metric from :mod:`beholder.metrics`."""

    metric: ClassVar[str]
    digits: ClassVar[int] = 2

    @property
    def least(self) -> float:
        """The value to reach."""
        return float(getattr(self, self.metric))

    def check(self) -> None:
        reason = metrics.unavailable(self.metric)
        if reason is not None:
            raise NotAvailableError(reason)

    def describe(self) -> str:
        return f"{metrics.describe(self.metric).title} of at least {self.least:g}{self._unit()}"

    def told(self, score: Score) -> str:
        return f"{metrics.describe(self.metric).title} {score.value:.{self.digits}f}{self._unit()}"

    def measure(self, original: Image.Image) -> Measure:
        measure = metrics.get(self.metric)

        def score(decompressed: Image.Image) -> Score:
            value = float(measure(*comparable(original, decompressed)))
            if math.isnan(value):
                size = f"{original.width} x {original.height}"
                title = metrics.describe(self.metric).title
                raise BadImageError(f"{title} is not defined for {size} pixels: choose another target.")
            return Score(value, value >= self.least, value, self._linear(value) - self._linear(self.least))

        return score

    def _linear(self, value: float) -> float:
        """A value on a scale that is nearly linear in quality."""
        return min(value, 1e3)  # the PSNR of equal pictures is infinite

    def _unit(self) -> str:
        unit = metrics.describe(self.metric).unit
        return f" {unit}" if unit else ""


@dataclass(frozen=True)
class MsSsim(_Metric):
    """MS-SSIM of at least ``ms_ssim``, above 0 and at most 1."""

    ms_ssim: float
    name: ClassVar[str] = "ms-ssim"
    metric: ClassVar[str] = "ms_ssim"
    close: ClassVar[float | None] = 0.005
    digits: ClassVar[int] = 4

    def __post_init__(self) -> None:
        _positive(self.ms_ssim, "MS-SSIM", "to 1, such as 0.97")
        if self.ms_ssim > 1:
            raise BadOptionError(f"MS-SSIM {self.ms_ssim:g} is not possible: it ends at 1; give a value such as 0.97.")

    def _linear(self, value: float) -> float:
        return -math.log(max(1 - value, 1e-9))


@dataclass(frozen=True)
class Ssimulacra2(_Metric):
    """SSIMULACRA 2 of at least ``ssimulacra2``, at most 100."""

    ssimulacra2: float
    name: ClassVar[str] = "ssimulacra2"
    metric: ClassVar[str] = "ssimulacra2"
    close: ClassVar[float | None] = 0.2

    def __post_init__(self) -> None:
        if not self.ssimulacra2 <= 100 or not math.isfinite(self.ssimulacra2):
            raise BadOptionError(
                f"SSIMULACRA 2 of {self.ssimulacra2:g} is not possible: it ends at 100; give a value such as 70."
            )


@dataclass(frozen=True)
class Psnr(_Metric):
    """PSNR of at least ``psnr`` dB, above 0; of RGB, all channels together."""

    psnr: float
    name: ClassVar[str] = "psnr"
    metric: ClassVar[str] = "psnr"
    close: ClassVar[float | None] = 0.03

    def __post_init__(self) -> None:
        _positive(self.psnr, "PSNR", "decibels, such as 32")


@dataclass(frozen=True)
class KeepLabel(QualityTarget):
    """The original's most probable class stays the most probable one.

    Args:
        classifier: an observer, its name, or the path of an ONNX file.
        confidence: the class must also keep at least this probability, 0 to 1.
        fraction: or this fraction of its probability in the original, 0 to 1.
        labels: the label file of an ONNX file.

    Raises:
        BadOptionError: ``confidence`` or ``fraction`` is outside [0, 1], or both are given.
    """

    classifier: str | os.PathLike[str] | Observer = "efficientnet_lite0"
    confidence: float | None = None
    fraction: float | None = None
    labels: str | os.PathLike[str] | None = None
    name: ClassVar[str] = "keep-label"
    # Classifiers change their minds several times on the way down.
    patience: ClassVar[float] = 0.08

    def __post_init__(self) -> None:
        if self.confidence is not None and self.fraction is not None:
            raise BadOptionError("A confidence and a fraction of the original's are given: choose one of them.")
        for value in (self.confidence, self.fraction):
            if value is not None and not 0 <= value <= 1:
                raise BadOptionError(
                    f"A confidence of {value:g} is not possible: give 0 to 1, or a percentage of the original's."
                )

    def check(self) -> None:
        reason = self._observer().unavailable()
        if reason is not None:
            raise NotAvailableError(reason)

    def describe(self) -> str:
        text = f"the label that {self._observer().info.name} gives the original"
        if self.fraction is not None:
            return f"{text}, with at least {100 * self.fraction:g} % of its confidence"
        return text if self.confidence is None else f"{text}, with a confidence of at least {100 * self.confidence:g} %"

    def told(self, score: Score) -> str:
        kept = score.facts["label_original"]
        if score.facts["label"] == kept:
            return f'"{kept}" kept at {100 * score.value:.1f} %'
        return f'"{kept}" became "{score.facts["label"]}"'

    def measure(self, original: Image.Image) -> Measure:
        observer = self._observer()

        def ask(image: Image.Image) -> Any:
            return observer.predict([observer.view(image)])[0]

        before = observer.best(ask(original), 1)[0]
        least = self.confidence or 0.0
        if self.fraction is not None:
            least = self.fraction * before.probability

        def score(decompressed: Image.Image) -> Score:
            probabilities = ask(decompressed)
            after = observer.best(probabilities, 1)[0]
            value = float(probabilities[before.index])
            same = after.index == before.index
            facts = {
                "label_original": before.label,
                "confidence_original": before.probability,
                "label": after.label,
                "confidence": after.probability,
            }
            return Score(value, same and value >= least, value + same, facts=facts)

        return score

    def _observer(self) -> Observer:
        from beholder import observers

        if isinstance(self.classifier, observers.Observer):
            return observers.get(self.classifier, None if self.labels is None else Path(self.labels))
        return _open(os.fspath(self.classifier), None if self.labels is None else os.fspath(self.labels))


@functools.lru_cache(maxsize=4)
def _open(classifier: str, labels: str | None) -> Observer:
    """One observer for all images of a process: opening its network takes longer than using it."""
    from beholder import observers

    return observers.get(classifier, None if labels is None else Path(labels))


def _positive(value: float, what: str, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise BadOptionError(f"{what} of {value} is not possible: give a number above 0, {wanted}.")
