"""How curves look, in figures and in the report: a colour and a marker a codec, a shade and a dash an alpha."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from beholder.evaluation.summary.summarise import MEAN, Series
from beholder.metrics import describe

# name -> title, colour, marker
_CODECS = {
    "rnn": ("rnn", "#d1495b", "o"),
    "jpeg": ("JPEG", "#b0772b", "s"),
    "webp": ("WebP", "#3c887e", "^"),
    "bpg": ("BPG", "#30638e", "D"),
    "avif": ("AVIF", "#7a5195", "v"),
    "jpeg2000": ("JPEG 2000", "#6b705c", "P"),
    "jxl": ("JPEG XL", "#9a8c00", "X"),
    "heic": ("HEIC", "#c06c9a", "p"),
}
_OTHERS = ("#444444", "#0f8fb3", "#8c564b", "#5b8c1f", "#e07b39", "#6a6fb5")
_OTHER_MARKERS = ("h", "<", ">", "*", "d", "H")
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.2), (2, 1.6), (7, 2, 1.5, 2))
_LIGHTEST, _DARKEST = 0.30, 0.42

_TITLES = {
    "bpp": "bits per pixel (whole files)",
    "bytes": "bytes",
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "top1_original": "Top-1 accuracy of originals",
    "preserved": "Preserved accuracy",
    "agreement": "Agreement with the original",
    "encode_seconds": "Seconds to encode",
    "decode_seconds": "Seconds to decode",
}


@dataclass(frozen=True)
class Style:
    """The look of one curve."""

    label: str
    colour: str
    """#rrggbb on white."""
    dark_colour: str
    """#rrggbb on a dark ground."""
    marker: str
    """As matplotlib calls it."""
    dash: tuple[float, ...]
    """Lengths of strokes and gaps in line widths; none for a solid line."""
    main: bool
    """Whether this is the codec that everything is about."""


def styles(series: Iterable[Series]) -> dict[Series, Style]:
    """A style for each curve.  A codec's alphas run from light to dark, and from solid to dashed to dotted."""
    found = list(series)
    unknown = [name for name in dict.fromkeys(s.codec for s in found) if name not in _CODECS]
    result = {}
    for one in found:
        number = unknown.index(one.codec) if one.codec in unknown else 0
        title, base, marker = _CODECS.get(
            one.codec, (one.codec, _OTHERS[number % len(_OTHERS)], _OTHER_MARKERS[number % len(_OTHER_MARKERS)])
        )
        alphas = sorted(s.alpha for s in found if s.codec == one.codec and s.alpha is not None)
        place = alphas.index(one.alpha) if one.alpha is not None else 0
        share = place / (len(alphas) - 1) if len(alphas) > 1 else 0.5
        colour = _shade(base, share)
        result[one] = Style(
            label=title if one.alpha is None else f"{title}, \u03b1 = {one.alpha:g}",
            colour=colour,
            dark_colour=_mix(colour, "#ffffff", 0.12 + 0.4 * share),
            marker=marker,
            dash=_DASHES[place % len(_DASHES)],
            main=one.alpha is not None,
        )
    return result


def title(name: str) -> str:
    """What a value of a summary is called on an axis; the unit follows in brackets."""
    if name in _TITLES:
        return _TITLES[name]
    info = describe(name)
    return f"{info.title} ({info.unit})" if info.unit else info.title


def view_title(view: str | None) -> str:
    """What a classifier is called in a heading."""
    return {MEAN: "Mean of the classifiers", None: "All images"}.get(view, str(view))


def _shade(colour: str, share: float) -> str:
    """Lighter for 0, as it is for 0.5, darker for 1."""
    if share < 0.5:
        return _mix(colour, "#ffffff", _LIGHTEST * (1 - 2 * share))
    return _mix(colour, "#000000", _DARKEST * (2 * share - 1))


def _mix(colour: str, other: str, share: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)
