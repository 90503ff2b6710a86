"""Draw the learning curves of jobs of ``beholder train classifier``, one after the other, from their history.csv.

python scripts/classifier_curve.py runs/head runs/all --majority 0.137 --output curve.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", type=Path, nargs="+")
    parser.add_argument("--majority", type=float, help="accuracy of always guessing the most frequent class")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows: list[dict[str, float]] = []
    ends = []
    for job in options.jobs:
        with open(job / "history.csv", newline="") as file:
            rows += [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        ends.append(len(rows))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    epochs = range(1, len(rows) + 1)
    for axes, measure in ((left, "loss"), (right, "accuracy")):
        axes.plot(epochs, [row[measure] for row in rows], label="training", color="0.6")
        axes.plot(epochs, [row[f"val_{measure}"] for row in rows], label="held out", color="tab:blue")
        for end in ends[:-1]:
            axes.axvline(end + 0.5, color="0.8", linewidth=1)
        axes.set_xlabel("epoch")
        axes.set_ylabel(measure)
        axes.spines[["top", "right"]].set_visible(False)
    for end, job in zip(ends, options.jobs, strict=True):
        left.annotate(
            job.name, (end, 1), (0, -2), ("data", "axes fraction"), "offset points", fontsize=8, ha="right", va="top"
        )
    if options.majority is not None:
        right.axhline(options.majority, color="0.4", linewidth=1, linestyle=":", label="majority class")
    right.set_ylim(0, 1.02)
    right.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.15), fontsize=9)
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
