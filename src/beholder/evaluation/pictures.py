"""Labelled side-by-side pictures: the original beside what codecs left of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from beholder import codecs
from beholder.evaluation.one_image import Evaluation
from beholder.observers import Prediction
from beholder.pictures.colour import to_srgb
from beholder.pictures.modes import flatten

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER = "#ffffff"
MAT = "#f1f1ee"
INK = "#1d1d1f"
SOFT = "#6e6e73"
RULE = "#dcdcd8"
SAME = "#2a7d5f"
OTHER = "#c2410c"
LARGEST = 1200
"""Longest side of a picture as it is shown; larger ones are reduced."""
SMALLEST = 320
"""Width of a panel at least, so that captions fit; tiny pictures are magnified by whole numbers."""


@dataclass(frozen=True)
class Panel:
    """One picture with its caption."""

    image: Image.Image
    title: str
    aside: str = ""
    """At the right of the title."""
    facts: str = ""
    prediction: Prediction | None = None
    agrees: bool = True
    """Whether the prediction is that of the original; if not, a cross stands before it, for people who miss colours."""


def original_panel(evaluation: Evaluation) -> Panel:
    """The panel of what was compressed."""
    size = f"{evaluation.width} x {evaluation.height} pixels"
    return Panel(
        evaluation.original,
        "Original",
        aside=size,
        facts=f"as {evaluation.classifier} sees it:",
        prediction=_first(evaluation.predictions_original),
    )


def result_panel(evaluation: Evaluation) -> Panel:
    """The panel of what a codec left."""
    first = _first(evaluation.predictions_compressed)
    expected = _first(evaluation.predictions_original)
    return Panel(
        evaluation.decompressed,
        describe_codec(evaluation),
        aside=f"{evaluation.bpp:.3f} bpp",
        facts=f"MS-SSIM {evaluation.ms_ssim:.4f}  \u00b7  PSNR {evaluation.psnr:.2f} dB  \u00b7  "
        f"{evaluation.bytes:,} bytes",
        prediction=first,
        agrees=first is None or expected is None or first.index == expected.index,
    )


def describe_codec(evaluation: Evaluation) -> str:
    """Codec, quality and, where there is one, alpha: ``rnn, quality 4, alpha 0``."""
    codec = codecs.get(evaluation.codec)
    scale = "quality" if codec.scale.higher_is_better else codec.scale.unit
    text = f"{codec.name}, {scale} {evaluation.quality:.4g}"
    return f"{text}, alpha {evaluation.alpha:g}" if codec.takes_alpha else text


def comparison(evaluations: Sequence[Evaluation], columns: int | None = None) -> Image.Image:
    """The original and the results of one or more codecs on it, in a grid of ``columns``: an RGB picture."""
    return side_by_side([original_panel(evaluations[0]), *map(result_panel, evaluations)], columns)


def side_by_side(panels: Sequence[Panel], columns: int | None = None) -> Image.Image:
    """Lay out ``panels`` row by row on white; up to three side by side unless ``columns`` says otherwise.

    Pictures are shown pixel by pixel where they are between 320 and 1200 pixels wide.

    Returns:
        An RGB picture.
    """
    shown = [_shown(panel.image) for panel in panels]
    columns = columns or (len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3)
    rows = -(-len(panels) // columns)
    width = max(SMALLEST, *(image.width for image in shown))
    height = max(image.height for image in shown)
    unit = min(max(width / 450, 0.8), 2.4)
    margin, gap, caption = round(28 * unit), round(24 * unit), round(92 * unit)
    page = Image.new(
        "RGB",
        (
            2 * margin + columns * width + (columns - 1) * gap,
            2 * margin + rows * (height + caption) + (rows - 1) * gap,
        ),
        PAPER,
    )
    for number, (panel, image) in enumerate(zip(panels, shown, strict=True)):
        left = margin + number % columns * (width + gap)
        top = margin + number // columns * (height + caption + gap)
        if image.size != (width, height):
            page.paste(MAT, (left, top, left + width, top + height))
        page.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
        _caption(ImageDraw.Draw(page), panel, left, top + height, width, unit)
    return page


def to_png(image: Image.Image) -> bytes:
    """The bytes of a PNG file of an image (L, LA, RGB or RGBA)."""
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _caption(draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int, width: int, unit: float) -> None:
    right = left + width
    large, small = font(20 * unit), font(14.5 * unit)
    y = top + round(31 * unit)
    aside = plain(panel.aside)
    room = width - draw.textlength(aside, large) - 12 * unit
    draw.text((right, y), aside, SOFT, large, anchor="rs")
    draw.text((left, y), fitted(draw, panel.title, large, room), INK, large, anchor="ls")
    draw.text((left, y + round(24 * unit)), fitted(draw, panel.facts, small, width), SOFT, small, anchor="ls")
    if panel.prediction is None:
        return
    colour = SAME if panel.agrees else OTHER
    y += round(48 * unit)
    probability = f"{100 * panel.prediction.probability:.1f} %"
    start = left if panel.agrees else left + round(16 * unit)
    if not panel.agrees:
        side, base, stroke = round(9 * unit), y - round(0.5 * unit), max(2, round(1.6 * unit))
        draw.line((left, base - side, left + side, base), colour, stroke)
        draw.line((left, base, left + side, base - side), colour, stroke)
    room = right - start - draw.textlength(probability, small) - 12 * unit
    draw.text((start, y), fitted(draw, panel.prediction.label, small, room), colour, small, anchor="ls")
    draw.text((right, y), probability, colour, small, anchor="rs")
    bar = y + round(8 * unit), y + round(8 * unit) + max(2, round(3 * unit)) - 1
    draw.rectangle((left, bar[0], right - 1, bar[1]), RULE)
    filled = round(panel.prediction.probability * width)
    if filled:
        draw.rectangle((left, bar[0], left + filled - 1, bar[1]), colour)


def _shown(image: Image.Image) -> Image.Image:
    image = to_srgb(flatten(image)).convert("RGB")
    longest = max(image.size)
    if longest > LARGEST:
        size = (max(1, round(side * LARGEST / longest)) for side in image.size)
        width, height = size
        return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    factor = max(1, SMALLEST // longest)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _first(predictions: Sequence[Prediction]) -> Prediction | None:
    return predictions[0] if predictions else None


def font(size: float) -> Font:
    """Pillow's own font, of ``size`` pixels."""
    return ImageFont.load_default(round(size))


def plain(text: str) -> str:
    """``text`` in the letters that Pillow's own font has: ASCII and the middle dot."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(c for c in letters if c == "\u00b7" or c.isascii())


def fitted(draw: ImageDraw.ImageDraw, text: str, letters: Font, room: float) -> str:
    """As much of ``text`` as ``room`` pixels hold, in the letters of :func:`plain`."""
    text = plain(text)
    if draw.textlength(text, letters) <= room:
        return text
    while text and draw.textlength(text + "...", letters) > room:
        text = text[:-1]
    return text.rstrip() + "..."
