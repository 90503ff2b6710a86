"""The sdist holds all that its tests need, the wheel's description has no dead link, and neither has any document."""

import email
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import beholder

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "docs", "runs", "scripts", "src", "tests", "web", ".github")
SKIPPED = {".venv", "build", "dist", "site", "demo-output", "node_modules"}
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"

spec = importlib.util.spec_from_file_location("package_setup", ROOT / "setup.py")
assert spec is not None
assert spec.loader is not None
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)

README = (
    "![picture](docs/a.jpg)\n\n[page](docs/a.md#part) and [`code`](src/b.py), [site](https://c.org), [below](#d)\n\n"
    "```python\nx = y[0](z)\n```\n"
)


def test_links_become_text_where_there_is_no_repository() -> None:
    text = setup.described(README, None, "1.2")
    assert text == "\n\npage and `code`, [site](https://c.org), [below](#d)\n\n```python\nx = y[0](z)\n```\n"


def test_links_become_absolute_where_there_is_a_repository() -> None:
    text = setup.described(README, "https://c.org/b/", "1.2")
    assert "![picture](https://c.org/b/raw/v1.2/docs/a.jpg)" in text
    assert "[page](https://c.org/b/blob/v1.2/docs/a.md#part) and [`code`](https://c.org/b/blob/v1.2/src/b.py)" in text
    assert "[site](https://c.org), [below](#d)" in text
    assert "x = y[0](z)" in text


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, since a build leaves folders behind."""
    copy = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, copy / path.name)
    for name in (*FOLDERS, ".ci"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    return copy


def build(source: Path, step: str, output: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, step, str(output)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return output / done.stdout.splitlines()[-1]


def test_metadata(source: Path, tmp_path: Path) -> None:
    folder = build(source, "prepare_metadata_for_build_wheel", tmp_path)
    message = email.message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    assert "Typing :: Typed" in message.get_all("Classifier", [])
    description = message.get_payload()
    assert isinstance(description, str)
    assert len(description) > 2000
    text = re.sub(r"^```.*?^```", "", description, flags=re.MULTILINE | re.DOTALL)
    assert [target for target in LINK.findall(text) if not target.startswith(("https://", "#"))] == []


@pytest.mark.slow
def test_sdist_holds_every_file(source: Path, tmp_path: Path) -> None:
    with tarfile.open(build(source, "build_sdist", tmp_path)) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file() and kept(path, source)
    }
    assert expected - packed == set()


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(source, "build_wheel", tmp_path)) as archive:
        packed = set(archive.namelist())
    package = source / "src" / "beholder"
    expected = {path.relative_to(source / "src").as_posix() for path in package.rglob("*") if path.is_file()}
    assert expected - packed == set()
    assert {name.partition("/")[0] for name in packed} == {"beholder", f"beholder-{beholder.__version__}.dist-info"}


def kept(path: Path, source: Path) -> bool:
    parts = path.relative_to(source).parts
    generated = parts[0] in SKIPPED or any(part.endswith((".egg-info", ".dist-info")) for part in parts)
    training_run = parts[0] == "runs" and path.suffix != ".sh"
    private = parts[0].startswith(".") and parts[0] not in {".ci", ".github", ".gitignore", ".pre-commit-config.yaml"}
    return not (generated or training_run or private)


def documents() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))]
    return sorted(path for path in found if not {"runs", "node_modules"} & set(path.relative_to(ROOT).parts))


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_exist(path: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4}.*$|`[^`\n]*`", "", text, flags=re.MULTILINE)
    targets = [target for target in LINK.findall(text) if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in targets if not (path.parent / target.partition("#")[0]).exists()]
    assert missing == []
