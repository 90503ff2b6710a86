"""The comparison as one HTML file that needs nothing else: original and decompressed under a slider, all figures."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from importlib.resources import files
from io import BytesIO

from PIL import Image

from beholder.evaluation.compare.measure import Comparison, Verdict
from beholder.evaluation.compare.sheet import values

LARGEST = 1600
"""Longest side of the pictures in the page; larger ones are reduced."""

_FIELD = re.compile(r"\{\{(\w+)\}\}")


def render(comparison: Comparison, name: str) -> str:
    """The HTML; whatever comes from files is escaped, and its policy forbids the page to load anything.

    Args:
        comparison: what was measured.
        name: of the photograph.
    """
    width, height = comparison.original.size
    rows = [_row("original", [], comparison.verdicts)]
    rows += [_row(entry.title, values(entry), entry.verdicts) for entry in comparison.entries]
    choices = "".join(
        f'<option value="{number}">{escape(entry.title)}</option>' for number, entry in enumerate(comparison.entries)
    )
    sources = [_source(entry.picture) for entry in comparison.entries]
    return _fill(
        "page.html",
        title=escape(name),
        size=f"{comparison.size:,}",
        pixels=f"{width} x {height}",
        bpp=f"{8 * comparison.size / (width * height):.3f}",
        style=_read("style.css"),
        script=_read("script.js"),
        pictures=json.dumps(sources),
        original=_source(comparison.original),
        choices=choices,
        rows="".join(rows),
    )


def _row(title: str, lines: list[str], verdicts: tuple[Verdict, ...]) -> str:
    seen = "".join(
        f'<li class="{"same" if v.agrees else "other"}">{escape(v.label)} {100 * v.probability:.1f} % '
        f"<small>{escape(v.observer)}</small></li>"
        for v in verdicts
    )
    cells = "".join(f"<td>{escape(line)}</td>" for line in (lines or [""] * 4))
    return f"<tr><th>{escape(title)}</th>{cells}<td><ul>{seen}</ul></td></tr>"


def _source(picture: Image.Image) -> str:
    """A data address of the pixels, without loss."""
    longest = max(picture.size)
    if longest > LARGEST:
        width, height = (max(1, round(side * LARGEST / longest)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    out = BytesIO()
    picture.save(out, "WEBP", lossless=True, quality=30)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _fill(name: str, **fields: str) -> str:
    """Return a template with every ``{{field}}`` filled in once: values are not searched for fields again."""
    return _FIELD.sub(lambda match: fields[match[1]], _read(name))


def _read(name: str) -> str:
    return (files("beholder.evaluation.compare") / "page_files" / name).read_text(encoding="utf-8")
