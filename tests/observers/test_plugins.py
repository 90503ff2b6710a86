"""Other packages add observers and codecs by entry points; broken ones are told and hide nothing."""

import json
import sys
from pathlib import Path

import pytest
from helpers.observers import empty_cache
from PIL import Image

from beholder import codecs, observers
from beholder.cli import main
from beholder.errors import NotAvailableError

MODULE = """
import numpy as np
from beholder.codecs.jpeg import Jpeg
from beholder.observers import Observer, ObserverInfo

class Brightness(Observer):
    def __init__(self):
        super().__init__(
            ObserverInfo("brightness", "Dark or bright", 4, 0, None, "MIT", "a test", "none", (0.,) * 3, (1.,) * 3),
            [("", "dark"), ("", "bright")],
        )
    def unavailable(self):
        return None
    def _run(self, images):
        light = np.array([np.asarray(image).mean() / 255 for image in images], np.float32)
        return np.stack([1 - light, light], axis=1)

class Gpeg(Jpeg):
    name = "gpeg"

def broken():
    raise ValueError("no luck\\ntoday")

def nothing():
    return 42
"""
ENTRY_POINTS = """
[beholder.observers]
brightness = a_plugin:Brightness
broken_observer = a_plugin:broken
no_observer = a_plugin:nothing
mobilenet = a_plugin:Brightness

[beholder.codecs]
gpeg = a_plugin:Gpeg
broken_codec = a_plugin:broken
no_codec = a_plugin:nothing
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_cache(tmp_path, monkeypatch)
    info = tmp_path / "a_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "a_plugin.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_plugin", raising=False)


def test_an_observer() -> None:
    assert observers.names()[-3:] == ["brightness", "broken_observer", "no_observer"]
    observer = observers.get("brightness")
    assert [p.label for p in observer.classify(Image.new("L", (9, 9), 200))] == ["bright", "dark"]
    assert observer.info in observers.infos()
    assert observer.features([Image.new("RGB", (4, 4))]).shape == (1, 2)


def test_a_codec() -> None:
    assert "gpeg" in codecs.names()
    image = Image.new("RGB", (16, 16), "teal")
    assert codecs.get("gpeg").encode(image) == codecs.get("jpeg").encode(image)


def test_nobody_replaces_what_is_built_in() -> None:
    assert observers.get("mobilenet").info.name == "mobilenet"
    assert observers.names().count("mobilenet") == 1


@pytest.mark.parametrize("name", ["broken_observer", "no_observer"])
def test_broken_observers(name: str) -> None:
    with pytest.raises(NotAvailableError, match=r"reinstall its package\.$"):
        observers.get(name)
    assert name not in [info.name for info in observers.infos()]


@pytest.mark.parametrize("name", ["broken_codec", "no_codec"])
def test_broken_codecs(name: str) -> None:
    with pytest.raises(NotAvailableError, match="reinstall it"):
        codecs.get(name)
    data = codecs.get("jpeg").encode(Image.new("RGB", (16, 16)))
    assert codecs.recognise(data).name == "jpeg"


def test_listings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observers"]) == 0
    out = capsys.readouterr().out
    assert "brightness" in out
    assert "no luck today" in out
    assert main(["observers", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["brightness"]["available"]
    assert rows["brightness"]["parameters"] == 0
    assert not rows["no_observer"]["available"]
    assert main(["codecs"]) == 0
    assert "gpeg" in capsys.readouterr().out
