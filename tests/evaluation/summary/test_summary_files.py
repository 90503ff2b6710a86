"""Summaries as files, and results that are none."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import fake_results
from helpers.fake_results import only, row, sweep_rows, table

from beholder.errors import BadFileError, NotAvailableError
from beholder.evaluation.summary import summarise as summary
from beholder.evaluation.summary.curves import MEAN
from beholder.evaluation.summary.summarise import summarise
from beholder.extras import install_command


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
