"""``beholder compare``: all codecs at one file size, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.cli import files, options, progress
from beholder.errors import NotAvailableError

if TYPE_CHECKING:
    from beholder.cli.grid import Grid
    from beholder.evaluation.compare import Comparison


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(compare)


def compare(
    image: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo in any format Pillow reads, or - for stdin.")],
    bpp: Annotated[float, typer.Option("--bpp", metavar="X", help="Bits a pixel of every file.")] = 0.25,
    codecs: Annotated[
        str, typer.Option("--codecs", metavar="C,C,...", show_default=False, help="Default: all that run here.")
    ] = "",
    alpha: Annotated[str, typer.Option("--alpha", "-a", metavar="A,A,...", help="For codecs that take it.")] = "0,1",
    classifiers: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="Who is asked; `beholder observers` lists them. Or none."),
    ] = f"{options.DEFAULT_CLASSIFIER},squeezenet",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", show_default=False, help="The contact sheet. Default: PHOTO-compare.png."
        ),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also write a page with sliders, beside the sheet, in one file.")
    ] = False,
    max_pixels: options.MaxPixels = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Compress a photo with all codecs to one file size, and draw a contact sheet of where they differ most."""
    from beholder import observers
    from beholder.cli import tables
    from beholder.codecs.base import check_alpha
    from beholder.evaluation import compare as library
    from beholder.evaluation.compare import page, sheet
    from beholder.evaluation.pictures import to_png
    from beholder.limits import limit_pixels
    from beholder.reading import open_image

    among = library.contestants(options.names(codecs), [check_alpha(value) for value in options.numbers(alpha)])
    watchers = [observers.get(name) for name in options.names(classifiers)]
    for reason in (watcher.unavailable() for watcher in watchers):
        if reason is not None:
            raise NotAvailableError(reason)
    stem = "photo" if image == files.STREAM else str(Path(image).with_suffix(""))
    png = Path(f"{stem}-compare.png") if output is None else output.with_suffix(".png")
    outputs = [png] + ([png.with_suffix(".html")] if html else [])
    for path in outputs:
        files.check_output(str(path), image, force)
    with limit_pixels(max_pixels), progress.bar("Compressing") as show:
        picture = open_image(files.read_stdin() if image == files.STREAM else image)
        comparison = library.compare(picture, bpp, among, watchers, show)
    name = "standard input" if image == files.STREAM else Path(image).name
    files.write(str(png), to_png(sheet.draw(comparison, name)), force=force)
    if html:
        files.write(str(outputs[1]), page.render(comparison, name).encode("utf-8", "replace"), force=force)
    if as_json:
        print(files.json_text({"image": image, **comparison.as_dict(), "written": [str(path) for path in outputs]}))
        return
    tables.show(_table(comparison))
    for line in _remarks(comparison):
        print(line)
    for path in outputs:
        print(path)


def _table(comparison: Comparison) -> Grid:
    from rich.text import Text

    from beholder.cli import tables

    observers = [verdict.observer for verdict in comparison.verdicts]
    rows: list[tuple[str | Text, ...]] = [
        ("original", *[""] * 6, *(f"{v.label} {100 * v.probability:.0f} %" for v in comparison.verdicts))
    ]
    for entry in comparison.entries:
        seen = (Text(f"{v.label} {100 * v.probability:.0f} %", "green" if v.agrees else "red") for v in entry.verdicts)
        similarity = "" if entry.ssimulacra2 is None else f"{entry.ssimulacra2:.2f}"
        figures = (f"{entry.quality:.4g}", f"{len(entry.data):,}", f"{entry.bpp:.3f}", f"{entry.ms_ssim:.4f}")
        rows.append((entry.title, *figures, similarity, tables.decibels(entry.psnr), *seen))
    columns = ("codec", "quality", "bytes", "bpp", "MS-SSIM", "SSIMULACRA 2", "PSNR", *observers)
    return tables.table(columns, rows, right=range(1, 7))


def _remarks(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.size != comparison.wanted:
        lines.append(
            f"All at {comparison.size:,} bytes: not every codec writes a file of {comparison.wanted:,}, as asked for."
        )
    if comparison.unequal:
        names = ", ".join(f"{entry.title} ({len(entry.data):,})" for entry in comparison.unequal)
        lines.append(f"Not within 2 % of that size, which they cannot write: {names}.")
    lines += [f"Left out: {name}: {reason}" for name, reason in comparison.left_out]
    return lines
