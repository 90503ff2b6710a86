"""`beholder doctor` tries things, and tells a command for what does not work."""

import importlib.metadata
import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from beholder import codecs, doctor, observers
from beholder.cli import main
from beholder.codecs.base import Codec
from beholder.errors import BadFileError


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two codecs and two observers, of which one is not prepared."""
    monkeypatch.setattr(codecs, "names", lambda: ["jpeg", "webp"])
    monkeypatch.setattr(observers, "names", lambda: ["squeezenet", "vgg16"])


def test_the_core_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {requirement.partition(">=")[0] for requirement in project["dependencies"]} == set(doctor.CORE)


def by_name() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


@pytest.mark.usefixtures("few")
def test_what_works_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = by_name()
    assert {found[name].state for name in ("beholder", "numpy", "jpeg", "webp", "squeezenet")} == {"works"}
    if observers.get("vgg16").unavailable() is not None:
        assert found["vgg16"].state == "missing"
        assert "beholder prepare vgg16" in found["vgg16"].detail
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "squeezenet" in out
    assert " works" in out
    assert main(["doctor", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {line["name"]: line["state"] for line in listed} == {name: f.state for name, f in found.items()}


@pytest.mark.usefixtures("few")
def test_what_is_broken_is_told_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Codec, data: bytes, quality: int | None) -> Image.Image:
        raise ImportError("libjpeg.so.8: no such file")

    def refuse(self: Codec, data: bytes, quality: int | None) -> Image.Image:
        raise BadFileError("The webp file is damaged.")

    monkeypatch.setattr(type(codecs.get("jpeg")), "_decode", fail)
    monkeypatch.setattr(type(codecs.get("webp")), "_decode", refuse)
    found = by_name()
    assert found["jpeg"].state == found["webp"].state == "broken"
    assert "libjpeg.so.8" in found["jpeg"].detail
    assert main(["doctor"]) == 1
    assert "2 broken" in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_extras_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=2.0",
        'pillow>=999; extra == "big"',
        'numpy[all]>=1.0; extra == "small"',
        'nobody-has-this>=1; extra == "big"',
        'beholder[big]; extra == "dev"',
        'pytest; extra == "dev"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    assert doctor.packages_of_extras() == {"big": {"pillow": "999", "nobody-has-this": "1"}, "small": {"numpy": "1.0"}}
    found = by_name()
    assert found["small"].state == "works"
    assert found["big"].state == "missing"
    assert "pillow, nobody-has-this" in found["big"].detail
    assert "pip install" in found["big"].detail


@pytest.mark.usefixtures("few")
def test_sources_that_run_by_themselves_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", refuse)
    found = by_name()
    assert found["all"].kind == "extra"
    assert "pip install ." in found["all"].detail
    works = sum(finding.state == "works" for finding in found.values())
    assert main(["doctor"]) == 0
    assert f"{works} work, " in capsys.readouterr().out
