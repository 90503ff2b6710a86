"""What the commands print for people, with rich; the same text goes into saved reports."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from beholder.evaluation.single import Evaluation
    from beholder.observers import Prediction

_REPORT_WIDTH = 100


def show(*parts: RenderableType, file: TextIO | None = None, width: int | None = None) -> None:
    """Print to ``file`` (standard output for None); file names are never taken for markup."""
    Console(file=file or sys.stdout, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False).print(
        *parts, sep="\n"
    )


def as_text(part: RenderableType) -> str:
    """What :func:`show` prints, without colours."""
    out = StringIO()
    show(part, file=out, width=_REPORT_WIDTH)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[int] = ()) -> Table:
    """A plain table; ``right`` are the numbers of right-aligned columns."""
    result = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        result.add_column(
            name, justify="right" if number in right else "left", no_wrap=number in right, overflow="fold"
        )
    for row in rows:
        result.add_row(*row)
    return result


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


def comparison_table(evaluations: Sequence[Evaluation]) -> Table:
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


def decibels(value: float) -> str:
    """Two decimals, or ``inf`` for equal pictures."""
    return f"{value:.2f}" if math.isfinite(value) else "inf"


def flat(values: Any) -> str:
    """A list or dictionary in one line."""
    if isinstance(values, dict):
        return ", ".join(f"{key} {value:,}" for key, value in values.items()) or "none"
    return ", ".join(f"{value:,}" for value in values) or "none"


def _prediction(prediction: Prediction, expected: int | None = None) -> tuple[str | Text, str, str]:
    label, share = _seen(prediction, expected)
    return label, prediction.wnid, str(share)


def _seen(prediction: Prediction, expected: int | None = None) -> tuple[Text, str]:
    style = "green" if prediction.index == expected else ""
    return Text(prediction.label, style), f"{100 * prediction.probability:.1f} %"


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what takes its time, until it is done."""
    console = Console(file=sys.stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
