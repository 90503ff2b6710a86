"""Output of the commands for people, with rich; the same text goes into saved reports."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from beholder.cli.console import SafeConsole
from beholder.cli.grid import UNBOUNDED, Grid

if TYPE_CHECKING:
    from beholder.evaluation.one_image import Evaluation
    from beholder.observers import Prediction

_REPORT_WIDTH = 100


def show(*parts: RenderableType, file: TextIO | None = None, width: int | None = None) -> None:
    """Print to ``file`` (standard output for None); file names are never taken for markup.

    On a terminal tables fit its width.  Elsewhere they are plain, one line a row, whatever its length, unless ``width``
    or the environment variable ``COLUMNS`` says otherwise.
    """
    stream = file or sys.stdout
    if width is None and "COLUMNS" not in os.environ and not _console(stream).is_terminal:
        stream.write(as_text(Group(*parts), UNBOUNDED))
        return
    _console(stream, width).print(*parts, sep="\n")


def as_text(part: RenderableType, width: int = _REPORT_WIDTH) -> str:
    """Text that :func:`show` prints in lines of ``width`` characters, without colours and blanks at their ends."""
    out = StringIO()
    _console(out, width).print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[int] = (), keys: int = 1
) -> Grid:
    """A plain table; ``right`` are the numbers of right-aligned columns, the first ``keys`` columns name a row."""
    return Grid(columns, rows, right, keys)


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Two columns: name and value."""
    result = Table.grid(padding=(0, 2))
    result.add_column(style="dim", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in pairs:
        result.add_row(name, value)
    return result


def evaluation_report(evaluation: Evaluation) -> RenderableType:
    """The figures of one evaluation and what the classifier saw before and after."""
    from beholder.evaluation.pictures import describe_codec

    pairs = [
        ("image", f"{evaluation.image}, {evaluation.width} x {evaluation.height} pixels"),
        ("codec", describe_codec(evaluation)),
        ("size", f"{evaluation.bytes:,} bytes, {evaluation.bpp:.4f} bpp"),
        ("pixels", f"{evaluation.pixel_bytes:,} bytes"),
        ("metadata", _metadata(evaluation)),
        ("MS-SSIM", f"{evaluation.ms_ssim:.5f}"),
        ("PSNR", f"{decibels(evaluation.psnr)} dB"),
        (
            "time",
            f"{evaluation.encode_seconds:.2f} s to encode, {evaluation.decode_seconds:.2f} s to decode",
        ),
    ]
    expected = evaluation.predictions_original[0].index
    rows = [
        (str(rank), *_prediction(before), *_prediction(after, expected))
        for rank, (before, after) in enumerate(
            zip(evaluation.predictions_original, evaluation.predictions_compressed, strict=True), 1
        )
    ]
    classes = table(("", "original", "synset", "", "decompressed", "synset", ""), rows, right=(0, 3, 6))
    return Group(facts(pairs), Text(f"\nWhat {evaluation.classifier} sees"), classes)


def comparison_table(evaluations: Sequence[Evaluation]) -> Grid:
    """One row a codec, below the original."""
    from beholder.evaluation.pictures import describe_codec

    first = evaluations[0]
    expected = first.predictions_original[0]
    columns = ("codec", "bytes", "bpp", "MS-SSIM", "PSNR", "seen as", "")
    rows: list[tuple[str | Text, ...]] = [("original", "", "", "", "", *_seen(expected, expected.index))]
    rows += [
        (
            describe_codec(e),
            f"{e.bytes:,}",
            f"{e.bpp:.3f}",
            f"{e.ms_ssim:.4f}",
            decibels(e.psnr),
            *_seen(e.predictions_compressed[0], expected.index),
        )
        for e in evaluations
    ]
    return table(columns, rows, right=(1, 2, 3, 4, 6))


def _metadata(evaluation: Evaluation) -> str:
    """Bytes of the file that hold metadata, and those that were left out of it."""
    left_out = evaluation.metadata_left_out
    text = f"{evaluation.metadata_bytes:,} bytes"
    return f"{text} ({left_out:,} left out: --keep-metadata counts them)" if left_out else text


def decibels(value: float) -> str:
    """Two decimals, or ``inf`` for equal pictures."""
    return f"{value:.2f}" if math.isfinite(value) else "inf"


def flat(values: Any) -> str:
    """A list or dictionary in one line."""
    if isinstance(values, dict):
        return ", ".join(f"{key} {value:,}" for key, value in values.items()) or "none"
    return ", ".join(f"{value:,}" for value in values) or "none"


def _prediction(prediction: Prediction, expected: int | None = None) -> tuple[str | Text, str, str]:
    label, probability = _seen(prediction, expected)
    return label, prediction.wnid, str(probability)


def _seen(prediction: Prediction, expected: int | None = None) -> tuple[Text, str]:
    style = "green" if prediction.index == expected else ""
    return Text(prediction.label, style), f"{100 * prediction.probability:.1f} %"


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what takes its time, until it is done."""
    console = _console(sys.stderr)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(what)):  # a string would be taken for markup
        yield


def _console(file: TextIO, width: int | None = None) -> Console:
    return SafeConsole(file, width)
