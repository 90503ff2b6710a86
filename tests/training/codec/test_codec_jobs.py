"""Codec training jobs that cannot start, that exist, and configs that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_training import PAPER_SETTINGS, job

from beholder import weights

torch = pytest.importorskip("torch")

from beholder.codecs.rnn.torch.weights import load_checkpoint  # noqa: E402
from beholder.errors import BadFileError, BadImageError, BadOptionError, OutputError  # noqa: E402
from beholder.training.codec.run import CodecJob, build, read_settings, train_codec  # noqa: E402


def test_jobs_that_cannot_start(photos: Path, tmp_path: Path) -> None:
    settings = PAPER_SETTINGS | {"steps": 1}
    with pytest.raises(BadFileError, match="no checkpoint"):
        train_codec(job(photos, tmp_path, settings, resume=True))
    empty = tmp_path / "empty"
    empty.mkdir()
    for train, val in ((empty, photos / "val"), (photos, empty), (photos / "missing", photos / "val")):
        with pytest.raises(BadImageError):
            train_codec(CodecJob(train, val, "toy", 0.0, settings, tmp_path / "runs"))
        assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        train_codec(job(photos, tmp_path / "file", settings))


def test_jobs_that_exist(photos: Path, tmp_path: Path) -> None:
    settings = PAPER_SETTINGS | {"steps": 1}
    path = train_codec(job(photos, tmp_path, settings))
    with pytest.raises(OutputError, match="--resume"):
        train_codec(job(photos, tmp_path, settings))
    with pytest.raises(BadOptionError, match="alpha"):
        train_codec(job(photos, tmp_path, settings, alpha=0.5, resume=True))
    other = settings | {"model": {"iterations": 2, "width": 0.125}}
    with pytest.raises(BadFileError, match="does not fit"):
        train_codec(job(photos, tmp_path, other, resume=True))
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"not a checkpoint", data[:100] + bytes(500) + data[600:]):
        path.write_bytes(damaged)
        with pytest.raises(BadFileError, match=r"^[^\n]*\.$"):
            train_codec(job(photos, tmp_path, settings, resume=True))
        assert path.read_bytes() == damaged


def test_checkpoints_run_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"settings": {}, "step": Evil()}, tmp_path / "last.pt")
    with pytest.raises(BadFileError, match="no checkpoint"):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "owned").exists()


def test_the_config_makes_the_steps_that_ship() -> None:
    quantiser = build(read_settings("swift"), 0.0).codec.quantiser
    with np.load(weights.CODEC / "entropy.npz") as arrays:
        for name in ("log_ratio", "searched_ratio"):
            np.testing.assert_array_equal(getattr(quantiser, name).numpy(), arrays[name])
