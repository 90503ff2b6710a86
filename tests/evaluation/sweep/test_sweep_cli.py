"""``beholder evaluate``: what it leaves behind, what it says, how it stops and goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.photos import make_photo

from beholder.cli import main
from beholder.evaluation.plots import figures as plots
from beholder.evaluation.report import write as report
from beholder.evaluation.sweep import results

OPTIONS = ("--codecs", "jpeg", "--qualities", "jpeg=5,50", "--classifiers", "none")

# Runs the command and interrupts it when the second part has been written.
INTERRUPTED = """
import os, signal, sys
from beholder.cli import main
from beholder.evaluation.sweep import results

write, written = results.write, []

def interrupt(folder, result, metrics):
    write(folder, result, metrics)
    written.append(result.number)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGINT)

results.write = interrupt
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, index in enumerate((3, 281, 500)):
        make_photo(64, 48, seed=number).save(folder / f"{index:04d}_photo.png")
    return folder


@pytest.fixture
def command(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run ``beholder evaluate`` on the photos, without figures and report, which take their time."""
    monkeypatch.setattr(plots, "write", lambda folder, summary: [])
    monkeypatch.setattr(report, "write", lambda folder, summary: folder / "report.html")

    def run(*arguments: str, output: str = "out", options: tuple[str, ...] = OPTIONS) -> int:
        return main(["evaluate", "--data", str(photos), *options, "--output", str(tmp_path / output), *arguments])

    return run


@pytest.mark.slow
def test_everything_is_there_afterwards(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "0001_broken.jpg").write_bytes(b"broken")
    out = tmp_path / "out"
    arguments = ["--codecs", "jpeg,webp", "--qualities", "jpeg=5,50;webp=1,30", "--limit", "3", "--gallery", "2"]
    assert main(["evaluate", "--data", str(photos), *arguments, "--output", str(out), "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert {path.name for path in out.iterdir()} >= {
        *("results.parquet", "settings.json", "summary.csv", "plots", "report.html", "gallery", "errors.csv"),
    }
    assert "MS-SSIM" in said.out
    assert "8 rows of 2 images" in said.out
    assert str(out / "report.html") in said.out
    assert "1 of 3 images were left out" in said.err
    assert "0001_broken.jpg" in said.err
    assert json.loads((out / "settings.json").read_text())["qualities"] == {"jpeg": [5, 50], "webp": [1, 30]}


def test_results_are_not_overwritten_but_resumed(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted((tmp_path / "out" / "results.parquet").iterdir())]
    assert command() == 2
    assert "is not empty" in capsys.readouterr().err
    assert command("--metrics", "psnr", "--resume") == 2
    assert "other settings (metrics: ms_ssim,psnr, now psnr)" in capsys.readouterr().err
    assert command("--resume") == 0
    assert before == [
        (path.name, path.stat().st_mtime_ns) for path in sorted((tmp_path / "out" / "results.parquet").iterdir())
    ]


def test_interrupt_says_how_to_go_on(
    command: Callable[..., int], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--data", str(photos), *OPTIONS, "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert [line for line in done.stderr.splitlines() if " images" not in line] == [
        f"Interrupted. What is done lies in {tmp_path / 'out'}: the same command with --resume goes on."
    ]
    assert len(list(results.parts(tmp_path / "out"))) == 2
    assert command("--resume") == 0
    assert results.read(tmp_path / "out").num_rows == 6


def test_unlabelled_data_is_mentioned(
    photos: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "0003_photo.png").rename(photos / "photo.png")
    assert command("--classifiers", "efficientnet_lite0", "--limit", "1", options=OPTIONS[:4]) == 0
    said = capsys.readouterr()
    assert "agreement with the original's top-1 is reported" in said.err
    assert "agreement" in said.out
    assert "top-1 %" not in said.out


def test_an_alpha_without_effect_is_told(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--alpha", "0,1") == 0
    assert "--alpha has no effect" in capsys.readouterr().err
    assert command("--resume") == 0
    assert "no effect" not in capsys.readouterr().err


def test_nothing_but_broken_images(
    photos: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"broken")
    assert command() == 2
    assert "errors.csv says why" in capsys.readouterr().err


def test_missing_matplotlib_leaves_out_the_figures(
    command: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command() == 0
    said = capsys.readouterr()
    assert "No figures: " in said.err
    assert "Report: " in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--jobs", "0"), "0 jobs"),
        (("--alpha", "human"), "Alpha 'human'"),
        (("--qualities", "jpeg"), "cannot be read"),
        (("--codecs", "gif"), "no codec 'gif'"),
        (("--limit", "0"), "limit of 0"),
        (("--labels", "labels.txt"), "Labels are for classifiers given as ONNX files"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: tuple[str, ...],
    words: str,
    command: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(*arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
