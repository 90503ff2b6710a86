"""Summaries: hand-computed means, honest intervals, BD values of known curves, and results that are none."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import fake_results
from helpers.fake_results import only, row, sweep_rows, table

from beholder.cli import tables
from beholder.cli.commands import reports
from beholder.evaluation.plots import figures
from beholder.evaluation.report import write as report
from beholder.evaluation.summary import bootstrap as summary_bootstrap
from beholder.evaluation.summary import read as summary_read
from beholder.evaluation.summary import summarise as summary
from beholder.evaluation.summary.bootstrap import draw
from beholder.evaluation.summary.curves import MEAN, Estimate
from beholder.evaluation.summary.summarise import Summary, summarise


def test_means_by_hand() -> None:
    rows = [
        row(image="a", bpp=1.0, bytes=100, ms_ssim=0.90, correct=True, correct5=True, agrees=True),
        row(image="b", bpp=2.0, bytes=200, ms_ssim=0.92, correct=False, correct5=True, agrees=False),
        row(image="c", bpp=3.0, bytes=300, ms_ssim=0.94, correct=False, correct5=False, agrees=False),
        row(image="d", bpp=6.0, bytes=600, ms_ssim=0.96, correct=True, correct5=True, agrees=True),
        row(image="d", quality=20, bpp=8.0),
    ]
    rows[2] |= {"correct_original": False}
    point = only(summarise(table(rows)), quality=10)
    assert point.images == 4
    assert point.value("bpp") == 3.0
    assert point.value("bytes") == 300
    assert point.value("ms_ssim") == pytest.approx(0.93)
    assert point.value("top1") == 0.5
    assert point.value("top5") == 0.75
    assert point.value("top1_original") == 0.75
    assert point.value("preserved") == pytest.approx(2 / 3)
    assert point.value("agreement") == 0.5
    assert point.value("encode_seconds") == pytest.approx(0.1)
    assert point.value("ssimulacra2") is None


def test_agrees_with_a_plain_computation(found: Summary) -> None:
    rows = [r for r in sweep_rows(30) if (r["codec"], r["alpha"], r["quality"]) == ("rnn", 0.5, 4)]
    for name in fake_results.CLASSIFIERS:
        mine = [r for r in rows if r["classifier"] == name]
        point = only(found, codec="rnn", alpha=0.5, quality=4, classifier=name)
        assert point.value("bpp") == pytest.approx(np.mean([r["bpp"] for r in mine]))
        assert point.value("preserved") == pytest.approx(
            sum(r["correct"] for r in mine) / sum(r["correct_original"] for r in mine)
        )
        assert point.value("agreement") == pytest.approx(np.mean([r["agrees"] for r in mine]))


def test_intervals_are_those_of_a_plain_bootstrap() -> None:
    rows = [r for r in sweep_rows(40, ("lite0",)) if (r["codec"], r["quality"]) == ("jpeg", 30)]
    point = only(summarise(table(rows), replicates=300), codec="jpeg")
    weights = draw(40, 300).astype(float)[:, 1:]
    original, seen = (np.array([float(r[name]) for r in rows]) for name in ("correct_original", "correct"))
    preserved = [(w * seen).sum() / (w * original).sum() for w in weights.T]
    estimate = point.estimate("preserved")
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(preserved, (2.5, 97.5))))


def test_draws_are_samples_with_replacement() -> None:
    weights = draw(50, 200)
    assert (weights[:, 0] == 1).all()
    assert (weights.sum(axis=0) == 50).all()
    # How often an image comes is nearly Poisson: variance 1 - 1/n.
    assert weights[:, 1:].astype(float).var() == pytest.approx(0.98, abs=0.05)
    assert len({column.tobytes() for column in weights.T}) == 201


def test_intervals_have_the_width_of_theory() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(10, 2, 400)
    rows = [row(image=f"{i:03d}", bpp=float(v), ms_ssim=0.9) for i, v in enumerate(values)]
    estimate = only(summarise(table(rows)), codec="jpeg").estimate("bpp")
    assert estimate is not None
    expected = 1.96 * values.std() / math.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(expected, rel=0.15)
    assert estimate.value - estimate.low == pytest.approx(expected, rel=0.15)


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    """And so no difference is marked, in tables and in the report."""
    rows = [r for r in sweep_rows(3) if r["image"] == "image0000"]
    result = summarise(table(rows))
    estimate = result.rows[0].estimate("bpp")
    assert estimate is not None
    assert not estimate.known
    assert [c.bd_rate.sign() for c in result.comparisons if c.bd_rate is not None] == [0] * 60
    differences = reports.comparison_table(result)
    assert differences is not None
    text = tables.as_text(reports.summary_table(result)) + tables.as_text(differences)
    assert "nan" not in text
    page = report.write(fake_results.write(tmp_path, rows, parts=1)).read_text(encoding="utf-8")
    assert "\u25b2</span>" not in page
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
    figures.write(tmp_path)
    summary.write(tmp_path)
    assert "nan" not in (tmp_path / "summary.csv").read_text() + (tmp_path / "comparisons.csv").read_text()


def test_bytes_of_metadata_are_summarised_where_there_are_some() -> None:
    rows = [row(image=str(i), metadata_bytes=10 * i) for i in range(3)]
    kept = summarise(table(rows))
    assert kept.rows[0].value("metadata_bytes") == 10
    assert "metadata_bytes" in kept.records()[0]
    assert "metadata_bytes" not in summarise(table([row(image=str(i)) for i in range(3)])).columns()


def test_preserved_accuracy_is_resampled_together_with_that_of_originals() -> None:
    rng = np.random.default_rng(2)
    rows = [row(image=str(i), correct=bool(c), correct_original=bool(c)) for i, c in enumerate(rng.random(60) < 0.5)]
    point = only(summarise(table(rows)), codec="jpeg")
    top1, preserved = point.estimate("top1"), point.estimate("preserved")
    assert top1 is not None
    assert top1.high - top1.low > 0.1
    assert preserved == Estimate(1.0, 1.0, 1.0)


def test_every_interval_holds_its_value(found: Summary) -> None:
    for point in found.rows:
        for name in found.columns():
            estimate = point.estimate(name)
            if estimate is not None:
                assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def test_the_order_of_rows_does_not_matter(found: Summary) -> None:
    rows = sweep_rows(30)
    np.random.default_rng(1).shuffle(rows)  # type: ignore[arg-type]
    shuffled = summarise(table(rows))
    assert summary._csv(shuffled.records()) == summary._csv(found.records())


def test_chunks_do_not_matter(found: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_read, "CHUNK_ROWS", 101)
    monkeypatch.setattr(summary_bootstrap, "_BLOCK", 3)
    again = summarise(table(sweep_rows(30)))
    assert summary._csv(again.records()) == summary._csv(found.records())


def test_little_memory_means_fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_bootstrap, "BUDGET", 1000)
    point = summarise(table(sweep_rows(5))).rows[0]
    assert point.samples["bpp"].shape == (101,)


def test_the_mean_over_classifiers(found: Summary) -> None:
    assert found.views == [MEAN, *fake_results.CLASSIFIERS]
    points = [only(found, codec="bpg", quality=35, classifier=name) for name in found.views]
    for name in ("top1", "preserved", "ms_ssim"):
        mean, *parts = (point.value(name) for point in points)
        assert mean == pytest.approx(np.mean(parts))
    # Two observers together are less uncertain than each.
    widths = [e.high - e.low for e in (point.estimate("agreement") for point in points) if e]
    assert widths[0] < max(widths[1:])
    alone = summarise(table(sweep_rows(4, ("lite0",))))
    assert alone.views == ["lite0"]


def test_curves_rise_in_rate_and_codecs_keep_their_order(found: Summary) -> None:
    assert [str(s) for s in found.series] == ["rnn \u03b1 = 0", "rnn \u03b1 = 0.5", "rnn \u03b1 = 1", "jpeg", "bpg"]
    for series in found.series:
        rates = [point.value("bpp") or 0 for point in found.curve(MEAN, series)]
        assert len(rates) == 5
        assert all(a < b for a, b in pairwise(rates))


def test_without_labels_agreement_is_what_remains() -> None:
    result = summarise(table(sweep_rows(6, labelled=False)))
    assert result.machine(MEAN) == "agreement"
    assert not {"top1", "top5", "top1_original", "preserved"} & set(result.columns())
    assert all(c.bd_preserved is None for c in result.comparisons)
    assert any(c.bd_agreement is not None for c in result.comparisons)


def test_labels_that_only_one_classifier_knows() -> None:
    rows = sweep_rows(6, ("lite0",)) + sweep_rows(6, ("other",), labelled=False)
    result = summarise(table(rows))
    assert result.machine("lite0") == "preserved"
    assert result.machine("other") == "agreement"
    point, mean = (only(result, codec="bpg", quality=35, classifier=name) for name in ("lite0", MEAN))
    assert mean.value("preserved") == point.value("preserved")


def test_without_classifiers() -> None:
    result = summarise(table(sweep_rows(6, (None,))))
    assert result.views == [None]
    assert result.machine(None) is None
    assert "agreement" not in result.columns()
    assert len(result.rows) == 25


def test_infinite_undefined_and_missing_values_are_left_out() -> None:
    metrics = ("ms_ssim", "psnr", "vif", "feature_distance")
    rows = [
        row(image=str(i), psnr=p, vif=v, feature_distance=None)
        for i, (p, v) in enumerate([(30.0, 0.5), (math.inf, math.nan), (40.0, None)])
    ]
    result = summarise(table(rows, metrics))
    assert result.metrics == list(metrics)
    point = result.rows[0]
    assert point.images == 3
    assert point.value("psnr") == 35.0
    assert point.value("vif") == 0.5
    assert point.value("feature_distance") is None
    assert "feature_distance" not in result.columns()
