"""The README's examples run as they stand there.

Python blocks run one after the other in one namespace; of shell blocks, lines that call ``beholder``.  The
folder they run in has a ``photo.jpg`` and one in ``photos``.  What takes hours or a screen is left out.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from beholder import samples
from beholder.cli import main
from beholder.reading import load

README = Path(__file__).parents[1] / "README.md"
LEFT_OUT = ("beholder train", "beholder export", "beholder prepare")
FLAGS_LEFT_OUT = {"--show"}


def blocks(*languages: str) -> list[str]:
    if not README.is_file():
        pytest.skip("there is no README.md beside the tests")
    found = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/photo.jpg"):
        load(samples.path("coffee")).resize((300, 200)).save(tmp_path / name, quality=95)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_python_examples() -> None:
    namespace: dict[str, Any] = {}
    for number, text in enumerate(blocks("python"), 1):
        exec(compile(text, f"README python block {number}", "exec"), namespace)


@pytest.mark.usefixtures("folder")
def test_shell_examples() -> None:
    for text in blocks("sh", "bash", "shell", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").strip()
            if not command.startswith("beholder ") or command.startswith(LEFT_OUT):
                continue
            words = shlex.split(command, comments=True)[1:]
            if "|" in words or ">" in words:
                continue
            assert main([word for word in words if word not in FLAGS_LEFT_OUT]) == 0, command
