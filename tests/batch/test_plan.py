"""Files and folders become a list of files, and each result has a place of its own."""

from pathlib import Path

import pytest

from beholder.batch.plan import Plan, collect
from beholder.errors import BadImageError, BadOptionError


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.jpg", "in/a.jpg", "in/notes.txt", "in/.hidden.jpg", "in/deep/er/a.png", "two/a.jpg", "c.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def is_picture(path: Path, head: bytes) -> bool:
    assert head == path.read_bytes()[:64]
    return path.suffix != ".txt"


def places(plan: Plan) -> dict[str, str]:
    return {str(item.source): str(item.stem) for item in plan.items}


def test_a_folder() -> None:
    plan = collect(["in"], is_picture, output=Path("out"))
    assert places(plan) == {"in/a.jpg": "a", "in/b.jpg": "b"}
    assert list(places(plan)) == ["in/a.jpg", "in/b.jpg"]
    assert plan.passed_over == (Path("in/notes.txt"),)


def test_folders_in_folders_are_mirrored() -> None:
    plan = collect(["in"], is_picture, output=Path("out"), recursive=True)
    assert places(plan)["in/deep/er/a.png"] == "deep/er/a"
    assert len(plan.items) == 3


def test_several_folders_keep_their_names() -> None:
    plan = collect(["in", "two/", "c.jpg"], is_picture, output=Path("out"))
    assert places(plan) == {"in/a.jpg": "in/a", "in/b.jpg": "in/b", "two/a.jpg": "two/a", "c.jpg": "c"}


def test_results_beside_their_sources() -> None:
    assert places(collect(["in/a.jpg", "c.jpg"], is_picture)) == {"in/a.jpg": "in/a", "c.jpg": "c"}


def test_results_of_one_name_keep_their_suffix() -> None:
    Path("in/a.png").write_text("a")
    Path("in/B.png").write_text("b")
    plan = collect(["in"], is_picture, output=Path("out"))
    assert set(places(plan).values()) == {"a.jpg", "a.png", "b.jpg", "B.png"}
    with pytest.raises(BadOptionError, match=r"in/a.jpg and two/a.jpg"):
        collect(["in/a.jpg", "two/a.jpg"], is_picture, output=Path("out"))


def test_a_file_counts_once() -> None:
    plan = collect(["in/a.jpg", "in", "in/../in/a.jpg"], is_picture, output=Path("out"))
    assert [str(item.source) for item in plan.items] == ["in/a.jpg", "in/b.jpg"]


def test_own_results_links_and_strange_files_are_left_alone() -> None:
    for name in ("in/out/a.jpg", "in/files.csv", "in/errors.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("")
    Path("in/loop").symlink_to(Path("in").resolve())
    Path("in/nowhere.jpg").symlink_to("/nowhere.jpg")
    plan = collect(["in"], is_picture, output=Path("in/out"), recursive=True)
    assert list(places(plan)) == ["in/a.jpg", "in/b.jpg", "in/deep/er/a.png"]
    assert {path.name for path in plan.passed_over} == {"notes.txt", "nowhere.jpg"}


def test_nothing_to_do() -> None:
    with pytest.raises(BadImageError, match="no file missing"):
        collect(["in", "missing"], is_picture)
    with pytest.raises(BadImageError, match="--recursive"):
        collect(["in/deep"], is_picture)
