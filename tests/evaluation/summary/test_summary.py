"""Summaries: hand-computed means, honest intervals, BD values of known curves, and results that are none."""

from __future__ import annotations

import csv
import math
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import fake_results
from helpers.fake_results import row, sweep_rows, table

from beholder.cli import tables
from beholder.cli.commands import reports
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.evaluation.plots import figures
from beholder.evaluation.report import write as report
from beholder.evaluation.summary import bootstrap as summary_bootstrap
from beholder.evaluation.summary import read as summary_read
from beholder.evaluation.summary import summarise as summary
from beholder.evaluation.summary.bootstrap import draw
from beholder.evaluation.summary.compare import at_rate
from beholder.evaluation.summary.curves import MEAN, Estimate, Row, Series
from beholder.evaluation.summary.summarise import Summary, summarise
from beholder.extras import install_command
from beholder.metrics import bd_quality, bd_rate, ms_ssim_db


@pytest.fixture(scope="module")
def found() -> Summary:
    return summarise(table(sweep_rows(30)))


def only(result: Summary, **wanted: Any) -> Row:
    rows = [
        r
        for r in result.rows
        if all(getattr(r, k, None) == v or getattr(r.series, k, None) == v for k, v in wanted.items())
    ]
    assert len(rows) == 1
    return rows[0]


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


def curves_of(points: dict[Series, list[tuple[float, float, float]]]) -> Summary:
    """A summary of curves (bpp, MS-SSIM, preserved accuracy), the same for each of two images."""
    rows = []
    for series, curve in points.items():
        for quality, (bpp, ms_ssim, preserved) in enumerate(curve, 1):
            for i in range(100):
                seen = i < round(100 * preserved)
                rows.append(
                    row(
                        image=str(i),
                        codec=series.codec,
                        alpha=series.alpha,
                        quality=quality,
                        bpp=bpp,
                        ms_ssim=ms_ssim,
                        correct=seen,
                        agrees=seen,
                    )
                )
    return summarise(table(rows), replicates=20)


def test_bd_values_of_known_curves() -> None:
    """The test codec needs half of the rate for the same MS-SSIM and sees ten points more at equal rate."""
    jpeg = [(0.2, 0.90, 0.5), (0.4, 0.95, 0.5), (0.8, 0.98, 0.5), (1.6, 0.99, 0.5)]
    rnn = [(rate / 2, quality, 0.6) for rate, quality, _ in jpeg]
    result = curves_of({Series("jpeg"): jpeg, Series("rnn", 1.0): rnn})
    there, back = (
        next(c for c in result.comparisons if (c.anchor.codec, c.test.codec) == pair)
        for pair in (("jpeg", "rnn"), ("rnn", "jpeg"))
    )
    assert there.bd_rate is not None
    assert there.bd_rate.value == pytest.approx(-50)
    assert there.bd_preserved is not None
    assert there.bd_preserved.value == pytest.approx(10)
    assert there.bpp == pytest.approx((0.2, 0.8))
    assert back.bd_rate is not None
    assert back.bd_rate.value == pytest.approx(100)
    assert back.bd_preserved is not None
    assert back.bd_preserved.value == pytest.approx(-10)


def test_curves_without_overlap_are_not_compared() -> None:
    result = curves_of(
        {Series("jpeg"): [(1, 0.9, 0.5), (2, 0.91, 0.5)], Series("bpg"): [(4, 0.95, 0.5), (8, 0.96, 0.5)]}
    )
    for comparison in result.comparisons:
        assert (comparison.bd_rate, comparison.bd_preserved, comparison.bpp) == (None, None, None)
    single = curves_of({Series("jpeg"): [(1, 0.9, 0.5)], Series("bpg"): [(4, 0.95, 0.5), (8, 0.96, 0.5)]})
    assert single.comparisons[0].bd_rate is None


@pytest.mark.parametrize(
    ("others", "share", "known"),
    [
        ([0.5, 0.7, 0.8, 0.9], 0.0, False),
        ([0.8, 0.85, 0.88, 0.9, 0.92], 0.24, False),
        ([0.85, 0.9, 0.93, 0.96], 0.69, True),
        ([0.90, 0.95, 0.98], 1.0, False),
        ([0.91, 0.94, 0.95, 0.96], 1.0, True),
    ],
)
def test_too_little_in_common_makes_no_number(others: list[float], share: float, known: bool) -> None:
    """Four points and half of the shorter curve's range are needed; the share is told in any case."""
    points = [0.90, 0.95, 0.98, 0.99]
    curves = {
        Series("jpeg"): [(0.1 * 2**i, quality, 0.5) for i, quality in enumerate(points)],
        Series("bpg"): [(0.1 * 2**i, quality, 0.6) for i, quality in enumerate(others)],
    }
    comparison = curves_of(curves).comparisons[0]
    assert comparison.quality_overlap == pytest.approx(share, abs=0.01)
    assert (comparison.bd_rate is not None) == known
    assert comparison.points == min(4, len(others))
    assert (comparison.bd_preserved is not None) == (len(others) >= 4)
    bd = [[(bpp, ms_ssim_db(quality)) for bpp, quality, _ in curve] for curve in curves.values()]
    if known:
        assert comparison.bd_rate is not None
        assert comparison.bd_rate.value == pytest.approx(bd_rate(*bd))
    else:
        with pytest.raises(BadOptionError, match=r"needs (4|50 %)"):
            bd_rate(*bd)


def test_every_replicate_has_the_bd_value_of_the_metrics_package() -> None:
    """Computed all at once here, one by one there; with detours: worse points at higher rates, curves that cross."""
    rng = np.random.default_rng(3)
    rows = []
    for image in range(5):
        for codec in ("jpeg", "bpg", "webp"):
            for quality in range(1, 7):
                rows.append(
                    row(
                        image=str(image),
                        codec=codec,
                        quality=quality,
                        bpp=quality * float(rng.uniform(0.05, 0.2)),
                        ms_ssim=1 - 0.2 / quality * float(rng.uniform(0.5, 1.5)),
                        correct=bool(rng.random() < quality / 8),
                        agrees=bool(rng.random() < quality / 8),
                    )
                )
    result = summarise(table(rows), replicates=60)
    a, b = (result.curve("lite0", Series(codec)) for codec in ("jpeg", "webp"))
    rates, shares = [], []
    for i in range(61):
        curves = [
            [(p.samples["bpp"][i], p.samples["ms_ssim"][i], p.samples["agreement"][i]) for p in c] for c in (a, b)
        ]
        try:
            rates.append(bd_rate(*([(bpp, ms_ssim_db(m)) for bpp, m, _ in curve] for curve in curves)))
        except BadOptionError:  # too few points are left without the worse ones
            rates.append(math.nan)
        shares.append(100 * bd_quality(*([(bpp, s) for bpp, _, s in curve] for curve in curves)))
    assert np.isfinite(rates).sum() > 40
    comparison = next(c for c in result.comparisons if (c.anchor.codec, c.test.codec) == ("jpeg", "webp"))
    for estimate, values in ((comparison.bd_rate, rates), (comparison.bd_agreement, shares)):
        assert estimate is not None
        expected = (values[0], *np.nanpercentile(values[1:], (2.5, 97.5)))
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, rel=1e-9)


def test_a_curve_is_read_at_a_rate(found: Summary) -> None:
    curve = found.curve("lite0", Series("bpg"))
    rate, share = curve[2].value("bpp"), curve[2].value("preserved")
    assert rate is not None
    at_point = at_rate(curve, "preserved", rate)
    assert at_point is not None
    assert at_point.value == pytest.approx(share)
    between = at_rate(curve, "ms_ssim", 1.05 * rate)
    assert between is not None
    assert (curve[2].value("ms_ssim") or 1) < between.value < (curve[3].value("ms_ssim") or 0)
    assert at_rate(curve, "preserved", 1e-6) is None
    assert at_rate(curve, "preserved", 1e6) is None
    assert at_rate(curve[:1], "preserved", rate) is None
    assert at_rate([], "preserved", rate) is None


def test_files(tmp_path: Path) -> None:
    rows = sweep_rows(12)
    folder = fake_results.write(tmp_path / "sweep", rows)
    result = summary.write(folder)
    lines = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    assert len(lines) == len(result.rows) == 75
    first = lines[0]
    assert (first["codec"], first["alpha"], first["quality"]) == ("rnn", "0", "1")
    point = only(result, codec="rnn", alpha=0.0, quality=1, classifier=first["classifier"])
    assert float(first["preserved_low"]) <= float(first["preserved"]) <= float(first["preserved_high"])
    assert float(first["preserved"]) == pytest.approx(point.value("preserved"), rel=1e-5)
    assert {line["alpha"] for line in lines if line["codec"] == "jpeg"} == {""}
    pairs = list(csv.DictReader((folder / "comparisons.csv").read_text().splitlines()))
    assert len(pairs) == 3 * 5 * 4
    bpg = next(p for p in pairs if (p["anchor"], p["test"], p["classifier"]) == ("jpeg", "bpg", MEAN))
    assert float(bpg["bd_rate_ms_ssim_percent"]) < 0 < float(bpg["bd_preserved_points"])
    # The same as from memory, and as from the inner folder.
    assert summary._csv(summarise(table(rows)).records()) == (folder / "summary.csv").read_text()
    before = (folder / "summary.csv").read_bytes()
    summary.write(folder / "results.parquet")
    assert (folder / "summary.csv").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == [
        "comparisons.csv",
        "results.parquet",
        "settings.json",
        "summary.csv",
    ]


def test_one_file_is_as_good_as_parts(tmp_path: Path) -> None:
    rows = sweep_rows(4)
    pq.write_table(table(rows), tmp_path / "results.parquet")
    assert summary._csv(summary.load(tmp_path).records()) == summary._csv(summarise(table(rows)).records())


def test_folders_that_hold_no_results(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadFileError, match="There are no results in"):
            summary.load(folder)
    empty = fake_results.write(tmp_path / "empty", [], parts=1)
    assert summary.load(empty).rows == []


@pytest.mark.parametrize("damage", ["cut", "foreign", "bytes"])
def test_damaged_parts(tmp_path: Path, damage: str) -> None:
    folder = fake_results.write(tmp_path, sweep_rows(8))
    part = folder / "results.parquet" / "part-000001.parquet"
    data = part.read_bytes()
    if damage == "cut":
        part.write_bytes(data[: len(data) // 2])
    elif damage == "foreign":
        part.write_bytes(b"no parquet at all")
    else:
        part.write_bytes(data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :])
    with pytest.raises(
        BadFileError, match=r"part-000001.parquet is damaged .*: run `beholder evaluate --resume` again\."
    ):
        summary.load(folder)


def test_other_tables(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no fitting column image"):
        summarise(pa.table({"a": [1]}))
    changed = table([row()]).set_column(0, "image", pa.array([1]))
    with pytest.raises(BadFileError, match="no fitting column image"):
        summarise(changed)
    with pytest.raises(BadFileError, match="names no codec"):
        summarise(table([row(codec=None)]))
    with pytest.raises(BadFileError, match="names no image"):
        summarise(table([row(image=None)]))
    folder = fake_results.write(tmp_path, sweep_rows(4))
    pq.write_table(table([row(vif=0.5)], ("vif",)), folder / "results.parquet" / "part-000007.parquet")
    with pytest.raises(BadFileError, match="other columns"):
        summary.load(folder)


def test_missing_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_results.write(tmp_path, sweep_rows(2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotAvailableError, match=re.escape(install_command("evaluate"))):
        summary.load(tmp_path)
