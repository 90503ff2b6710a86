"""The report's tables, as HTML: every text from a file is escaped, every number can be sorted by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from beholder.evaluation.plots.style import Style, styles, title, view_title
from beholder.evaluation.report.gallery import Exhibit, Seen, Shot
from beholder.evaluation.summary.compare import Comparison
from beholder.evaluation.summary.curves import MEAN, Estimate, Series, signed
from beholder.evaluation.summary.summarise import FRACTIONS, TIMES, Summary
from beholder.evaluation.sweep.provenance import last_name

_SHORT = {
    "bpp": "bpp",
    "top1": "top-1 %",
    "top5": "top-5 %",
    "preserved": "preserved %",
    "agreement": "agreement %",
    "encode_seconds": "encode s",
    "decode_seconds": "decode s",
}
_UNKNOWN = '<td class="n">\u2013</td>'


def options(summary: Summary) -> str:
    """The classifiers to choose from."""
    return "".join(
        f'<option value="{number}">{escape(view_title(view))}</option>' for number, view in enumerate(summary.views)
    )


def anchors(summary: Summary) -> str:
    """The curves to compare with; the first codec without alpha is chosen."""
    chosen = next((number for number, series in enumerate(summary.series) if series.alpha is None), 0)
    return "".join(
        f'<option value="{number}"{" selected" if number == chosen else ""}>{escape(style.label)}</option>'
        for number, style in enumerate(styles(summary.series).values())
    )


def comparisons(summary: Summary) -> str:
    """Every codec against every other."""
    looks, numbers = _looks(summary)
    columns = ["codec", "BD-rate (MS-SSIM), %", "overlap of MS-SSIM, %"]
    fractions = [name for name in ("preserved", "agreement") if summary.knows(name)]
    columns += [f"BD-{'accuracy (preserved)' if name == 'preserved' else name}, points" for name in fractions]
    rows = []
    for comparison in summary.comparisons:
        cells = _key(looks[comparison.test], numbers[comparison.test])
        cells += _difference(comparison.bd_rate, lower_is_better=True) + _overlap(comparison.quality_overlap)
        cells += "".join(_difference(_fraction(comparison, name), lower_is_better=False) for name in fractions)
        cells += _overlap(comparison.rate_overlap) + _range(comparison)
        view = summary.views.index(comparison.classifier)
        rows.append(f'<tr data-view="{view}" data-anchor="{numbers[comparison.anchor]}">{cells}</tr>')
    return _table("comparisons", [*columns, "overlap of rates, %", "over bpp"], rows, "Every codec compared with one.")


def summary_table(summary: Summary) -> str:
    """The lines of ``summary.csv``, the intervals small."""
    looks, numbers = _looks(summary)
    names = [name for name in summary.columns() if name not in ("bytes", "metadata_bytes", "top1_original")]
    rows = []
    for row in summary.rows:
        cells = _key(looks[row.series], numbers[row.series]) + _number(row.quality, str(row.quality))
        cells += "".join(_value(name, row.estimate(name)) for name in names) + _number(row.images, f"{row.images:,}")
        rows.append(f'<tr data-view="{summary.views.index(row.classifier)}">{cells}</tr>')
    columns = ["codec", "quality", *(_SHORT.get(name, title(name)) for name in names), "images"]
    return _table("summary", columns, rows, "Means over images and their 95 % intervals.")


def facts(settings: dict[str, Any], runs: Sequence[dict[str, Any]], summary: Summary) -> str:
    """Facts of the measurement: with what, when and where; of paths only the last name."""
    images = max((row.images for row in summary.rows), default=0)
    pairs = [("data", last_name(str(settings["data"])))] if settings.get("data") else []
    pairs.append(("images", f"{images:,}"))
    pairs += [(key, last_name(str(settings[key]))) for key in ("protocol", "model", "effort") if settings.get(key)]
    if "keep_metadata" in settings:
        pairs.append(("metadata", "compressed and counted" if settings["keep_metadata"] else "left out for all codecs"))
    qualities = settings.get("qualities")
    for codec in dict.fromkeys(series.codec for series in summary.series):
        used = qualities.get(codec) if isinstance(qualities, dict) else None
        if not isinstance(used, list):
            used = sorted({row.quality for row in summary.rows if row.series.codec == codec})
        pairs.append((codec, "quality " + ", ".join(map(str, used))))
    names = [str(view) for view in summary.views if view is not None and view != MEAN]
    pairs.append(("classifiers", ", ".join(names) or "none"))
    versions = settings.get("versions")
    if isinstance(versions, dict):
        pairs.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)))
    for run in runs:
        pairs += [(key, str(run[key])) for key in ("date", "version", "processor", "command") if run.get(key)]
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def gallery(exhibits: Sequence[Exhibit]) -> str:
    """Pictures with what was seen in them; the script makes a viewer of each ``viewer``."""
    parts = []
    for number, exhibit in enumerate(exhibits):
        figures = "".join(_figure(shot, place == 0) for place, shot in enumerate(exhibit.tiles))
        viewer = f'<div class="viewer" data-image="{number}" hidden></div>'
        heading = f"<h3>{escape(exhibit.name)}</h3>"
        parts.append(f'<section class="shots">{heading}{viewer}<div class="row">{figures}</div></section>')
    return "".join(parts)


def colours(summary: Summary) -> tuple[str, str]:
    """CSS variables --s0, --s1 ... of the curves, for a light and for a dark page."""
    looks = list(styles(summary.series).values())
    return (
        "".join(f"--s{number}:{style.colour};" for number, style in enumerate(looks)),
        "".join(f"--s{number}:{style.dark_colour};" for number, style in enumerate(looks)),
    )


def _looks(summary: Summary) -> tuple[dict[Series, Style], dict[Series, int]]:
    return styles(summary.series), {series: number for number, series in enumerate(summary.series)}


def _table(name: str, columns: Sequence[str], rows: Iterable[str], caption: str) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{escape(column)}</button></th>' for column in columns)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table id="{name}">'
        f'<caption class="unseen">{escape(caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _key(style: Style, number: int) -> str:
    return (
        f'<th scope="row" data-sort="{number}"><span class="key" style="background:var(--s{number})"></span>'
        f"{escape(style.label)}</th>"
    )


def _number(value: float, text: str) -> str:
    return f'<td class="n" data-sort="{value:.6g}">{escape(text)}</td>'


def _value(name: str, estimate: Estimate | None) -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return _UNKNOWN
    text = _format(name, estimate.value)
    if name not in TIMES and math.isfinite(estimate.low):
        low, high = _format(name, estimate.low), _format(name, estimate.high)
        text += f" <small>{low}\u2013{high}</small>"
    return f'<td class="n" data-sort="{estimate.value:.6g}">{text}</td>'


def _format(name: str, value: float) -> str:
    if name in FRACTIONS:
        return f"{100 * value:.1f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}" if name in ("bpp", *TIMES) else f"{value:.4f}"


def _difference(estimate: Estimate | None, *, lower_is_better: bool) -> str:
    if estimate is None:
        return _UNKNOWN
    sign = -estimate.sign() if lower_is_better else estimate.sign()
    verdict, mark = {1: ("better", "\u25b2"), -1: ("worse", "\u25bc"), 0: ("", "")}[sign]
    interval = f" <small>{signed(estimate.low)} to {signed(estimate.high)}</small>" if estimate.known else ""
    said = f'<span class="unseen">{verdict}</span><span aria-hidden="true">{mark}</span>' if verdict else ""
    return f'<td class="n {verdict}" data-sort="{estimate.value:.6g}">{said} {signed(estimate.value)}{interval}</td>'


def _overlap(fraction: float | None) -> str:
    return _UNKNOWN if fraction is None else _number(fraction, f"{100 * fraction:.0f}")


def _fraction(comparison: Comparison, name: str) -> Estimate | None:
    return comparison.bd_preserved if name == "preserved" else comparison.bd_agreement


def _range(comparison: Comparison) -> str:
    if comparison.bpp is None:
        return _UNKNOWN
    low, high = comparison.bpp
    return f'<td class="n" data-sort="{low:.6g}">{low:.2f}\u2013{high:.2f}</td>'


def _figure(shot: Shot, original: bool) -> str:
    width, height = shot.size
    alt = f"{shot.title}: {shot.facts}"
    image = f'<img src="{shot.data}" width="{width}" height="{height}" alt="{escape(alt)}" loading="lazy">'
    if not original:
        image = f'<button type="button" class="hold" title="Hold to see the original">{image}</button>'
    seen = "".join(_seen(one) for one in shot.seen)
    kind = ' class="original"' if original else ""
    return (
        f"<figure{kind}>{image}<figcaption><b>{escape(shot.title)}</b><span>{escape(shot.facts)}</span>"
        f'<ul class="seen">{seen}</ul></figcaption></figure>'
    )


def _seen(seen: Seen) -> str:
    verdict = "" if seen.agrees is None else "same" if seen.agrees else "other"
    mark = {"same": "\u2713", "other": "\u2717", "": "\u00b7"}[verdict]
    said = {"same": "as in the original", "other": "not as in the original", "": ""}[verdict]
    probability = "" if seen.probability is None else f" {100 * seen.probability:.0f} %"
    return (
        f'<li class="{verdict}"><span aria-hidden="true">{mark}</span> {escape(seen.label)}{probability} '
        f'<small>{escape(seen.classifier)}</small><span class="unseen">{said}</span></li>'
    )
