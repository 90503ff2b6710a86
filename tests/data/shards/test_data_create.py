"""``beholder data create``: killed at any moment it can be run again, with the result of an uninterrupted run."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.published import contents, put, source_of, write_dogs
from PIL import Image

from beholder import data
from beholder.cli import main
from beholder.data.shards.create import create
from beholder.errors import OutputError

pytestmark = pytest.mark.xdist_group("data create")  # one process, for its fixtures take seconds

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in an empty folder; what it printed on standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> str:
        assert main(["data", *arguments]) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    return call


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images that take a moment each to decode."""
    folder = tmp_path_factory.mktemp("large")
    pixels = np.kron(np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    for number in range(60):
        path = folder / f"{number % 7}_{number:03}.png"
        if number < 4:
            Image.fromarray(pixels + number).save(path, compress_level=1)
        else:
            path.write_bytes((folder / f"{number % 4}_{number % 4:03}.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def expected(large: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run in one process makes of them."""
    target = tmp_path_factory.mktemp("expected")
    create(source_of(large), target, shard_size=4)
    return contents(target)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small images."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(10):
        put(folder / f"{number}.jpg", number)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_run_again(
    large: Path, expected: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    target = tmp_path / "killed"
    arguments = ["--dataset", "folder", "--data", str(large), "--output", str(target)]
    command = [sys.executable, "-m", "beholder", "data", "create", *arguments]
    command += ["--jobs", str(workers), "--shard-size", "4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(target.glob("*-*.json")):
            assert process.poll() is None
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in target.glob("*-*.json")}
    assert 1 <= len(before) < 15
    assert not (target / "index.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A worker may have finished the shard that it was at when its parent was killed.
    assert "of them from before" in done.stdout
    assert contents(target) == expected
    assert all((target / name).stat().st_mtime_ns == when for name, when in before.items())
    assert list(data.open_source(target)) == list(data.open_source(large))


def test_killed_at_every_stage(small: Path, tmp_path: Path) -> None:
    """Whatever of the files is there, whole or half, the next run completes the same folder."""
    create(source_of(small), tmp_path / "whole", shard_size=3)
    whole = contents(tmp_path / "whole")
    rng = np.random.default_rng(1)
    for number in range(20):
        target = tmp_path / f"target{number}"
        target.mkdir()
        for name, content in whole.items():
            # A table stands for its shard, since it is written after it.
            fate = rng.integers(3)
            if fate == 0 or (fate == 1 and name.endswith(".tar")):
                (target / name).write_bytes(content if fate == 0 else content[: rng.integers(len(content))])
        (target / f".beholder-{next(iter(whole))}.1.tmp").write_bytes(b"half")
        create(source_of(small), target, shard_size=3)
        assert contents(target) == whole


@pytest.mark.slow
def test_a_worker_that_is_killed(large: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        children = multiprocessing.active_children()
        if done == 6:
            os.kill(children[0].pid or 0, signal.SIGKILL)

    with pytest.raises(OutputError, match=r"A worker process ended \(exit code -9\): run the command again"):
        create(source_of(large), tmp_path / "killed", shard_size=4, workers=2, progress=kill)
    assert not multiprocessing.active_children()
    create(source_of(large), tmp_path / "killed", shard_size=4, workers=2)
    assert contents(tmp_path / "killed") == expected


def test_a_finished_target_is_not_written_again(small: Path, tmp_path: Path) -> None:
    first = create(source_of(small), tmp_path, shard_size=5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-*")}
    second = create(source_of(small), tmp_path, shard_size=5)
    assert (first.resumed, second.resumed) == (0, 2)
    assert second.index == first.index
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-*")} == before


def test_the_commands(run: Run) -> None:
    expected = write_dogs(Path("dogs"))["train"]
    broken = Path("dogs/Images") / sorted(expected)[2]
    broken.write_bytes(b"no image")
    arguments = ("create", "--dataset", "stanford_dogs", "--split", "train", "--data", "dogs")
    out = run(*arguments, "--output", "out", "--jobs", "1", "--shard-size", "4")
    assert "out: 5 images in 2 shards; 1 skipped, see skipped.csv" in out
    assert f"Skipped {sorted(expected)[2]}: {broken.name} is not an image" in out
    out = run(*arguments, "--output", "out", "--shard-size", "4", "--json")
    facts = json.loads(out.splitlines()[0])
    assert facts.pop("target") == facts.pop("output") == "out"
    assert facts == {"samples": 5, "shards": 2, "skipped": 1, "resumed": 2}
    assert out.splitlines()[1].startswith("Skipped ")
    facts = json.loads(run("info", "out", "--json"))
    assert (facts["images"], facts["classes"], facts["shards"], facts["skipped"]) == (5, 3, 2, 1)
    assert "stanford_dogs-train" in run("info", "dogs", "--dataset", "stanford_dogs", "--split", "train")
    assert run("verify", "out") == "out: all 5 images are whole\n"
    shard = next(Path("out").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-512])
    assert "is truncated" in run("verify", "out", code=2)
    message = run("verify", "dogs", "--dataset", "stanford_dogs", "--split", "train", code=2)
    assert message.startswith("Error: ")
    assert "is not an image" in message
    assert "create" in run()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "--dataset", "mnist", "--data", "in", "--output", "out"), "no data set 'mnist'"),
        (("create", "--dataset", "folder", "--data", "no", "--output", "out"), "no folder no"),
        (("create", "--dataset", "folder", "--data", "in", "--output", "in"), "is the data set itself"),
        (("create", "--dataset", "folder", "--data", "in", "--output", "in/a.jpg"), "is no folder"),
        (("create", "--dataset", "folder", "--data", "in", "--output", "o", "--jobs", "0"), "0 jobs"),
        (("create", "--dataset", "imagenet", "--data", "in", "--output", "out"), "no val images"),
        (("create", "--dataset", "folder", "--split", "x", "--data", "in", "--output", "o"), "no split 'x'"),
        (("info", "nowhere"), "no folder nowhere"),
        (("verify", "nosuch://x"), "nosuch"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    put(Path("in/a.jpg"), 1)
    message = run(*arguments, code=2)
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    assert sentence in message
    assert not Path("out").exists()


def test_a_split_that_is_a_folder(run: Run) -> None:
    for split in ("train", "val"):
        for name in ("cats", "dogs"):
            put(Path("in") / split / name / f"{split}.jpg", len(split + name))
    run("create", "--dataset", "folder", "--split", "train", "--data", "in", "--output", "out")
    source = data.open_source("out", "folder", "train")
    assert source.name == "in-train"
    assert [(e.key, e.label) for e in source] == [("cats_train", 0), ("dogs_train", 1)]
