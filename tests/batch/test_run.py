"""A batch does every file once, tells what failed, and goes on after an interruption."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from beholder.batch.journal import ERRORS, FILES
from beholder.batch.plan import Item
from beholder.batch.run import Progress, run
from beholder.batch.tasks import Row, Task
from beholder.errors import BadFileError, BadOptionError, OutputError, note
from beholder.files import save_atomically


@dataclass(frozen=True)
class Reverse(Task):
    """Writes a file backwards; what its words ask for goes wrong."""

    verb: ClassVar[str] = "reversed"
    words: str = ""

    def describe(self) -> str:
        return f"reverse {self.words}"

    def wanted(self, path: Path, head: bytes) -> bool:
        return True

    def suffixes(self) -> tuple[str, ...]:
        return (".out",)

    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        assert os.environ["OMP_NUM_THREADS"] == "1"
        data = source.read_bytes()
        if data == b"broken":
            raise BadFileError(f"{source} is damaged.")
        if data == b"bug":
            raise ValueError("a bug")
        if data == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if data == b"strange":
            for _ in range(2):
                note("Something was guessed.")
        output = Path(f"{stem}.out")
        save_atomically((folder or Path()) / output, data[::-1], force=force)
        size = {"width": 2, "height": 1, "bytes_before": len(data), "bytes_after": len(data)}
        return Row(str(source), str(output), "toy", 3.5, **size, bpp=4.0 * len(data), ms_ssim=0.5)


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c", "d"):
        Path(name).write_text(name * 2)
    return [Item(Path(name), Path(name)) for name in ("a", "b", "c", "d")]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_failures_do_not_stop_the_others(items: list[Item]) -> None:
    for name, text in (("a", "broken"), ("b", "deadly"), ("c", "bug")):
        Path(name).write_text(text)
    steps: list[Progress] = []
    summary = run(Reverse(), items, Path("new/out"), jobs=2, progress=steps.append)
    assert [row.source for row in summary.rows] == ["a", "b", "c", "d"]
    errors = [row.error for row in summary.rows]
    assert errors[0] == "a is damaged."
    assert "worker process died" in str(errors[1])
    assert errors[2] == "ValueError: a bug"
    assert errors[3] is None
    assert Path("new/out/d.out").read_text() == "dd"
    assert {line["source"] for line in lines(Path("new/out") / ERRORS)} == {"a", "b", "c"}
    assert len(lines(Path("new/out") / FILES)) == 4
    assert [(step.done, step.total) for step in steps] == [(k, 4) for k in range(5)]
    assert steps[-1].failed == 3
    assert (summary.bytes_before, summary.bytes_after) == (2, 2)
    assert summary.bpp == 8.0
    assert summary.rows[3].notes is None
    assert summary.ms_ssim == 0.5


def test_resume_does_only_what_is_left(items: list[Item]) -> None:
    out = Path("out")
    Path("b").write_text("broken")
    run(Reverse(), items, out, jobs=2)
    Path("b").write_text("bb")  # mended
    Path("c").write_text("strange")  # of another size
    (out / "d.out").unlink()
    kept = (out / "a.out").stat().st_mtime_ns
    with (out / FILES).open("a") as file:
        file.write("cut o")
    steps: list[Progress] = []
    summary = run(Reverse(), items, out, jobs=1, resume=True, progress=steps.append)
    assert (steps[0].done, steps[0].resumed, steps[-1].done) == (1, 1, 4)
    assert (out / "a.out").stat().st_mtime_ns == kept
    assert [Path(out, f"{name}.out").read_text() for name in "abcd"] == ["aa", "bb", "egnarts", "dd"]
    assert not (out / ERRORS).exists()
    assert summary.failures == []
    assert [row.notes for row in summary.rows] == [None, None, "Something was guessed.", None]
    assert {line["source"] for line in lines(out / FILES)} == {"a", "b", "c", "d"}
    again = run(Reverse(), items, out, resume=True)
    assert (again.resumed, again.bytes_after) == (4, summary.bytes_after)


def test_names_are_no_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither list gives a spreadsheet a formula, and both are read back as they were."""
    monkeypatch.chdir(tmp_path)
    names = ("=SUM('a'!A1)", "'=x", "@y", "-3")
    for name in names:
        Path(name).write_text("aa")
    Path("@y").write_text("broken")
    items = [Item(Path(name), Path(name)) for name in names]
    run(Reverse(), items, Path("out"), jobs=1)
    written = {line["source"] for line in lines(Path("out") / FILES)}
    assert written == {"'=SUM('a'!A1)", "''=x", "'@y", "-3"}
    assert [line["source"] for line in lines(Path("out") / ERRORS)] == ["'@y"]
    Path("@y").write_text("yy")
    again = run(Reverse(), items, Path("out"), jobs=1, resume=True)
    assert again.resumed == 3
    assert [row.source for row in again.rows] == list(names)


def test_what_is_refused_before_any_work(items: list[Item]) -> None:
    run(Reverse(), items[:1], Path("out"), jobs=1)
    with pytest.raises(OutputError, match="exists already"):
        run(Reverse(), items, Path("out"))
    with pytest.raises(BadOptionError, match="other settings"):
        run(Reverse("now"), items, Path("out"), resume=True)
    (Path("out") / FILES).unlink()
    with pytest.raises(OutputError, match="exists already"):
        run(Reverse(), items, Path("out"), resume=True)
    with pytest.raises(BadOptionError, match="1 or more"):
        run(Reverse(), items, Path("out"), jobs=0)
    with pytest.raises(BadOptionError, match="-o"):
        run(Reverse(), items, None, resume=True)
    with pytest.raises(OutputError, match="cannot be created"):
        run(Reverse(), items, Path("a/out"))
    assert not (Path("out") / "b.out").exists()
