"""Several processes train one codec together, as torchrun starts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.photos import make_photo
from helpers.processes import run_members

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from beholder.codecs.rnn.torch.weights import load_checkpoint  # noqa: E402
from beholder.errors import BadOptionError  # noqa: E402
from beholder.training.codec.run import CodecJob, CodecTraining, train_codec  # noqa: E402
from beholder.training.distributed import Processes  # noqa: E402

_MEMBER = """
from pathlib import Path
from beholder.training.codec.run import CodecJob, train_codec
folder = Path({folder!r})
settings = {settings!r}
photos = folder / "photos"
print(train_codec(CodecJob(photos, photos, {job!r}, 0.0, settings, folder / "runs", device="cpu")))
"""
MODEL = {"hidden": 8, "context": 8, "eye_width": 8, "eye_codes": 8, "machine_network": 1}
SETTINGS = {
    "architecture": "swift",
    "model": MODEL,
    "steps": 8,
    "parts": [["eye", 3], ["entropy", 5], ["decoder", 8]],
    "phases": [{"until": 8, "crop": 48, "batch": 4}],
    "quantise_from": 4,
    "log_every": 1,
    "lr": 0.001,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        make_photo(80, 64, seed).save(tmp_path / "photos" / f"{seed}.png")
    return tmp_path


def train(folder: Path, job: str, world: int) -> list[str]:
    """What each of ``world`` processes printed."""
    code = _MEMBER.format(folder=str(folder), settings=SETTINGS, job=job)
    return run_members(code, world)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same loss curve and weights with the same global batch, but for rounding; only the first process prints."""
    photos = folder / "photos"
    train_codec(CodecJob(photos, photos, "one", 0.0, SETTINGS, folder / "runs", device="cpu"))
    alone = capsys.readouterr().out
    first, second = train(folder, "two", 2)
    curves = [[float(x) for x in re.findall(r"loss (\S+)", text)] for text in (alone, first)]
    assert len(curves[0]) == SETTINGS["steps"]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3, abs=2e-4)
    assert "loss" not in second
    one, two = (load_checkpoint(folder / "runs" / job / "last.pt") for job in ("one", "two"))
    for name, value in one["model"].items():
        # Adam makes full steps of gradients that are nothing but rounding errors, so single weights may differ.
        assert float((value - two["model"][name]).abs().mean()) < 1e-4, name


def test_batches_that_cannot_be_shared_are_refused(folder: Path) -> None:
    job = CodecJob(folder / "photos", folder / "photos", "three", 0.0, SETTINGS, folder / "runs", device="cpu")
    with pytest.raises(BadOptionError, match="3 processes evenly"):
        CodecTraining(job, Processes(0, 3))
