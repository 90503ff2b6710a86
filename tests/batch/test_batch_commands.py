"""`beholder compress`, `decompress` and `info` with many files and folders."""

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.photos import make_photo
from PIL import Image

from beholder import codecs
from beholder.cli import main

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("photos/deep").mkdir(parents=True)
    make_photo(64, 48).save("photos/a.jpg", quality=97)
    make_photo(40, 56, seed=2).save("photos/b.png")
    make_photo(48, 48, seed=3).save("photos/deep/c.webp", lossless=True)
    Path("photos/b2").write_bytes(Path("photos/b.png").read_bytes())
    Path("photos/notes.txt").write_text("no picture")
    Path("photos/broken.png").write_bytes(Path("photos/b.png").read_bytes()[:500])

    def call(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert main(arguments) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


def test_there_and_back(run: Run) -> None:
    out, err = run("compress", "photos", "-o", "out", "-r", "-c", "webp", "-q", "50", "--jobs", "2", "-v", code=1)
    assert "4 files compressed" in out
    assert "mean MS-SSIM 0." in out
    assert "photos/deep/c.webp -> out/deep/c.webp: webp quality 50" in out
    assert "notes.txt" in err
    assert "broken.png is damaged" in err
    with open("out/errors.csv", newline="") as file:
        assert [line["source"] for line in csv.DictReader(file)] == ["photos/broken.png"]
    with Image.open("photos/b.png") as photo:
        assert Path("out/b.webp").read_bytes() == codecs.get("webp").encode(photo, 50)
    facts = json.loads(run("info", "out", "-r", "--json")[0])
    assert (facts["files"], facts["failed"]) == (4, 0)
    assert facts["bytes_before"] == sum(path.stat().st_size for path in Path("out").rglob("*.webp"))
    facts = json.loads(run("decompress", "out", "-o", "back", "-r", "--json", "--suffix", "tif")[0])
    assert facts["files"] == 4
    with Image.open("back/deep/c.tif") as back:
        decoded = codecs.get("webp").decode(Path("out/deep/c.webp").read_bytes())
        assert back.tobytes() == decoded.tobytes()


def test_a_target_for_each_file(run: Run) -> None:
    out, err = run("compress", "photos/a.jpg", "photos/b.png", "-c", "jpeg", "--psnr", "60", "-o", "out/", code=1)
    assert "2 files compressed" in out
    assert "2 files missed the target" in err
    out, _ = run("compress", "photos/a.jpg", "-c", "jpeg", "--bpp", "3", "-o", "two/", "--no-measure", "--json")
    facts = json.loads(out)
    assert facts["results"][0]["reached"] is True
    assert facts["bpp"] <= 3
    assert facts["ms_ssim"] is None
    assert Path("two/a.jpg").stat().st_size == facts["bytes_after"]


def test_dry_run_and_quiet(run: Run) -> None:
    out, _ = run("compress", "photos", "-o", "out", "--dry-run")
    assert "photos/a.jpg -> out/a.bhd" in out
    assert "4 files would be compressed" in out
    assert not Path("out").exists()
    out, _ = run("compress", "photos/a.jpg", "--dry-run")
    assert "photos/a.jpg -> photos/a.bhd" in out
    assert not Path("photos/a.bhd").exists()
    assert run("compress", "photos/a.jpg", "-c", "webp", "--quiet") == ("", "")
    assert Path("photos/a.webp").exists()
    assert run("decompress", "photos/a.webp", "-o", "a.png", "--quiet") == ("", "")
    assert "MS-SSIM" in run("compress", "photos/a.jpg", "-c", "webp", "-v", "--force")[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("photos",), "with -o"),
        (("photos", "missing", "-o", "out"), "no file missing"),
        (("-", "photos", "-o", "out"), "give - alone"),
        (("photos", "-o", "photos/a.jpg"), "no folder"),
        (("photos", "-o", "out", "--jobs", "0"), "1 or more"),
        (("photos", "-o", "out", "-q", "99"), "outside the scale"),
        (("photos", "-o", "out", "-c", "auto"), "add one"),
        (("photos/a.jpg", "--quiet", "--json"), "contradict"),
    ],
)
def test_refused_before_any_work(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in run("compress", *arguments, code=2)[1]
    assert not Path("out").exists()


def test_pipes_keep_standard_output_clean(run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "beholder", "compress", "-", "-c", "jpeg", "--bpp", "3", "-v", "-o", "-"]
    result = subprocess.run(command, input=Path("photos/b.png").read_bytes(), capture_output=True, check=True)
    assert result.stdout.startswith(b"\xff\xd8\xff")
    assert result.stdout.endswith(b"\xff\xd9")
    assert b"reached" in result.stderr


def test_the_list_of_files_tells_metadata_apart(run: Run) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    make_photo(48, 40).save("photos/told.jpg", exif=exif)
    run("compress", "photos/told.jpg", "photos/a.jpg", "-c", "webp", "-o", "out/")
    with open("out/files.csv", newline="") as file:
        found = {Path(line["source"]).name: line for line in csv.DictReader(file)}
    assert int(found["told.jpg"]["metadata_bytes"]) > 20
    assert found["a.jpg"]["metadata_bytes"] == "0"


def test_an_edited_picture_of_the_same_size_is_done_again(run: Run) -> None:
    picture, output = Path("photos/flat.bmp"), Path("out/flat.webp")
    Image.new("RGB", (32, 32), "red").save(picture)
    run("compress", "photos/flat.bmp", "-c", "webp", "-o", "out/")
    before, size = output.read_bytes(), picture.stat().st_size
    Image.new("RGB", (32, 32), "lime").save(picture)
    assert picture.stat().st_size == size
    run("compress", "photos/flat.bmp", "-c", "webp", "-o", "out/", "--resume")
    assert output.read_bytes() != before


def test_a_name_with_line_ends_stays_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # plain, one line a row
    name = "photos/a\tb\nc.png"
    make_photo(40, 32).save(name)
    shown = "photos/a\\u0009b\\u000ac.png -> out/a\\u0009b\\u000ac.webp"
    assert shown in run("compress", "photos", "-c", "webp", "-o", "out", "--dry-run")[0].splitlines()
    assert f"{shown}: webp quality 75" in run("compress", name, "-c", "webp", "-o", "out/", "-v")[0]
    listed = run("info", "out")[0].splitlines()
    assert len(listed) == 3
    assert listed[1].startswith("out/a\\u0009b\\u000ac.webp  webp")
    assert "\\u000ac.webp" in run("compress", name, "-c", "webp")[0].splitlines()[0]


def test_a_folder_that_cannot_be_read_stops_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    _, err = run("compress", "photos", "-o", "out", "-r", "-c", "webp", "--dry-run")
    assert "Failed: The folder photos/deep cannot be read: check its permissions." in err
    out, err = run("compress", "photos", "-o", "out", "-r", "-c", "webp", "--jobs", "1", code=1)
    assert "3 files compressed" in out
    with open("out/errors.csv", newline="") as file:
        assert "photos/deep" in [line["source"] for line in csv.DictReader(file)]
    assert "photos/deep cannot be read" in run("compress", "photos/deep", "-o", "out", code=2)[1]


def test_lists_of_many_names_end(run: Run) -> None:
    for number in range(7):
        Path(f"photos/{number}.txt").write_text("no picture")
    err = run("compress", "photos", "-o", "out", "--dry-run")[1]
    assert "8 files (0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more)." in err
