"""Whoever ends a sweep at whatever moment: what is resumed has the same rows as one that was left in peace."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.photos import make_photo

from beholder.errors import NotAvailableError
from beholder.evaluation.sweep import results
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep import settings as sweep_settings
from beholder.evaluation.sweep import workers as sweep_workers
from beholder.evaluation.sweep.jobs import Batch
from beholder.evaluation.sweep.results import BatchResult
from beholder.evaluation.sweep.run import Progress
from beholder.evaluation.sweep.settings import Settings

IMAGES = 6
OPTIONS: dict[str, Any] = {
    "codecs": ["jpeg", "webp"],
    "qualities": {"jpeg": [5, 50], "webp": [30]},
    "classifiers": [],
    "gallery": 0,
}

# Runs a sweep and kills itself: at a number of images done, or before or after it renames its nth file.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from beholder.evaluation.sweep import run as sweep, settings as sweep_settings, workers as sweep_workers

data, output, options, workers, moment, count = sys.argv[1:]
settings = sweep_settings.prepare(data, **json.loads(options))
files, replace = 0, os.replace

def die():
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    print(children.read_text() if children.exists() else "", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def counted(source, target):
    global files
    files += 1
    if moment == "before" and files == int(count):
        die()
    replace(source, target)
    if moment == "after" and files == int(count):
        die()

def progress(now):
    if moment == "images" and now.images >= int(count):
        die()

os.replace = counted
runner = sweep_workers.processes(int(workers)) if int(workers) > 1 else sweep_workers.inline
sweep.run(settings, Path(output), runner=runner, progress=progress)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        make_photo(64, 48, seed=number).save(folder / f"{number}.png")
    (folder / "3b.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def settings(photos: Path) -> Settings:
    return sweep_settings.prepare(photos, **OPTIONS)


@pytest.fixture(scope="module")
def peaceful(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of a sweep that nobody disturbed."""
    folder = tmp_path_factory.mktemp("peaceful")
    sweep.run(settings, folder)
    rows = rows_of(folder)
    assert len(rows) == 3 * IMAGES
    return rows


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = results.read(folder).to_pylist()
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]


def killed(photos: Path, folder: Path, moment: str, count: int, workers: int = 1) -> str:
    """Run the script until it kills itself; what it printed."""
    arguments = [str(photos), str(folder), json.dumps(OPTIONS), str(workers), moment, str(count)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("moment", "count", "kept"),
    [("before", 1, 0), ("after", 1, 0), ("before", 2, 0), ("before", 5, 2), ("after", 5, 3), ("images", 7, 7)],
)
def test_killed_at_any_moment(
    moment: str, count: int, kept: int, photos: Path, settings: Settings, peaceful: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    killed(photos, folder, moment, count)
    before = list(results.parts(folder))
    assert len(before) == kept
    seen: list[Progress] = []
    outcome = sweep.run(settings, folder, resume=True, progress=seen.append)
    assert rows_of(folder) == peaceful
    assert (outcome.images, outcome.rows) == (IMAGES + 1, len(peaceful))
    assert [failure.file for failure in outcome.failures] == ["3b.png"]
    assert (seen[0].images, seen[0].resumed, seen[-1].images) == (kept, kept, IMAGES + 1)
    # What was done was not done again, and no scraps are left.
    assert list(results.parts(folder))[:kept] == before
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to find the worker processes in")
def test_killed_with_workers(photos: Path, settings: Settings, peaceful: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    children = [int(pid) for pid in killed(photos, folder, "images", 2, workers=2).split()]
    assert len(children) >= 2
    deadline = time.monotonic() + 30
    while any(map(_lives, children)):
        assert time.monotonic() < deadline, "worker processes outlive the one that started them"
        time.sleep(0.1)
    assert 1 <= len(list(results.parts(folder))) <= IMAGES
    sweep.run(settings, folder, resume=True)
    assert rows_of(folder) == peaceful


def test_dead_workers_are_replaced(settings: Settings, peaceful: list[dict[str, Any]], tmp_path: Path) -> None:
    victims: list[int] = []

    def kill_one(now: Progress) -> None:
        if now.images and not victims:
            child = multiprocessing.active_children()[0]
            victims.append(child.pid or 0)
            child.kill()

    sweep.run(settings, tmp_path / "out", runner=sweep_workers.processes(2), progress=kill_one)
    assert victims
    assert rows_of(tmp_path / "out") == peaceful
    assert not multiprocessing.active_children()


def die(settings: Settings, batch: Batch) -> BatchResult:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_images_that_kill_every_worker_end_the_sweep(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_workers, "run_batch", die)
    with pytest.raises(NotAvailableError, match="died 3 times"):
        sweep.run(settings, tmp_path / "out", runner=sweep_workers.processes(1))


def test_workers_tell_what_is_wrong_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    strange = replace(settings, versions=(*settings.versions, ("sandwich", "1.0")))
    with pytest.raises(NotAvailableError, match="version of sandwich"):
        sweep.run(strange, tmp_path / "out", runner=sweep_workers.processes(1))
    assert not multiprocessing.active_children()


def test_stopping_ends_the_workers_at_once(settings: Settings, tmp_path: Path) -> None:
    def stop(now: Progress) -> None:
        if now.images:
            raise KeyboardInterrupt

    environment = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(settings, tmp_path / "out", runner=sweep_workers.processes(2), progress=stop)
    assert not multiprocessing.active_children()
    assert dict(os.environ) == environment
    assert len(list(results.parts(tmp_path / "out"))) == 1


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
