"""Codec training at toy size: a codec that has every network and learns in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from beholder.training.codec.run import CodecJob

SIZES: dict[str, Any] = {
    "hidden": 16,
    "context": 8,
    "eye_width": 8,
    "eye_blocks": 1,
    "eye_codes": 8,
    "machine_network": 1,
}
SWIFT_SETTINGS: dict[str, Any] = {
    "architecture": "swift",
    "model": SIZES,
    "steps": 6,
    "phases": [{"until": 6, "crop": 48, "batch": 8}],
    "lr": 0.002,
    "log_every": 1,
    "quantise_from": 3,
    "parts": [["entropy", 3], ["eye", 5], ["decoder", 6]],
    "seed": 3,
}
PAPER_SETTINGS: dict[str, Any] = {
    "architecture": "paper",
    "model": {"iterations": 2, "width": 0.0625},
    "steps": 6,
    "phases": [{"until": 4, "crop": 48, "batch": 2}, {"until": 6, "crop": 64, "batch": 1}],
    "lr": 0.002,
    "log_every": 1,
    "seed": 3,
}


def job(photos: Path, runs: Path, settings: dict[str, Any], **options: Any) -> CodecJob:
    options = {"job_id": "toy", "alpha": 0.0, "device": "cpu"} | options
    return CodecJob(photos, photos / "val", settings=settings, runs=runs, **options)
