"""Sweeps: mistakes are told before any work, and nobody mixes or overwrites results."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.photos import make_photo
from helpers.sweeps import OBSERVER, Watcher, prepare, rows_of, without_times, write_photos

from beholder import codecs, observers
from beholder.errors import BadFileError, BadImageError, BadOptionError, NotAvailableError, OutputError
from beholder.evaluation.sweep import results
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep import settings as sweep_settings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photographs with labels in their names."""
    return write_photos(tmp_path / "photos")


def test_nothing_is_overwritten(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        sweep.run(prepare(photos), tmp_path / "out")
    with pytest.raises(OutputError, match="no sweep that could be resumed"):
        sweep.run(prepare(photos), tmp_path / "out", resume=True)
    with pytest.raises(OutputError, match="no folder"):
        sweep.run(prepare(photos), tmp_path / "out" / "thesis.txt")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"qualities": {"jpeg": [5, 60]}}, r"qualities of jpeg: 5,50, now 5,60"),
        ({"codecs": ["jpeg", "webp"]}, "codecs: jpeg, now jpeg,webp"),
        ({"protocol": "paper"}, "protocol: native, now paper"),
        ({"metrics": ["psnr"]}, "metrics: ms_ssim,psnr, now psnr"),
        ({"limit": 2}, "limit: none, now 2"),
        ({"max_pixels": 6000}, "max_pixels: none, now 6000"),
        ({"classifiers": [OBSERVER]}, f"classifiers: , now {OBSERVER}"),
    ],
)
def test_other_settings_do_not_resume(change: dict[str, Any], named: str, photos: Path, tmp_path: Path) -> None:
    sweep.run(prepare(photos), tmp_path / "out")
    with pytest.raises(BadOptionError, match=named):
        sweep.run(prepare(photos, **change), tmp_path / "out", resume=True)


def test_the_limit_of_pixels(photos: Path, tmp_path: Path) -> None:
    make_photo(40, 30).save(photos / "0007_small.png")
    outcome = sweep.run(prepare(photos, max_pixels=5000), tmp_path / "out")
    assert len(outcome.failures) == 4
    assert all("above the limit of 5,000 pixels" in failure.error for failure in outcome.failures)
    assert outcome.rows == 2
    with pytest.raises(BadOptionError, match="positive integer"):
        prepare(photos, max_pixels=0)


def test_results_do_not_lie_among_the_data(photos: Path) -> None:
    with pytest.raises(OutputError, match="inside of the data"):
        sweep.run(prepare(photos), photos / "out")
    assert not (photos / "out").exists()


def test_data_that_has_changed_does_not_resume(photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos)
    sweep.run(settings, tmp_path / "out")
    make_photo(20, 20).save(photos / "0005_new.png")
    with pytest.raises(BadOptionError, match="images: 4, now 5"):
        sweep.run(prepare(photos), tmp_path / "out", resume=True)
    with pytest.raises(BadImageError, match="holds 5 images here"):
        sweep.run(settings, tmp_path / "out", resume=True)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"codecs": []}, BadOptionError, "No codec"),
        ({"codecs": ["gif"]}, BadOptionError, "no codec 'gif'"),
        ({"codecs": ["webp"]}, BadOptionError, "jpeg, which is not among the codecs"),
        ({"qualities": {"jpeg": [0]}}, BadOptionError, "Quality 0 is outside"),
        ({"qualities": {"gif": [1]}}, BadOptionError, "no codec 'gif'"),
        ({"codecs": ["jpeg", "rnn"], "alphas": [2]}, BadOptionError, "Alpha 2"),
        ({"codecs": ["jpeg", "rnn"], "alphas": []}, BadOptionError, "No alpha"),
        ({"classifiers": ["nobody"]}, BadOptionError, "nobody"),
        ({"metrics": ["beauty"]}, BadOptionError, "beauty"),
        ({"metrics": ["feature_distance"]}, BadOptionError, "measured by classifiers"),
        ({"protocol": "kodak"}, BadOptionError, "kodak"),
        ({"limit": 0}, BadOptionError, "limit of 0"),
        ({"gallery": -1}, BadOptionError, "gallery of -1"),
        ({"model": "somewhere"}, BadOptionError, "only rnn"),
    ],
)
def test_mistakes_are_told_before_any_work(
    options: dict[str, Any], error: type[Exception], words: str, photos: Path
) -> None:
    with pytest.raises(error, match=words):
        prepare(photos, **options)


def test_missing_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="nowhere"):
        prepare(tmp_path / "nowhere")


def test_observers_of_one_name_are_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "get", lambda name, labels=None: Watcher("twin", 32))
    with pytest.raises(BadOptionError, match="Two classifiers are called twin"):
        prepare(photos, classifiers=["a/twin.onnx", "b/twin.onnx"])


def test_weights_and_versions_are_checked_where_the_work_is_done(photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos, classifiers=[OBSERVER])
    with pytest.raises(NotAvailableError, match=f"weights of {OBSERVER} on .* is not 0123"):
        sweep.run(replace(settings, identities=((OBSERVER, "0123"),)), tmp_path / "a")
    versions = tuple((dict(settings.versions) | {"pillow": "1.0"}).items())
    with pytest.raises(NotAvailableError, match="version of pillow"):
        sweep.run(replace(settings, versions=versions), tmp_path / "b")


def test_default_grids_lie_on_their_scales(photos: Path) -> None:
    available = [name for name in codecs.names() if codecs.get(name).unavailable() is None]
    settings = sweep_settings.prepare(photos, codecs=available, classifiers=[])
    for name, grid in settings.qualities:
        scale = codecs.get(name).scale
        assert [scale.check(name, quality) for quality in grid] == list(grid)
        assert len(grid) >= 8
        steps = [b - a for a, b in pairwise(grid)]
        assert all(step > 0 for step in steps) == scale.higher_is_better


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", {}),
        ("rnn=1,2,4,8;jpeg=5,10,20", {"rnn": (1, 2, 4, 8), "jpeg": (5, 10, 20)}),
        (" bpg = 51 , 20 ; ", {"bpg": (51, 20)}),
    ],
)
def test_qualities_are_parsed(text: str, parsed: dict[str, tuple[int, ...]]) -> None:
    assert sweep_settings.parse_qualities(text) == parsed


@pytest.mark.parametrize("text", ["rnn", "rnn=", "=1", "rnn=1,x", "rnn=1;rnn=2", "rnn=1,,2", "rnn=1.5"])
def test_qualities_that_cannot_be_parsed(text: str) -> None:
    with pytest.raises(BadOptionError):
        sweep_settings.parse_qualities(text)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no results"):
        results.read(tmp_path)
    with pytest.raises(BadFileError, match=r"settings\.json"):
        results.read_settings(tmp_path)


def test_damaged_parts_are_told_and_done_again(photos: Path, tmp_path: Path) -> None:
    before = rows_of(prepare(photos), tmp_path / "out")
    part = tmp_path / "out" / "results.parquet" / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(BadFileError, match="part-000002"):
        results.read(tmp_path / "out")
    after = rows_of(prepare(photos), tmp_path / "out", resume=True)
    assert without_times(after) == without_times(before)


def test_parts_of_two_sweeps_do_not_mix(tmp_path: Path) -> None:
    columns = {"image": ["a"], "psnr": [1.0]}
    results.write(tmp_path, results.BatchResult(0, 1, _full(columns)), ["psnr"])
    results.write(tmp_path, results.BatchResult(1, 1, _full(columns)), ["psnr", "ssim"])
    with pytest.raises(BadFileError, match="different columns"):
        results.read(tmp_path)


def _full(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: columns.get(name, [None]) for name in results.schema(["psnr", "ssim"]).names}
