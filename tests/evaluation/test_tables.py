"""Tables at any width: nothing is lost, a row is a line, and outside of a terminal they are plain."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated

import pytest
import typer
from helpers import fake_results
from rich.cells import cell_len
from rich.console import Console

from beholder import cli
from beholder.cli import progress, tables
from beholder.cli.commands import reports
from beholder.cli.grid import Grid
from beholder.evaluation.summary.curves import Estimate, signed
from beholder.evaluation.summary.summarise import summarise

WIDTHS = (60, 80, 100, 130)


@pytest.fixture(scope="module")
def sweep_table() -> Grid:
    rows = fake_results.sweep_rows(6, grid={"rnn": {0.5: (1, 4, 8)}, "jpeg2000": {None: (5, 50)}})
    return reports.summary_table(summarise(fake_results.table(rows), replicates=20))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_cell_is_there_at_every_width(sweep_table: Grid, width: int) -> None:
    lines = tables.as_text(sweep_table, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    for row in sweep_table.rows:
        mine = [
            line for line in lines if line.split()[:-1] and " ".join(line.split()).startswith(f"{row[0]} {row[1]} ")
        ]
        assert len(mine) == len(sweep_table.blocks(width))  # one line in each block
        together = "  ".join(mine)
        assert all(str(cell) in together for cell in row)
    names = " ".join(lines).split()
    assert all(word in names for column in sweep_table.columns for word in column.split())


def test_the_codec_is_named_in_every_line_at_80_columns(sweep_table: Grid) -> None:
    text = tables.as_text(sweep_table, 80)
    assert text.count("rnn, \u03b1 = 0.5") == 3 * len(sweep_table.blocks(80))
    assert text.count("JPEG 2000") == 2 * len(sweep_table.blocks(80))


def test_outside_of_a_terminal_a_row_is_one_line(sweep_table: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    tables.show(sweep_table, file=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1 + len(sweep_table.rows)
    assert lines[0].split("  ")[0] == "codec"
    assert all(name in lines[0] for name in sweep_table.columns)
    assert out.getvalue().isprintable() or set(out.getvalue()) - {"\n"} <= set(map(chr, range(32, 0x2000)))
    monkeypatch.setenv("COLUMNS", "80")
    narrow = io.StringIO()
    tables.show(sweep_table, file=narrow)
    assert max(map(len, narrow.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("width", [12, 20, 61])
def test_texts_wrap_and_keys_do_not(width: int) -> None:
    grid = Grid(("name", "title", "n"), [("some name", "a text of many words and onelongwordthatgoeson", "12")], (2,))
    text = tables.as_text(grid, width)
    assert max(map(cell_len, text.splitlines())) <= width
    letters = "".join(text.split())
    assert all(letter in letters for letter in "somenametextofmanywords12")
    if width >= 20:
        assert "some name" in text
    tables.as_text(Grid(("a", "b"), []), width)
    tables.as_text(Grid((), []), width)


def test_markup_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``[train]`` is printed as it is: in tables, beside bars and spinners, and in the help."""
    words = "see [train] and [bold]x[/bold]"
    out = io.StringIO()
    tables.show(tables.table(("[train]",), [(words,)]), tables.facts([("[train]", words)]), words, file=out)
    assert out.getvalue().count("[train]") == 5
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, markup=False)
    monkeypatch.setattr(tables, "_console", lambda *_: console)
    monkeypatch.setattr(progress, "terminal", lambda: console)
    with tables.working(words), progress.bars(console) as bars:
        bars.add_task(words)
        bars.refresh()
    assert screen.getvalue().count("[train] and [bold]x[/bold]") >= 2


def test_markup_in_help_is_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.callback(help="Needs [train].")
    def _root() -> None: ...

    @app.command(help="Command of [train].")
    def one(number: Annotated[int, typer.Option(help="Option of [train].")] = 1) -> None: ...

    monkeypatch.setattr(cli, "_app", lambda words: app)
    cli.main(["--help"])
    cli.main(["one", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for text in ("Needs [train].", "Command of [train].", "Option of [train]."):
        assert text in said


def test_bars_never_count_up_to_a_question_mark() -> None:
    screen = io.StringIO()
    with progress.bars(Console(file=screen, force_terminal=True, width=100)) as bars:
        task = bars.add_task("images", total=None)
        bars.refresh()
        assert "/?" not in screen.getvalue()
        bars.update(task, completed=3, total=40)
        bars.refresh()
        bars.update(task, completed=4)
        bars.refresh()
    assert "/?" not in screen.getvalue()
    assert "4/40" in screen.getvalue()
    assert "left" in screen.getvalue()
    assert "0:00:0" in screen.getvalue()


def test_intervals_that_read_alike_get_the_same_mark() -> None:
    ends = (0.0, -3e-14, 3e-14, 0.04, -0.04)
    assert {Estimate(1.0, low, 2.0).sign() for low in ends} == {0}
    assert {Estimate(-1.0, -2.0, high).sign() for high in ends} == {0}
    assert {signed(end) for end in ends} == {"+0.0"}
    assert Estimate(1.0, 0.06, 2.0).sign() == 1
    assert Estimate(-1.0, -2.0, -0.06).sign() == -1


@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_is_never_overrun(width: int) -> None:
    """The command itself, on a pseudo-terminal of that many columns."""
    parent, child = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    code = f"import fcntl, struct, termios; fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('4H', 50, {width}, 0, 0)); "
    code += "from beholder.cli import main; raise SystemExit(main(['codecs']))"
    chunks: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(parent, 65536):
                chunks.append(chunk)
        except OSError:  # the end of a terminal
            pass

    with subprocess.Popen([sys.executable, "-c", code], stdout=child, stdin=child, env=environment) as process:
        os.close(child)
        thread = threading.Thread(target=read)
        thread.start()
        assert process.wait(60) == 0
    thread.join(10)
    os.close(parent)
    text = b"".join(chunks).decode()
    assert "jpeg2000" in text
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in text.splitlines()]
    assert max(map(cell_len, lines)) <= width
