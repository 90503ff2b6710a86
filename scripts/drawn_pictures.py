"""Draw the five pictures that are no photographs: text, a screenshot, a plot, a drawing and a diagram.

    python scripts/drawn_pictures.py --output DRAWN
    python benchmarks/metrics.py --data DRAWN --codecs "rnn,avif,webp,jpeg" --output docs/results/drawn

640x480 PNG files, the same ones each time with one version of Pillow and Matplotlib.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = (640, 480)
FINER = 4
"""Shapes are drawn this many times as large, and shrunk: smooth edges."""
SENTENCE = (
    "light falls through a window and the pixels of a camera count it each one tells how much came and nothing of what "
    "it meant a file keeps what an observer needs and lets the rest go people look for edges and faces machines for "
    "whatever told one class from another when they learned quality lies in the eye of the beholder"
)


def text() -> Image.Image:
    """A page of black letters of four sizes on white."""
    page = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(page)
    chance = random.Random(0)
    y = 16
    draw.text((24, y), "On what a picture is for", font=ImageFont.load_default(28), fill="black")
    y += 48
    for size, lines in ((18, 5), (14, 8), (11, 10)):
        for _ in range(lines):
            line = " ".join(chance.choice(SENTENCE.split()) for _ in range(1100 // size // 6 * 2))
            draw.text((24, y), line[: 1150 // size], font=ImageFont.load_default(size), fill="black")
            y += round(1.35 * size)
        y += 8
    return page


def screenshot() -> Image.Image:
    """A window with a title bar, buttons, a list and fields."""
    screen = Image.new("RGB", SIZE, (58, 110, 165))
    draw = ImageDraw.Draw(screen)
    small, usual = ImageFont.load_default(11), ImageFont.load_default(13)
    draw.rectangle((40, 30, 600, 450), fill=(240, 240, 240), outline=(90, 90, 90))
    draw.rectangle((41, 31, 599, 55), fill=(43, 87, 154))
    draw.text((50, 36), "photos - 1,204 items", font=usual, fill="white")
    for number, colour in enumerate(((232, 80, 70), (240, 190, 60), (90, 190, 90))):
        draw.ellipse((538 + 20 * number, 37, 550 + 20 * number, 49), fill=colour)
    for number, name in enumerate(("File", "Edit", "View", "Tools", "Help")):
        draw.text((52 + 48 * number, 61), name, font=usual, fill="black")
    draw.rectangle((52, 84, 588, 402), fill="white", outline=(160, 160, 160))
    for row in range(15):
        top = 88 + 21 * row
        if row == 3:
            draw.rectangle((53, top - 2, 587, top + 17), fill=(204, 228, 247))
        draw.rectangle((58, top, 72, top + 14), fill=((90, 140, 200), (200, 150, 80), (120, 180, 120))[row % 3])
        cells = (f"IMG_{4711 + 13 * row}.jpg", f"2026-0{1 + row % 9}-1{row % 10}", f"{2.1 + 0.37 * row:.2f} MB")
        for x, cell in zip((82, 280, 450), cells, strict=True):
            draw.text((x, top), cell, font=small, fill="black")
    for number, name in enumerate(("Compress", "Cancel")):
        draw.rounded_rectangle((390 + 100 * number, 412, 480 + 100 * number, 438), 4, fill="white", outline=(120,) * 3)
        draw.text((405 + 100 * number, 417), name, font=usual, fill="black")
    return screen


def plot() -> Image.Image:
    """Three curves with axes, a grid and a legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100)
    axes = figure.subplots()
    xs = [x / 20 for x in range(201)]
    for name, phase, style in (("first", 0.0, "-"), ("second", 0.8, "--"), ("third", 1.9, ":")):
        axes.plot(
            xs, [math.exp(-x / 6) * math.sin(2 * x + phase) for x in xs], style, label=name, marker="o", markevery=20
        )
    axes.grid(alpha=0.4)
    axes.set(xlabel="time (s)", ylabel="deflection (mm)", title="Three damped springs")
    axes.legend()
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def drawing() -> Image.Image:
    """Flat shapes with outlines: a house, a tree, hills and a sun."""
    large = Image.new("RGB", tuple(FINER * side for side in SIZE), (166, 216, 240))  # type: ignore[arg-type]
    draw = ImageDraw.Draw(large)

    def at(*points: float) -> list[float]:
        return [FINER * point for point in points]

    width = 3 * FINER
    draw.ellipse(at(500, 40, 580, 120), fill=(255, 214, 84), outline="black", width=width)
    draw.ellipse(at(-160, 280, 420, 760), fill=(122, 190, 96), outline="black", width=width)
    draw.ellipse(at(240, 320, 900, 860), fill=(92, 164, 80), outline="black", width=width)
    draw.rectangle(at(150, 220, 310, 360), fill=(230, 120, 90), outline="black", width=width)
    draw.polygon(at(130, 220, 330, 220, 230, 130), fill=(120, 60, 60), outline="black", width=width)
    draw.rectangle(at(210, 290, 250, 360), fill=(110, 80, 60), outline="black", width=width)
    for left in (165, 265):
        draw.rectangle(at(left, 245, left + 32, 275), fill=(250, 250, 210), outline="black", width=width)
    draw.rectangle(at(445, 270, 465, 370), fill=(120, 84, 52), outline="black", width=width)
    for x, y in ((420, 210), (470, 190), (450, 240), (410, 250), (490, 235)):
        draw.ellipse(at(x - 38, y - 34, x + 38, y + 34), fill=(60, 130, 66), outline="black", width=width)
    return large.resize(SIZE, Image.Resampling.LANCZOS)


def diagram() -> Image.Image:
    """Boxes with words and arrows between them, and a gradient behind."""
    large = Image.linear_gradient("L").resize((FINER * SIZE[0], FINER * SIZE[1]))
    large = Image.merge(
        "RGB", (large.point(lambda v: 220 + v // 8), large.point(lambda v: 230 + v // 12), large.point(lambda v: 255))
    )
    draw = ImageDraw.Draw(large)
    font = ImageFont.load_default(18 * FINER)
    boxes = {"image": (40, 60), "codec": (260, 60), "bytes": (480, 60), "observer": (260, 330), "result": (480, 330)}
    for number, (name, (x, y)) in enumerate(boxes.items()):
        fill = ((255, 236, 200), (210, 236, 210), (236, 214, 240), (255, 214, 214), (214, 228, 255))[number]
        corners = [FINER * v for v in (x, y, x + 120, y + 70)]
        draw.rounded_rectangle(corners, 10 * FINER, fill=fill, outline=(60, 60, 60), width=2 * FINER)
        draw.text((FINER * (x + 60), FINER * (y + 35)), name, font=font, fill="black", anchor="mm")
    for a, b, c, d in ((160, 95, 260, 95), (380, 95, 480, 95), (540, 130, 320, 330), (380, 365, 480, 365)):
        draw.line([FINER * v for v in (a, b, c, d)], fill=(60, 60, 60), width=3 * FINER)
        angle = math.atan2(d - b, c - a)
        tips = [(c - 14 * math.cos(angle + turn), d - 14 * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
        draw.polygon([FINER * v for v in (c, d, *tips[0], *tips[1])], fill=(60, 60, 60))
    return large.resize(SIZE, Image.Resampling.LANCZOS)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    function.__name__: function for function in (text, screenshot, plot, drawing, diagram)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw().save(options.output / f"{name}.png")
    print(f"{len(PICTURES)} pictures lie in {options.output}.")


if __name__ == "__main__":
    main()
