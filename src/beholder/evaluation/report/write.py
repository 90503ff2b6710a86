"""One page that shows a sweep: curves to explore, tables to sort, pictures to look at.

``report.html`` needs nothing else: style, script and pictures are in it, and its content security policy forbids it to
load anything.  Whatever comes from files (names, labels, settings) is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from beholder.errors import BadFileError
from beholder.evaluation.report import data as report_data
from beholder.evaluation.report import gallery as report_gallery
from beholder.evaluation.report import tables as report_tables
from beholder.evaluation.summary.summarise import Summary, home, load
from beholder.evaluation.sweep import provenance, results
from beholder.files import save_atomically

REPORT = "report.html"

_FIELD = re.compile(r"\{\{(\w+)\}\}")


def write(folder: Path, summary: Summary | None = None) -> Path:
    """Write ``report.html`` into ``folder``; its path.

    Args:
        folder: what ``beholder evaluate --output`` wrote.
        summary: what :func:`beholder.evaluation.summary.summarise.write` returned, to save reading the results again.

    Raises:
        BadFileError: there are no results, or a part is damaged.
        NotAvailableError: pyarrow is not installed.
        OutputError: ``folder`` is not writable.
    """
    folder = home(folder)
    summary = summary or load(folder)
    if not summary.rows:
        raise BadFileError(f"The results in {folder} have no rows yet: let the sweep finish.")
    settings = _settings(folder)
    exhibits = report_gallery.collect(folder, summary.series, settings)
    path = folder / REPORT
    text = page(summary, settings, provenance.read(folder), exhibits)
    save_atomically(path, text.encode("utf-8", "replace"))
    return path


def page(
    summary: Summary,
    settings: dict[str, Any],
    runs: Sequence[dict[str, Any]],
    exhibits: Sequence[report_gallery.Exhibit],
) -> str:
    """The HTML of the report."""
    light, dark = report_tables.colours(summary)
    images = max(row.images for row in summary.rows)
    data = provenance.last_name(str(settings.get("data", "")))
    return _fill(
        "page.html",
        title=escape(f"Beholder: {data}" if data else "Beholder"),
        heading=escape(data or "A sweep"),
        images="1 image" if images == 1 else f"{images:,} images",
        style=_fill("style.css", light=light, dark=dark),
        script=_read("script.js") + _read("viewer.js"),
        data=report_data.embed(report_data.payload(summary, exhibits)),
        options=report_tables.options(summary),
        anchors=report_tables.anchors(summary),
        comparisons=report_tables.comparisons(summary),
        summary=report_tables.summary_table(summary),
        facts=report_tables.facts(settings, runs, summary),
        gallery=_gallery(exhibits),
    )


def _gallery(exhibits: Sequence[report_gallery.Exhibit]) -> str:
    return _fill("gallery.html", pictures=report_tables.gallery(exhibits)) if exhibits else ""


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return results.read_settings(folder)
    except BadFileError:  # the rows alone make a report
        return {}


def _fill(name: str, **fields: str) -> str:
    """Return a template with every ``{{field}}`` filled in once: values are not searched for fields again."""
    return _FIELD.sub(lambda match: fields[match[1]], _read(name))


def _read(name: str) -> str:
    return (files("beholder.evaluation.report") / "page" / name).read_text(encoding="utf-8")
