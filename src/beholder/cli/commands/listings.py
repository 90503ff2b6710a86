"""``beholder info``, ``codecs`` and ``observers``: what there is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from beholder.cli import batch, options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(info)
    app.command("codecs")(list_codecs)
    app.command("observers")(list_observers)


def info(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Compressed files of any codec, folders of them, or - for stdin."),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", show_default=False, help="Also write files.csv to this folder."),
    ] = None,
    recursive: batch.Recursive = False,
    jobs: batch.Jobs = None,
    max_pixels: options.MaxPixels = None,
    quiet: batch.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Say what compressed files hold: codec, size in pixels and bytes, and the header of a .bhd file."""
    settings = batch.Options(recursive, jobs, quiet=quiet, as_json=as_json)
    if output is not None or batch.asked(sources, None, settings):
        from beholder.batch.tasks import Describe

        batch.run(Describe(max_pixels), sources, output, settings)
        return
    from beholder import api, codecs
    from beholder.cli import files
    from beholder.limits import limit_pixels
    from beholder.reading import read_file

    file = sources[0]
    with limit_pixels(max_pixels):
        facts = api.info(files.read_stdin() if file == files.STREAM else read_file(file))
    if as_json:
        print(json.dumps({"file": file, **facts}))
    if as_json or quiet:
        return
    from beholder.cli import tables

    name, width, height, size, bpp = (facts.pop(key) for key in ("codec", "width", "height", "bytes", "bpp"))
    pairs = [
        ("file", file),
        ("codec", f"{name} - {codecs.get(name).title}"),
        ("image", f"{width} x {height} pixels"),
        ("size", f"{size:,} bytes, {bpp:.4f} bpp"),
    ]
    pairs += [(key.replace("_", " "), _readable(value)) for key, value in facts.items()]
    tables.show(tables.facts(pairs))


def list_codecs(as_json: options.Json = False) -> None:
    """List the codecs, their quality scales, and whether they can run here."""
    from beholder import codecs
    from beholder.errors import NotAvailableError

    rows = []
    for name in codecs.names():
        try:
            codec = codecs.get(name)
        except NotAvailableError as error:  # a broken plugin
            rows.append({"name": name, "title": "", "available": False, "unavailable": str(error)})
            continue
        reason = codec.unavailable()
        rows.append(
            {
                "name": codec.name,
                "title": codec.title,
                "suffix": codec.suffix,
                "quality": asdict(codec.scale),
                "takes_alpha": codec.takes_alpha,
                "available": reason is None,
                "unavailable": reason,
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    from beholder.cli import tables

    lines = [
        (
            str(row["name"]),
            _scale(row.get("quality")),
            str(row.get("suffix", "")),
            str(row["title"]) if row["available"] else str(row["unavailable"]),
        )
        for row in rows
    ]
    tables.show(tables.table(("codec", "quality", "file", ""), lines))


def list_observers(as_json: options.Json = False) -> None:
    """List the classifiers that can judge what a compressed image still shows."""
    from beholder import observers
    from beholder.errors import BadFileError, NotAvailableError

    rows: list[dict[str, Any]] = []
    for name in observers.names():
        try:
            observer = observers.get(name)
        except (BadFileError, NotAvailableError) as error:  # a broken plugin or a damaged file
            rows.append({"name": name, "title": "", "available": False, "unavailable": str(error)})
            continue
        reason = observer.unavailable()
        facts = asdict(observer.info) | {"name": name, "classes": observer.classes}
        rows.append(facts | {"available": reason is None, "unavailable": reason})
    if as_json:
        print(json.dumps(rows))
        return
    from beholder.cli import tables

    lines = [
        (
            row["name"],
            f"{row['input_size']} px" if "input_size" in row else "",
            _millions(row.get("parameters")),
            f"{row['top1']:.1f} %" if row.get("top1") is not None else "",
            row.get("licence", ""),
            row.get("source", ""),
            "yes" if row["available"] else "no",
        )
        for row in rows
    ]
    columns = ("observer", "input", "weights", "top-1", "licence", "source", "ready")
    tables.show(tables.table(columns, lines, right=(1, 2, 3)))
    for row in rows:
        if not row["available"]:
            print(row["unavailable"])


def _readable(value: Any) -> str:
    from beholder.cli import tables

    if isinstance(value, list | dict):
        return tables.flat(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scale(scale: Any) -> str:
    if scale is None:
        return ""
    better = "" if scale["higher_is_better"] else ", lower is better"
    return f"{scale['lowest']} to {scale['highest']} ({scale['default']}{better})"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} M"
