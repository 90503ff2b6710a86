"""One photograph at equal file size: what two classifiers see in the pictures of `rnn` at alpha 1, JPEG, WebP and BPG.

    python benchmarks/label_kept.py [--photo docs/images/koala.webp] [--quality 1] [--output docs/images/label-kept.jpg]

`rnn` sets the size; each other codec gets its lowest quality whose file is no smaller, so it never has fewer bytes.
Below each picture stand its bytes and the first choice of each classifier, in green if it is that for the original.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from beholder import codecs, observers
from beholder.codecs.base import Codec
from beholder.reading import load

OTHERS = ("jpeg", "webp", "bpg")
CLASSIFIERS = ("efficientnet_lite0", "squeezenet")
TITLES = {"rnn": "rnn, alpha 1", "jpeg": "JPEG", "webp": "WebP", "bpg": "BPG"}
WIDTH = 300
LINE = 19
GREEN, RED = "#17742f", "#b3261e"


def at_least(codec: Codec, image: Image.Image, size: int) -> tuple[int, bytes]:
    """Lowest quality whose file has at least ``size`` bytes, and that file."""
    scale = codec.scale
    qualities = list(range(scale.lowest, scale.highest + 1))
    for quality in qualities if scale.higher_is_better else reversed(qualities):
        data = codec.encode(image, quality)
        if len(data) >= size:
            return quality, data
    raise SystemExit(f"{codec.name} has no file of {size} bytes or more.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photo", type=Path, default=Path("docs/images/koala.webp"))
    parser.add_argument("--quality", type=int, default=1, help="of rnn")
    parser.add_argument("--output", type=Path, default=Path("docs/images/label-kept.jpg"))
    options = parser.parse_args()
    image = load(options.photo).convert("RGB")
    image.info.clear()  # no metadata: bytes are those of pixels
    objectives = [observers.get(name) for name in CLASSIFIERS]
    data = codecs.get("rnn").encode(image, options.quality, alpha=1.0)
    files = {"rnn": (options.quality, data)}
    files |= {name: at_least(codecs.get(name), image, len(data)) for name in OTHERS}

    tiles: list[tuple[Image.Image, list[tuple[str, str]]]] = []
    truth = [objective.classify(image, 1)[0] for objective in objectives]
    seen = [(f"{p.label}  {100 * p.probability:.0f} %", GREEN) for p in truth]
    tiles.append((image, [("original", "black"), ("", "black"), *seen]))
    for name, (quality, file) in files.items():
        decoded = codecs.get(name).decode(file).convert("RGB")
        guesses = [objective.classify(decoded, 1)[0] for objective in objectives]
        bpp = 8 * len(file) / (image.width * image.height)
        lines = [(TITLES[name], "black"), (f"{len(file):,} bytes, {bpp:.3f} bits a pixel", "black")]
        for guess, right in zip(guesses, truth, strict=True):
            text = f"{guess.label}  {100 * guess.probability:.0f} %"
            lines.append((text, GREEN if guess.index == right.index else RED))
        tiles.append((decoded, lines))
        print(f"{TITLES[name]}, quality {quality}: " + "; ".join(text for text, _ in lines[1:]))
    draw_sheet(tiles).save(options.output, quality=90, subsampling=0)
    print(f"Written to {options.output}")


def draw_sheet(tiles: list[tuple[Image.Image, list[tuple[str, str]]]]) -> Image.Image:
    """All pictures side by side, with their lines of text below."""
    height = round(WIDTH * tiles[0][0].height / tiles[0][0].width)
    rows = max(len(lines) for _, lines in tiles)
    sheet = Image.new("RGB", (len(tiles) * (WIDTH + 8) - 8, height + rows * LINE + 10), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, (picture, lines) in enumerate(tiles):
        left = number * (WIDTH + 8)
        sheet.paste(picture.resize((WIDTH, height), Image.Resampling.LANCZOS), (left, 0))
        for row, (text, colour) in enumerate(lines):
            draw.text((left + 2, height + 4 + row * LINE), text, colour, font)
    return sheet


if __name__ == "__main__":
    main()
