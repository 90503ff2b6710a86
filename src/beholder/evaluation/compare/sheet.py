"""The contact sheet of a comparison: crops of every codec beside the original, with figures and verdicts."""

from __future__ import annotations

from PIL import Image, ImageDraw

from beholder.evaluation import pictures
from beholder.evaluation.compare.crops import Box, busiest
from beholder.evaluation.compare.measure import Comparison, Entry, Verdict

CROP = 128
"""Side of a crop in pixels of the photograph."""
CROPS = 3
TITLES = ("MS-SSIM", "SSIMULACRA 2", "PSNR")
_ZOOM = 2
_COLUMN = CROP * _ZOOM
_GAP, _MARGIN = 16, 28
_LINE, _LARGE = 21, 26
_BOX = "#e11d48"


def draw(comparison: Comparison, name: str) -> Image.Image:
    """An RGB picture: a column for the original and each codec, a row for each crop, figures below.

    Args:
        comparison: what was measured.
        name: of the photograph, for the heading.
    """
    boxes = busiest([entry.picture for entry in comparison.entries], CROP, CROPS)
    columns = 1 + len(comparison.entries)
    width = 2 * _MARGIN + columns * _COLUMN + (columns - 1) * _GAP
    heading = 3 * _LARGE
    lines = 5 + max(1, len(comparison.verdicts))
    crops = sum(_ZOOM * (box[3] - box[1]) + _GAP for box in boxes)
    overview = _overview(comparison.original, boxes)
    top = _MARGIN + heading
    height = top + _LARGE + crops + (lines + 1) * _LINE + overview.height + 2 * _MARGIN
    page = Image.new("RGB", (width, height), pictures.PAPER)
    pen = ImageDraw.Draw(page)
    _heading(pen, comparison, name, width)
    for number in range(columns):
        entry = comparison.entries[number - 1] if number else None
        left = _MARGIN + number * (_COLUMN + _GAP)
        picture = comparison.original if entry is None else entry.picture
        _text(pen, left, top, "original" if entry is None else entry.title, pictures.INK, 17)
        y = top + _LARGE
        for box in boxes:
            crop = picture.crop(box)
            crop = crop.resize((crop.width * _ZOOM, crop.height * _ZOOM), Image.Resampling.NEAREST)
            page.paste(crop, (left, y))
            y += crop.height + _GAP
        verdicts = comparison.verdicts if entry is None else entry.verdicts
        for text, colour in [*_figures(entry), *_verdicts(verdicts)]:
            _text(pen, left, y, text, colour, 14)
            y += _LINE
    page.paste(overview, (_MARGIN, height - overview.height - _MARGIN))
    return page


def figures(entry: Entry) -> list[str]:
    """Size and metrics of an entry, a line each."""
    size, *others = values(entry)
    return [size, *(f"{title} {value}" for title, value in zip(TITLES, others, strict=True))]


def values(entry: Entry) -> list[str]:
    """Size of an entry, and the values of the metrics in ``TITLES``."""
    similarity = "-" if entry.ssimulacra2 is None else f"{entry.ssimulacra2:.2f}"
    size = f"quality {entry.quality:.4g}: {len(entry.data):,} bytes, {entry.bpp:.3f} bpp"
    return [size, f"{entry.ms_ssim:.4f}", similarity, f"{entry.psnr:.2f} dB"]


def _figures(entry: Entry | None) -> list[tuple[str, str]]:
    lines = figures(entry) if entry is not None else ["", "", "", "as observers see it:"]
    return [(line, pictures.SOFT) for line in lines]


def _verdicts(verdicts: tuple[Verdict, ...]) -> list[tuple[str, str]]:
    return [
        (f"{100 * v.probability:.0f} % {v.label} ({v.observer})", pictures.SAME if v.agrees else pictures.OTHER)
        for v in verdicts
    ]


def _heading(pen: ImageDraw.ImageDraw, comparison: Comparison, name: str, width: int) -> None:
    size = comparison.original.size
    bpp = 8 * comparison.size / (size[0] * size[1])
    _text(pen, _MARGIN, _MARGIN, f"{name}: all codecs at {comparison.size:,} bytes", pictures.INK, 22, width)
    text = f"{size[0]} x {size[1]} pixels, {bpp:.3f} bits a pixel, crops where the codecs differ most, at {_ZOOM}:1"
    _text(pen, _MARGIN, _MARGIN + _LARGE + 6, text, pictures.SOFT, 15, width)


def _overview(original: Image.Image, boxes: list[Box]) -> Image.Image:
    """The whole photograph, reduced, with the crops' places."""
    factor = min(1.0, 2 * _COLUMN / original.width, 1.5 * _COLUMN / original.height)
    size = (max(1, round(original.width * factor)), max(1, round(original.height * factor)))
    small = original.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(small)
    for box in boxes:
        left, top, right, bottom = (round(value * factor) for value in box)
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=_BOX, width=2)
    return small


def _text(
    pen: ImageDraw.ImageDraw, left: int, top: int, text: str, colour: str, size: int, room: float = _COLUMN
) -> None:
    letters = pictures.font(size)
    pen.text((left, top), pictures.fitted(pen, text, letters, room), colour, letters)
