"""Every command that opens pictures takes --max-pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from beholder.cli import main
from beholder.limits import MAX_PIXELS

FOLDER, FILE, COMPRESSED = "photos", "photos/photo.png", "photo.jpg"
COMMANDS = {
    "compress": ["compress", FILE, "-o", "out.jpg"],
    "a target": ["compress", FILE, "-o", "out.jpg", "--max-bytes", "4000"],
    "a folder": ["compress", FOLDER, "-o", "files", "-c", "jpeg"],
    "decompress": ["decompress", COMPRESSED, "-o", "out.png"],
    "evaluate-image": ["evaluate-image", FILE, "-c", "jpeg"],
    "evaluate": ["evaluate", "--data", FOLDER, "--codecs", "jpeg", "--qualities", "jpeg=50", "--output", "sweep"],
    "compare": ["compare", FILE, "--codecs", "jpeg,webp", "--bpp", "2", "--classifiers", "none"],
    "demo": ["demo", FILE, "-o", "demo"],
    "info": ["info", COMPRESSED],
    "info of many": ["info", COMPRESSED, "-o", "lists"],
    "data create": ["data", "create", "--dataset", "folder", "--data", FOLDER, "-o", "shards", "-j", "1"],
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 120 x 90 pixels, 10,800, in a folder of photographs and as a JPEG file."""
    monkeypatch.chdir(tmp_path)
    Path(FOLDER).mkdir()
    small = photo.resize((120, 90))
    small.save(FILE)
    small.save(COMPRESSED)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_picture_above_the_limit_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS[name], "--max-pixels", "10799"]) != 0
    out, err = capsys.readouterr()
    assert "limit of 10,799 pixels" in out + err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "evaluate-image", "evaluate")])
def test_a_picture_at_the_limit_is_taken(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS[name], "--max-pixels", "10800"]) == 0, capsys.readouterr()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("limit", ["0", "-3"])
def test_no_limit_at_all_is_refused(name: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS[name], "--max-pixels", limit]) == 2
    assert "--max-pixels" in capsys.readouterr().err


def test_the_default_is_said_in_the_documentation() -> None:
    assert MAX_PIXELS == 200_000_000
