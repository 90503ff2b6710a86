"""Draw the figures of a sweep anew from its summary.csv alone, where its rows are not kept.

    python scripts/redraw_results.py docs/results/imagenet171

Intervals of single points are those of the file.  Between two points they are interpolated, rates held fixed.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from beholder.evaluation.plots import figures
from beholder.evaluation.summary.curves import Row, Series
from beholder.evaluation.summary.summarise import FRACTIONS, SUMMARY, TIMES, Summary

_OTHERS = {"bpp", "bytes", "metadata_bytes", *FRACTIONS, *TIMES}
_BEYOND = 0.025 / 0.95
"""By how much of its length two replicates lie outside of the 95 % interval that they have."""


def read(path: Path) -> Summary:
    """The summary whose lines a sweep wrote to ``path``."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = [name for name in lines[0] if f"{name}_low" in lines[0] or name in TIMES]
    rows = []
    for line in lines:
        samples = {}
        for name in names:
            if line[name]:
                value = float(line[name])
                low, high = (float(line.get(f"{name}_{end}") or value) for end in ("low", "high"))
                more = 0.0 if name == "bpp" else _BEYOND * (high - low)
                low, high = (value, value) if name == "bpp" else (low, high)
                samples[name] = np.array([value, low - more, high + more])
        series = Series(line["codec"], float(line["alpha"]) if line["alpha"] else None)
        rows.append(Row(series, int(line["quality"]), line["classifier"] or None, int(line["images"]), samples))
    return Summary(rows, [name for name in names if name not in _OTHERS])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for written in figures.write(folder, read(folder / SUMMARY)):
        print(written)
