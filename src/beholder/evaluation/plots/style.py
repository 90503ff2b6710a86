"""Look of curves, in figures and in the report: a colour a codec, a shade an alpha, a marker and a dash a curve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from beholder.evaluation.summary.curves import MEAN, Series
from beholder.metrics import describe

# name -> title, colour on white, colour on a dark ground, marker.
# Chosen by computer: for people with and without any of the three kinds of colour blindness, each two of these
# and of rnn's shades are at least 15 units of CIELAB apart (tests/evaluation/test_colours.py).
_CODECS = {
    "rnn": ("rnn", "#eb2456", "#f8866d", "o"),
    "jpeg": ("JPEG", "#aa9b00", "#dade1a", "s"),
    "webp": ("WebP", "#118656", "#4fada2", "^"),
    "bpg": ("BPG", "#0077f0", "#2f7ff4", "D"),
    "avif": ("AVIF", "#0b00c1", "#bb98ff", "v"),
    "jpeg2000": ("JPEG 2000", "#6d4b9d", "#a764b6", "P"),
    "jxl": ("JPEG XL", "#7e520f", "#b3932c", "X"),
    "heic": ("HEIC", "#ed87e5", "#ded2fe", "p"),
}
_OTHERS = ("#444444", "#0f8fb3", "#8c564b", "#5b8c1f", "#e07b39", "#6a6fb5")
_FREE_MARKERS = ("<", ">", "h", "d", "*", "H")
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.2), (1.4, 1.4), (7, 2, 1.5, 2), (3.2, 1.6))
_ON_WHITE, _ON_DARK = (0.35, 0.5), (0.55, 0.25)  # how far the lightest and the darkest of a codec's shades go

WHITE, BLACK = "#ffffff", "#000000"

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
    """A style for each curve, told apart without colour: no two have one marker, no neighbours one dash.

    A codec's alphas run from light to dark.
    """
    found = list(series)
    codecs = list(dict.fromkeys(one.codec for one in found))
    unknown = [name for name in codecs if name not in _CODECS]
    free = [*_FREE_MARKERS]
    free += [known[-1] for name, known in _CODECS.items() if name not in codecs]
    used: set[str] = set()
    result = {}
    for place, one in enumerate(found):
        other = _OTHERS[unknown.index(one.codec) % len(_OTHERS)] if one.codec in unknown else ""
        title, colour, dark, marker = _CODECS.get(one.codec, (one.codec, other, _mix(other or WHITE, WHITE, 0.4), ""))
        if not marker or marker in used:
            marker = next((marker for marker in free if marker not in used), _FREE_MARKERS[place % len(_FREE_MARKERS)])
        used.add(marker)
        alphas = sorted(s.alpha for s in found if s.codec == one.codec and s.alpha is not None)
        fraction = alphas.index(one.alpha) / (len(alphas) - 1) if one.alpha is not None and len(alphas) > 1 else 0.5
        result[one] = Style(
            label=title if one.alpha is None else f"{title}, \u03b1 = {one.alpha:g}",
            colour=_shade(colour, fraction, *_ON_WHITE),
            dark_colour=_shade(dark, fraction, *_ON_DARK),
            marker=marker,
            dash=_DASHES[place % len(_DASHES)],
            main=one.alpha is not None,
        )
    return result


def codec_look(codec: str) -> tuple[str, str]:
    """The colour on white and the marker of a codec that Beholder knows."""
    _, colour, _, marker = _CODECS[codec]
    return colour, marker


def title(name: str) -> str:
    """Name of a summary's value on an axis; the unit follows in brackets."""
    if name in _TITLES:
        return _TITLES[name]
    info = describe(name)
    return f"{info.title} ({info.unit})" if info.unit else info.title


def view_title(view: str | None) -> str:
    """Name of a classifier in a heading."""
    return {MEAN: "Mean of the classifiers", None: "All images"}.get(view, str(view))


def _shade(colour: str, fraction: float, lightest: float, darkest: float) -> str:
    """Lighter for 0, as it is for 0.5, darker for 1."""
    if fraction < 0.5:
        return _mix(colour, WHITE, lightest * (1 - 2 * fraction))
    return _mix(colour, BLACK, darkest * (2 * fraction - 1))


def _mix(colour: str, other: str, fraction: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + fraction * (b - a)):02x}" for a, b in pairs)
