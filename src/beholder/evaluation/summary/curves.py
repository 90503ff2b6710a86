"""Curves of a sweep: estimates with confidence intervals, points, and which point belongs to which curve."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEAN = "(mean)"
"""Stands for all classifiers together."""
DIFFERENCE_DIGITS = 1
"""Decimals of a difference in per cent or points."""

_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval, whose ends are NaN where it is not known: of a single image."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below zero as it is printed, else 0.

        Judged after rounding: intervals that read alike get the same mark, whatever the last bits of their ends are.
        """
        if not self.known:
            return 0
        low, high = (round(end, DIFFERENCE_DIGITS) for end in (self.low, self.high))
        return 1 if low > 0 else -1 if high < 0 else 0


def signed(value: float) -> str:
    """A difference in per cent or points as it is printed; zero is +0.0, never -0.0."""
    return f"{round(value, DIFFERENCE_DIGITS) + 0.0:+.{DIFFERENCE_DIGITS}f}"


@dataclass(frozen=True)
class Series:
    """A curve: a codec, for one observer where it knows more than one."""

    codec: str
    alpha: float | None = None

    def __str__(self) -> str:
        return self.codec if self.alpha is None else f"{self.codec} \u03b1 = {self.alpha:g}"


@dataclass(frozen=True)
class Row:
    """One point of a curve: the means over images of one codec x alpha x quality x classifier."""

    series: Series
    quality: int
    classifier: str | None
    images: int
    samples: dict[str, Array] = field(repr=False, compare=False)
    """Name -> the mean, then its bootstrap replicates."""

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def value(self, name: str) -> float | None:
        """The mean called ``name``, or None if nothing is known of it."""
        return float(self.samples[name][0]) if name in self.samples else None

    def estimate(self, name: str) -> Estimate | None:
        """The mean called ``name`` with its interval, or None."""
        return interval(self.samples[name]) if name in self.samples else None


@dataclass(frozen=True)
class Curves:
    """The points of all curves of a sweep."""

    rows: list[Row]
    """By classifier, then series, then rising bpp."""
    metrics: list[str]
    """The metrics that were measured."""

    @property
    def views(self) -> list[str | None]:
        """The classifiers, together first if there is more than one; ``[None]`` if there is none."""
        found = list(dict.fromkeys(row.classifier for row in self.rows))
        return sorted(found, key=lambda name: (name != MEAN, found.index(name)))

    @property
    def series(self) -> list[Series]:
        """The curves, in the order of figures."""
        return list(dict.fromkeys(row.series for row in self.rows))

    def curve(self, view: str | None, series: Series) -> list[Row]:
        """The points of one curve, bpp rising."""
        return [row for row in self.rows if row.classifier == view and row.series == series]

    def knows(self, name: str, view: str | None = None) -> bool:
        """Whether any row (of one view) has a value called ``name``."""
        return any(name in row for row in self.rows if view is None or row.classifier == view)

    def machine(self, view: str | None) -> str | None:
        """Measure of a machine's view: preserved accuracy, without labels agreement, without classifiers None."""
        return next((name for name in ("preserved", "agreement") if view and self.knows(name, view)), None)


def interval(samples: Array) -> Estimate:
    """A value and the percentiles of its replicates, ``samples[1:]``, from (1 + replicates,); NaN ones are left out."""
    known = samples[1:][np.isfinite(samples[1:])]
    low, high = np.percentile(known, _INTERVAL) if known.size else (np.nan, np.nan)
    return Estimate(float(samples[0]), float(low), float(high))
