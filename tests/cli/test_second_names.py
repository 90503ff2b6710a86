"""Second names of options, commands and functions: they work, and no help shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import beholder
from beholder.cli import main
from beholder.cli.options import HIDDEN_NAMES

SEED = ["--dataset", "folder", "--shard-size", "4"]
GRID = ["--codecs", "jpeg", "--qualities", "jpeg=20", "--classifiers", "none"]
PAIRS = [
    (["compress", "photo.png", "-o", "{out}.jpg", "--codec", "jpeg"], {"--codec": "--compression"}),
    (["evaluate-image", "photo.png", "-c", "jpeg", "--output", "{out}"], {"--output": "--save"}),
    (["evaluate-image", "photo.png", "--codec", "jpeg"], {"--codec": "--compression", "evaluate-image": "eval-image"}),
    (
        ["data", "create", *SEED, "--data", "photos", "--output", "{out}", "--jobs", "1"],
        {"--data": "--data-dir", "--output": "--target-dir", "--jobs": "--workers"},
    ),
    (
        ["evaluate", "--data", "photos", *GRID, "--output", "{out}", "--jobs", "1"],
        {"--jobs": "--workers"},
    ),
]
COMMANDS = [["compress"], ["evaluate-image"], ["data", "create"], ["evaluate"], []]


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)).replace(folder.name, "") for path in folder.rglob("*"))


@pytest.mark.parametrize(("arguments", "others"), PAIRS, ids=lambda x: x[0] if isinstance(x, list) else "")
def test_second_names_do_the_same(
    arguments: list[str], others: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.save("photo.png")
    Path("photos").mkdir()
    photo.save("photos/a.png")
    for folder, words in (("first", arguments), ("second", [others.get(word, word) for word in arguments])):
        Path(folder).mkdir()
        assert main([word.format(out=f"{folder}/out") for word in words]) == 0
    assert words != arguments
    assert written(Path("first")) == written(Path("second"))


def test_an_equals_sign_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image) -> None:
    monkeypatch.chdir(tmp_path)
    photo.save("photo.png")
    assert main(["compress", "photo.png", "--compression=webp"]) == 0
    assert Path("photo.webp").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_help_shows_second_names(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert not [name for name in (*HIDDEN_NAMES, "eval-image") if name in text]


def test_a_message_uses_the_first_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "create", "--dataset", "folder", "--data-dir", "photos"]) == 2
    said = capsys.readouterr().err
    assert "--output" in said
    assert "--target-dir" not in said


def test_second_names_in_python(photo: Image.Image) -> None:
    options: dict[str, Any] = {"compression": "jpeg"}
    assert beholder.compress(photo, **options) == beholder.compress(photo, codec="jpeg")
    assert beholder.compress_to_target(photo, beholder.Bpp(2), **options).best.codec == "jpeg"
    result = beholder.evaluate(photo, **options)
    assert result.compression == result.codec == "jpeg"
    assert json.loads(json.dumps(result.as_dict()))["compression"] == "jpeg"
    assert beholder.evaluate is beholder.evaluate_image
    assert "evaluate" not in beholder.__all__
    assert "evaluate" not in dir(beholder)
    with pytest.raises(beholder.BadOptionError, match="give codec alone"):
        beholder.compress(photo, codec="jpeg", **options)
