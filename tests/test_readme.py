"""The examples of the README and of the documentation run as they stand there.

Python blocks run one after the other in one namespace; of shell blocks, lines that call ``beholder``.  The
folder they run in has a ``photo.jpg`` and one in ``photos``.  What takes hours or a screen is left out.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from beholder import samples
from beholder.cli import main
from beholder.codecs.base import Codec
from beholder.errors import BadFileError
from beholder.reading import load

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WITH_PYTHON = ("README.md", "docs/tutorial.md", "docs/how-to/add-codec.md", "docs/how-to/add-observer.md")
LEFT_OUT = ("beholder train", "beholder export", "beholder prepare")
FLAGS_LEFT_OUT = {"--show"}


def blocks(page: Path, *languages: str) -> list[str]:
    if not page.is_file():
        pytest.skip(f"there is no {page.name} beside the tests")
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/photo.jpg"):
        load(samples.path("coffee")).resize((252, 168)).save(tmp_path / name, quality=95)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_examples(page: str) -> None:
    namespace: dict[str, Any] = {"__name__": "example"}
    found = blocks(ROOT / page, "python")
    assert found
    for number, text in enumerate(found, 1):
        exec(compile(text, f"{page}, python block {number}", "exec"), namespace)
    if "Gif" in namespace:
        check_example_codec(namespace["Gif"]())
    if "Daylight" in namespace:
        assert namespace["Daylight"]().classify(Image.new("L", (90, 70), 250))[0].label == "bright"


def check_example_codec(codec: Codec) -> None:
    image = Image.new("RGB", (20, 10), (200, 30, 40))
    data = codec.encode(image)
    assert codec.recognises(data[:32])
    assert codec.decode(data).getpixel((3, 3)) == pytest.approx((200, 30, 40), abs=3)
    with pytest.raises(BadFileError, match="The gif file is damaged"):
        codec.decode(b"GIF89a and no more")


def test_the_readme_is_short() -> None:
    """150 lines: what it is, a tour, results, where to go next.  All else belongs in docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.usefixtures("folder")
def test_shell_examples() -> None:
    for text in blocks(README, "sh", "bash", "shell", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").strip()
            if not command.startswith("beholder ") or command.startswith(LEFT_OUT):
                continue
            words = shlex.split(command, comments=True)[1:]
            if "|" in words or ">" in words:
                continue
            assert main([word for word in words if word not in FLAGS_LEFT_OUT]) == 0, command
