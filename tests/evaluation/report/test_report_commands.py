"""The commands `plot` and `report`: what they write, and how they fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers import fake_results
from helpers.fake_results import sweep_rows
from typer.testing import CliRunner

from beholder.cli.commands import reports
from beholder.errors import BadFileError, BeholderError, NotAvailableError
from beholder.evaluation.plots import figures as plots


@pytest.fixture
def run() -> Any:
    """The commands, with errors as they are raised."""
    app = typer.Typer()
    app.callback()(lambda: None)
    reports.register(app)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_commands(tmp_path: Path, run: Any) -> None:
    folder = fake_results.write(tmp_path, sweep_rows(4, ("lite0",)))
    done = run("plot", str(folder))
    assert done.exit_code == 0, done.exception
    printed = [Path(line) for line in done.output.replace("\n", "").replace(".png", ".png\n").split("\n") if line]
    assert printed == sorted((folder / "plots").glob("*.png"), key=printed.index)
    assert len(printed) == 4
    done = run("report", str(folder))
    assert done.exit_code == 0, done.exception
    assert "preserved %" in done.output
    assert "against JPEG" in done.output
    assert {path.name for path in folder.iterdir()} >= {"report.html", "summary.csv", "comparisons.csv", "plots"}


def test_commands_that_fail(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def error(*arguments: str) -> BeholderError:
        found = run(*arguments).exception
        assert isinstance(found, BeholderError)
        return found

    for command in ("plot", "report"):
        assert "There are no results in" in str(error(command, str(tmp_path / "missing")))
    folder = fake_results.write(tmp_path / "sweep", sweep_rows(2))
    part = folder / "results.parquet" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert isinstance(error("report", str(folder)), BadFileError)
    assert not (folder / "report.html").exists()
    monkeypatch.setattr(plots, "require", lambda: (_ for _ in ()).throw(NotAvailableError("Figures need matplotlib.")))
    assert isinstance(error("plot", str(folder)), NotAvailableError)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pyarrow" in str(error("report", str(folder)))
