"""Means of groups of rows and their bootstrap replicates, in one pass and bounded memory.

Images are drawn, with replacement, ``replicates`` times; a draw is a vector of weights, how often each image came.
The same draws serve every group. So a figure of several groups, such as a BD-rate, has its interval from jointly
resampled images. Of each group only weighted sums are kept: for every replicate and column one sum of values and one
of weights. Nothing depends on the order of rows but the last bits of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beholder.errors import BadFileError
from beholder.evaluation.summary.read import GroupKey, Rows

Array = NDArray[np.float64]

REPLICATES = 1000
SEED = 20200929
BUDGET = 256 << 20
"""Bytes for weights and sums; where they would need more, fewer replicates are drawn."""

_LEAST_REPLICATES = 100
_BLOCK = 4096  # rows whose weights are looked up at a time: 32 MiB
_MOST_IMAGES = 100_000_000


@dataclass(frozen=True)
class GroupMeans:
    """Weighted means of the rows of one group.

    ``means[column]`` has shape (1 + replicates,): first the mean itself, then those of the replicates; NaN where a
    replicate holds no value.  One image alone has no replicates.  Columns without any value are left out.
    """

    rows: int
    means: dict[str, Array]


def group_means(rows: Rows, columns: Sequence[str], replicates: int = REPLICATES) -> dict[GroupKey, GroupMeans]:
    """The means of ``columns`` for every codec x alpha x quality x classifier.

    Null, NaN and infinite values (the PSNR of identical pictures) are left out of the mean of their column.

    Raises:
        BadFileError: a part is damaged or its columns do not fit.
    """
    images, keys = _survey(rows)
    per_replicate = len(images) + 16 * len(keys) * len(columns)
    replicates = max(min(replicates, BUDGET // max(per_replicate, 1)), min(replicates, _LEAST_REPLICATES))
    if len(images) < 2:  # of one image nobody knows how others differ
        replicates = 0
    weights = draw(len(images), replicates)
    size = (len(columns), 1 + replicates)
    sums = {key: (np.zeros(size), np.zeros(size)) for key in keys}
    counts = dict.fromkeys(keys, 0)
    for chunk in rows.chunks(columns):
        image = np.array([images[name] for name in chunk.images])[chunk.image]
        order = np.argsort(chunk.group, kind="stable")
        starts = np.searchsorted(chunk.group[order], np.arange(len(chunk.groups) + 1))
        values = np.array([chunk.values[name] for name in columns])
        for number, key in enumerate(chunk.groups):
            mine = order[starts[number] : starts[number + 1]]
            counts[key] += len(mine)
            for first in range(0, len(mine), _BLOCK):
                part = mine[first : first + _BLOCK]
                _add(*sums[key], values[:, part], weights[image[part]].astype(np.float64))
    return {key: GroupMeans(counts[key], _divide(columns, *sums[key])) for key in keys}


def draw(images: int, replicates: int) -> NDArray[np.uint8]:
    """Number of times of each image in each replicate, (images, 1 + replicates); once in the first column."""
    generator = np.random.default_rng(SEED)
    weights = np.ones((images, 1 + replicates), np.uint8)
    for replicate in range(1, 1 + replicates):
        drawn = np.bincount(generator.integers(0, images, images), minlength=images)
        weights[:, replicate] = np.minimum(drawn, 255)
    return weights


def _survey(rows: Rows) -> tuple[dict[str, int], list[GroupKey]]:
    """Image -> number, in alphabetical order, and all groups."""
    names: set[str] = set()
    keys: set[GroupKey] = set()
    for chunk in rows.chunks(()):
        names.update(chunk.images)
        keys.update(chunk.groups)
        if len(names) > _MOST_IMAGES:
            raise BadFileError(f"There are more than {_MOST_IMAGES:,} images: summarise parts of the results.")
    if None in names:
        raise BadFileError("A row names no image: give results that `beholder evaluate` wrote.")
    # Without the key an alpha of None would be compared with numbers.
    order = sorted(keys, key=lambda key: (key[0], key[1] or 0.0, key[1] is None, key[2], key[3] or ""))
    return {name: number for number, name in enumerate(sorted(names))}, order


def _add(sums: Array, totals: Array, values: Array, weights: Array) -> None:
    known = np.isfinite(values)
    sums += np.where(known, values, 0.0) @ weights
    if known.all():
        totals += weights.sum(axis=0)
    else:
        totals += known.astype(np.float64) @ weights


def _divide(columns: Sequence[str], sums: Array, totals: Array) -> dict[str, Array]:
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / totals
    return {name: mean for name, mean, total in zip(columns, means, totals, strict=True) if total[0] > 0}
