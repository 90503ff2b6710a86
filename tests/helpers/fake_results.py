"""Synthetic results in the columns of a sweep: what the tests of summaries, figures and reports read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beholder.evaluation.summary.curves import Row
from beholder.evaluation.summary.summarise import Summary
from beholder.evaluation.sweep import results

METRICS = ("ms_ssim", "psnr")
GRID: dict[str, dict[float | None, tuple[int, ...]]] = {
    "rnn": {0.0: (1, 2, 4, 6, 8), 0.5: (1, 2, 4, 6, 8), 1.0: (1, 2, 4, 6, 8)},
    "jpeg": {None: (5, 15, 30, 50, 80)},
    "bpg": {None: (45, 40, 35, 30, 25)},
}
CLASSIFIERS = ("lite0", "vgg16")


def row(**values: Any) -> dict[str, Any]:
    """One row with plain values where none are given."""
    plain: dict[str, Any] = {
        "image": "a",
        "width": 100,
        "height": 80,
        "codec": "jpeg",
        "quality": 10,
        "alpha": None,
        "bytes": 1000,
        "metadata_bytes": 0,
        "bpp": 1.0,
        "ms_ssim": 0.9,
        "psnr": 30.0,
        "encode_seconds": 0.1,
        "decode_seconds": 0.05,
        "classifier": "lite0",
        "label": 3,
        "top5_original": [3, 1, 2, 4, 5],
        "top5": [3, 2, 1, 5, 4],
        "top5_probability": [0.6, 0.2, 0.1, 0.05, 0.01],
        "correct": True,
        "correct5": True,
        "correct_original": True,
        "agrees": True,
    }
    return plain | values


def table(rows: Sequence[dict[str, Any]], metrics: Sequence[str] = METRICS) -> pa.Table:
    """Rows as the table that a sweep writes."""
    return pa.Table.from_pylist(list(rows), results.schema(metrics))


def sweep_rows(
    images: int = 24,
    classifiers: Sequence[str | None] = CLASSIFIERS,
    grid: dict[str, dict[float | None, tuple[int, ...]]] | None = None,
    labelled: bool = True,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A whole sweep: quality rises with the rate, a machine's view with alpha, BPG is best for people."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        busy, hard = rng.uniform(0.7, 1.4), rng.uniform(size=len(classifiers))
        for codec, alphas in (grid or GRID).items():
            for alpha, qualities in alphas.items():
                for step, quality in enumerate(qualities):
                    bpp = 0.12 * 1.75**step * busy * {"jpeg": 1.5, "bpg": 0.8}.get(codec, 1.0)
                    human = {"jpeg": 0.0, "bpg": 3.0}.get(codec, 2.0) - 1.5 * (alpha or 0.0)
                    machine = {"jpeg": 0.0, "bpg": 0.25}.get(codec, 0.3 + 0.4 * (alpha or 0.0))
                    decibels = 10 + human + 4 * math.log2(bpp / busy / 0.12)
                    for classifier, difficulty in zip(classifiers, hard, strict=True):
                        seen = machine + 0.45 * step > 1.6 * difficulty
                        known = classifier is not None
                        label = number % 7 if labelled and known else None
                        top = number % 7 if seen else number % 7 + 1
                        rows.append(
                            row(
                                image=f"image{number:04d}",
                                codec=codec,
                                alpha=alpha,
                                quality=quality,
                                bytes=round(bpp * 1000),
                                bpp=bpp,
                                ms_ssim=1 - 10 ** (-decibels / 10),
                                psnr=20 + decibels,
                                classifier=classifier,
                                label=label,
                                top5_original=[number % 7, 20, 21, 22, 23] if known else None,
                                top5=[top, 20, 21, 22, 23] if known else None,
                                top5_probability=[0.5, 0.2, 0.1, 0.05, 0.01] if known else None,
                                correct=None if label is None else seen,
                                correct5=None if label is None else seen or difficulty < 0.8,
                                correct_original=None if label is None else difficulty < 0.9,
                                agrees=seen if known else None,
                            )
                        )
    return rows


def write(
    folder: Path, rows: Sequence[dict[str, Any]], parts: int = 3, metrics: Sequence[str] = METRICS, **settings: Any
) -> Path:
    """The folder of a sweep with these rows, without a gallery."""
    (folder / results.TABLE).mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // parts)
    for number in range(parts):
        part = BytesIO()
        pq.write_table(table(rows[number * size : (number + 1) * size], metrics), part, compression="zstd")
        (folder / results.TABLE / f"part-{number:06d}.parquet").write_bytes(part.getvalue())
    plain = {
        "data": "/data/photos",
        "images": len({r["image"] for r in rows}),
        "codecs": list(dict.fromkeys(r["codec"] for r in rows)),
        "classifiers": list(dict.fromkeys(r["classifier"] for r in rows if r["classifier"])),
        "metrics": list(metrics),
        "protocol": "native",
        "versions": {"beholder": "0.0"},
    }
    (folder / results.SETTINGS).write_text(json.dumps(plain | settings))
    return folder


def only(result: Summary, **wanted: Any) -> Row:
    """The one row of a summary with these values in the row or its series."""
    rows = [
        r
        for r in result.rows
        if all(getattr(r, k, None) == v or getattr(r.series, k, None) == v for k, v in wanted.items())
    ]
    assert len(rows) == 1
    return rows[0]
