"""Summary of a sweep: means over images with confidence intervals, and the differences between codecs.

:func:`write` puts ``summary.csv`` (one line per codec x alpha x quality x classifier) and ``comparisons.csv`` (one per
pair of codecs) beside the results.  Intervals are 95 % percentile bootstrap intervals over images, seeded.  Ten million
rows need the memory of a quarter of a million: see :mod:`.read` and :mod:`.bootstrap`.

========================  ==============================================================================================
``images``                rows of the group; whoever could not be evaluated is left out
``bpp``, ``bytes``        of whole files
``metadata_bytes``        of ``bytes``; only in sweeps that keep metadata
``ms_ssim``, ...          one metric each; undefined and infinite values are left out of the mean
``top1``, ``top5``        how often the true class comes first, among the first five
``top1_original``         the same in the originals
``preserved``             ``top1 / top1_original``
``agreement``             how often the decompressed image is seen as the same class as the original
========================  ==============================================================================================

Without labels the accuracies are left out.  The classifier ``(mean)`` is the mean over all classifiers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.evaluation.summary.bootstrap import REPLICATES, GroupMeans, group_means
from beholder.evaluation.summary.compare import Comparison, compare, records
from beholder.evaluation.summary.curves import MEAN, Curves, Row, Series
from beholder.evaluation.summary.read import FIGURES, OUTCOMES, FolderRows, GroupKey, Rows, TableRows
from beholder.evaluation.sweep.results import TABLE
from beholder.files import csv_text, save_atomically

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY = "summary.csv"
COMPARISONS = "comparisons.csv"
FRACTIONS = ("top1", "top5", "top1_original", "preserved", "agreement")
"""Values between 0 and (but for ``preserved``) 1."""
METADATA = "metadata_bytes"
TIMES = ("encode_seconds", "decode_seconds")

_NAMES = {"correct": "top1", "correct5": "top5", "correct_original": "top1_original", "agrees": "agreement"}


@dataclass(frozen=True)
class Summary(Curves):
    """All that the figures and tables show."""

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """BD-rate and BD-accuracy of every pair of curves."""
        return compare(self)

    def records(self) -> list[dict[str, Any]]:
        """The lines of ``summary.csv``: ``bpp``, ``bpp_low``, ``bpp_high`` and so on; None where unknown."""
        return [_record(row, self.columns()) for row in self.rows]

    def columns(self) -> list[str]:
        """The names of values that at least one row knows."""
        kept = any(row.value(METADATA) for row in self.rows)
        names = ("bpp", "bytes", *((METADATA,) if kept else ()), *self.metrics, *FRACTIONS, *TIMES)
        return [name for name in names if self.knows(name)]


def summarise(table: pa.Table, replicates: int = REPLICATES) -> Summary:
    """The summary of a table of results in memory.

    Args:
        table: columns as :mod:`beholder.evaluation.sweep.results` lists them, in any order of rows.
        replicates: how many bootstrap replicates make the intervals.

    Raises:
        BadFileError: the file has not a sweep's columns.
    """
    return _summarise(TableRows(table), replicates)


def load(folder: Path) -> Summary:
    """The summary of the results in ``folder``, which may hold many more rows than fit into memory.

    Raises:
        BadFileError: there are no results, or a part is damaged.
        NotAvailableError: pyarrow is not installed.
    """
    return _summarise(FolderRows(folder), REPLICATES)


def write(folder: Path, summary: Summary | None = None) -> Summary:
    """Write ``summary.csv`` and ``comparisons.csv`` into ``folder`` and return what they say.

    Raises:
        BadFileError: there are no results, or a part is damaged.
        OutputError: ``folder`` is not writable.
    """
    folder = home(folder)
    summary = summary or load(folder)
    for name, lines in ((SUMMARY, summary.records()), (COMPARISONS, records(summary.comparisons))):
        save_atomically(folder / name, _csv(lines).encode("utf-8", "backslashreplace"))
    return summary


def home(folder: Path) -> Path:
    """The folder of a sweep, also for the ``results.parquet`` in it."""
    return folder.parent if folder.name == TABLE else folder


def number(value: float | None) -> str:
    """A number for a table to be read by machines: six digits, empty if unknown."""
    return "" if value is None or not np.isfinite(value) else f"{value:.6g}"


def _summarise(rows: Rows, replicates: int) -> Summary:
    metrics = rows.metrics()
    figures = [*FIGURES, *(name for name in (METADATA,) if name in rows.schema().names)]
    found = group_means(rows, [*figures, *metrics, *OUTCOMES], replicates)
    points = [_row(key, group) for key, group in found.items()]
    classifiers = list(dict.fromkeys(row.classifier for row in points))
    if len(classifiers) > 1:
        points += _means(points)
    order = _order([*classifiers, MEAN]), _order(_codecs(points))
    points.sort(key=lambda row: (order[0][row.classifier], order[1][row.series.codec], _place(row)))
    return Summary(points, metrics)


def _row(key: GroupKey, group: GroupMeans) -> Row:
    codec, alpha, quality, classifier = key
    samples = {_NAMES.get(name, name): mean for name, mean in group.means.items()}
    if "top1" in samples and "top1_original" in samples and samples["top1_original"][0] > 0:
        with np.errstate(invalid="ignore", divide="ignore"):
            preserved = samples["top1"] / samples["top1_original"]
        samples["preserved"] = np.where(np.isfinite(preserved), preserved, np.nan)
    return Row(Series(codec, alpha), quality, classifier, group.rows, samples)


def _means(rows: Sequence[Row]) -> list[Row]:
    """The means over classifiers; an unknown value is left out."""
    pooled: dict[tuple[Series, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.classifier is not None:
            pooled[row.series, row.quality].append(row)
    result = []
    for (series, quality), group in pooled.items():
        names = dict.fromkeys(name for row in group for name in row.samples)
        samples = {name: np.mean([row.samples[name] for row in group if name in row], axis=0) for name in names}
        result.append(Row(series, quality, MEAN, max(row.images for row in group), samples))
    return result


def _codecs(rows: Iterable[Row]) -> list[str]:
    """The codecs as :func:`beholder.codecs.names` orders them, then others by name."""
    from beholder import codecs

    known = codecs.names()
    found = {row.series.codec for row in rows}
    return sorted(found, key=lambda name: (known.index(name) if name in known else len(known), name))


def _order(names: Sequence[str | None]) -> dict[str | None, int]:
    return {name: place for place, name in enumerate(names)}


def _place(row: Row) -> tuple[float, float, int]:
    alpha = -1.0 if row.series.alpha is None else row.series.alpha
    return alpha, row.value("bpp") or 0.0, row.quality


def _record(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "codec": row.series.codec,
        "alpha": row.series.alpha,
        "quality": row.quality,
        "classifier": row.classifier,
        "images": row.images,
    }
    for name in columns:
        estimate = row.estimate(name)
        record[name] = None if estimate is None else estimate.value
        if name not in TIMES:  # the intervals of times would be those of a busy or idle computer
            record[f"{name}_low"] = None if estimate is None else estimate.low
            record[f"{name}_high"] = None if estimate is None else estimate.high
    return record


def _csv(records: Sequence[dict[str, Any]]) -> str:
    lines = [[number(value) if isinstance(value, float) else value for value in record.values()] for record in records]
    return csv_text([*(list(record) for record in records[:1]), *lines])
