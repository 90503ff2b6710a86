"""The figure on Kodak: a clone draws it from its own files, with every published curve."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from beholder.metrics import bd_rate

ROOT = Path(__file__).parents[2]
SUMMARY = ROOT / "docs" / "results" / "kodak" / "summary.csv"
# Published BD-rates of MS-SSIM against BPG 4:4:4, over its 0.125 to 1 bpp.
EXPECTED = {
    "JPEG": 81.1,
    "WebP": 34.1,
    "VTM": -18.2,
    "AV1": -5.1,
    "Toderici 2017": 71.5,
    "Johnston 2018": 0.2,
    "Factorized prior": -35.8,
    "Hyperprior": -45.5,
    "Cheng 2020": -54.8,
}


@pytest.fixture(scope="module")
def figure() -> ModuleType:
    path = ROOT / "benchmarks" / "kodak_figure.py"
    if not path.is_file() or not SUMMARY.is_file():
        pytest.skip("benchmarks and results are not part of this installation")
    spec = importlib.util.spec_from_file_location("kodak_figure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kodak_figure"] = module
    spec.loader.exec_module(module)
    return module


def test_published_numbers_have_sources_and_give_the_published_bd_rates(figure: ModuleType) -> None:
    curves = figure.read_published()
    assert set(curves) == {*EXPECTED, "BPG 4:4:4", "LALIC", "HPCM-Large", "DCAE", "STF"}
    for points in curves.values():
        assert len(points) >= 6
        assert all("@" in point["source"] and ":" in point["source"] for point in points)
        assert all(0 < float(point["ms_ssim"]) < 1 and float(point["bpp"]) > 0 for point in points)
    anchor = figure.published_curve(curves["BPG 4:4:4"], "ms_ssim")
    for name, expected in EXPECTED.items():
        found = bd_rate(anchor, figure.published_curve(curves[name], "ms_ssim"), anchor_rates=(0.125, 1.0))
        assert found == pytest.approx(expected, abs=0.3), name


def test_it_is_drawn_from_the_files_of_a_clone(
    figure: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "summary.csv").write_bytes(SUMMARY.read_bytes())
    drawn: dict[str, tuple[float, float]] = {}
    name = figure._name

    def spy(axes: object, labels: list[tuple[tuple[float, float], str, str, str]], *rest: object) -> None:
        drawn.update({text: end for end, text, _, _ in labels})
        name(axes, labels, *rest)

    monkeypatch.setattr(figure, "_name", spy)
    assert figure.main([str(tmp_path)]) == 0
    assert set(figure.read_published()) < set(drawn)
    assert {"Beholder", "BPG here", "WebP here", "JPEG here"} <= set(drawn)
    first = (tmp_path / "kodak.svg").read_bytes()
    assert figure.main([str(tmp_path)]) == 0
    assert (tmp_path / "kodak.svg").read_bytes() == first
    assert (tmp_path / "kodak.png").stat().st_size > 20_000


def test_without_results_there_is_a_sentence(
    figure: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figure.main([str(tmp_path)]) == 2
    assert "run kodak.py first" in capsys.readouterr().err


def test_the_summary_is_that_of_all_images() -> None:
    with SUMMARY.open(newline="") as file:
        assert {line["images"] for line in csv.DictReader(file)} == {"24"}
