"""Files that are whole or untouched, whatever happens meanwhile, and tables that spreadsheets read as text."""

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder import files
from beholder.files import LEFTOVER, csv_text, csv_value, remove_leftovers, replacing, save_atomically, temporary_folder

posix = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")

WRITER = """
import sys, time
from pathlib import Path
from beholder.files import replacing, temporary_folder
folder = Path(sys.argv[1])
with replacing(folder / "target") as file, temporary_folder(folder) as room:
    file.write(b"half")
    file.flush()
    (room / "part").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_swept", set())


def writer(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@posix
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"whole")
    process = writer(tmp_path)
    try:
        save_atomically(tmp_path / "other", b"1")
        assert len(list(tmp_path.glob(LEFTOVER))) == 2  # its owner lives
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.glob(LEFTOVER))) == 2
    files._swept.clear()  # as in another process
    save_atomically(tmp_path / "other", b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "target"]
    assert (tmp_path / "target").read_bytes() == b"whole"


@posix
def test_a_file_taken_for_abandoned_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock, removed = fcntl.flock, []

    def slow(file: object, operation: int) -> None:
        if not removed:  # another process looks between creation and lock
            removed.extend(tmp_path.glob(LEFTOVER))
            for path in removed:
                path.unlink()
        lock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", slow)
    save_atomically(tmp_path / "x", b"data")
    assert len(removed) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in (".beholder-lock", "x.tmp", ".other-1.tmp", "beholder-1.tmp"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".beholder-link.tmp").symlink_to(tmp_path / "x.tmp")
    remove_leftovers(tmp_path)
    assert (tmp_path / "x.tmp").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 5


def test_file_and_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, renamed = [], []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append(len(synced)), replace(a, b)))
    save_atomically(tmp_path / "x", b"data")
    assert renamed == [1]  # the file's bytes come first
    assert synced[0].st_ino == (tmp_path / "x").stat().st_ino
    if os.name == "posix":
        assert synced[1].st_ino == tmp_path.stat().st_ino


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail_in_file() -> None:
        with replacing(tmp_path / "x") as file:
            file.write(b"after")
            raise RuntimeError("no")

    def fail_in_folder() -> None:
        with temporary_folder(tmp_path) as folder:
            (folder / "a").write_text("a")
            raise RuntimeError("no")

    (tmp_path / "x").write_bytes(b"before")
    for fail in (fail_in_file, fail_in_folder):
        with pytest.raises(RuntimeError, match="no"):
            fail()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"before")]


def test_a_folder_is_looked_through_once(tmp_path: Path) -> None:
    save_atomically(tmp_path / "x", b"1")
    (tmp_path / ".beholder-old.tmp").write_text("left later")
    save_atomically(tmp_path / "x", b"2")
    assert (tmp_path / ".beholder-old.tmp").exists()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("+1 cat", "'+1 cat"),
        ("-cat", "'-cat"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\r=x", " =x"),
        ("a=b", "a=b"),
        ("'=a", "''=a"),
        ("'a", "'a"),
        ("-1.5", "-1.5"),
        ("+2e3", "+2e3"),
        (-1.5, "-1.5"),
        (None, ""),
        ("", ""),
    ],
)
def test_cells_are_no_formulas(value: object, written: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text([["file", "n"], [value, 1]]), newline="")))
    assert rows == [["file", "n"], [written, "1"]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), min_size=1))
def test_no_text_becomes_a_formula(cells: list[str]) -> None:
    for row in csv.reader(io.StringIO(csv_text([cells]), newline="")):
        for cell in row:
            assert not cell.startswith(("=", "@", "\t", "\r"))
            assert not cell.startswith(("+", "-")) or float(cell) == float(cell) or cell.lower().endswith("nan")


@given(st.text(st.sampled_from("'=+-@\t1.e a"), max_size=8))
def test_a_text_comes_back(text: str) -> None:
    ((cell,),) = csv.reader(io.StringIO(csv_text([[text]]) or "\n", newline=""))
    assert csv_value(cell) == text
