"""The table of bytes to keep the label: one command makes it, goes on after an interruption, and publishes it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers.photos import make_photo
from PIL import Image

from beholder.batch.target_sweep import TABLE, Need

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("keep_label", ROOT / "benchmarks" / "keep_label.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def need(codec: str, alpha: float | None, observer: str, size: float, reached: float = 1.0) -> Need:
    return Need(codec, alpha, f"keep-label {observer}", 7, size, 0.1, reached, 5.0, {observer: 1.0, "vgg16": 0.5})


def test_page_and_remarks(script: ModuleType) -> None:
    needs = [need("jpeg", None, "squeezenet", 2000), need("rnn", 1.0, "squeezenet", 1000, 0.9)]
    needs += [need("rnn", 1.0, "mobilenet", 1500), need("jpeg", None, "mobilenet", 3000)]
    asked = ("squeezenet", "mobilenet")
    text = script.page(script.rows(needs, asked), asked, "vgg16")
    assert "| rnn, alpha 1 | 1,000 (50.0 %) | 1,500 (50.0 %) | 1,250 (50.0 %) |" in text
    assert "| jpeg | 2,000 (50.0 %) | 3,000 (50.0 %) | 2,500 (50.0 %) |" in text
    assert "7 photographs" in text
    assert "rnn, alpha 1 needs the fewest bytes for each classifier, and on average 50 % fewer than jpeg" in text
    assert "SqueezeNet for 90.0 % (rnn, alpha 1)" in text


def test_one_command(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    photos, results, published = (tmp_path / name for name in ("photos", "results", "published"))
    photos.mkdir()
    for seed in range(2):
        make_photo(64, 48, seed=seed).save(photos / f"{seed}.png")
    command = f"keep_label.py --data {photos} --output {results} --publish {published} --codecs jpeg --jobs 1"
    command += " --asked squeezenet --unasked efficientnet_lite0"
    for more, images in (("--limit 1", "1 photographs"), ("--resume", "2 photographs")):
        monkeypatch.setattr(sys, "argv", f"{command} {more}".split())
        assert script.main() == 0
        assert images in (published / "README.md").read_text()
        assert str(published / TABLE) in capsys.readouterr().err
    assert (published / TABLE).read_bytes() == (results / TABLE).read_bytes()
    with Image.open(published / "keep-label.png") as figure:
        assert min(figure.size) > 100
    monkeypatch.setattr(sys, "argv", command.split())
    assert script.main() == 2
    assert "--resume" in capsys.readouterr().err
