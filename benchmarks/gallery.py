"""Crops of a photograph at equal file size: `rnn` for people and for a machine, JPEG, WebP, BPG.

    python benchmarks/gallery.py [--bpp 0.25] [--output docs/images/gallery.jpg]
    python benchmarks/gallery.py --human --bpp 0.24 --output docs/images/human-distances.jpg

Takes the sample photographs that ship.  Every codec's quality is the one whose file comes nearest to the rate from
below (the smallest file if none does); sizes are those of whole files.  ``--human`` shows quality 2 of ``rnn`` with
effort 1 by what it minimises, beside BPG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kodak import open_codec
from PIL import Image, ImageDraw, ImageFont

from beholder import samples
from beholder.codecs.base import Codec
from beholder.metrics import ms_ssim
from beholder.reading import load

HUMAN = (
    ("rnn effort 1 ms-ssim", 0.0),
    ("rnn effort 1 blend", 0.0),
    ("rnn effort 1 ssimulacra2", 0.0),
    ("rnn effort 1 psnr", 0.0),
    ("bpg", 0.0),
)
HUMAN_QUALITY = 2
CONTESTANTS = (("rnn", 0.0), ("rnn", 1.0), ("jpeg", 0.0), ("webp", 0.0), ("bpg", 0.0))
CROPS = {"coffee": (150, 90, 390, 290), "chelsea": (90, 40, 330, 240)}
"""Sample -> left, top, right, bottom."""
LINE = 18


def choose(codec: Codec, image: Image.Image, alpha: float, size: int) -> tuple[int, bytes]:
    """Quality and file that come nearest to ``size`` bytes from below."""
    scale = codec.scale
    qualities = range(scale.lowest, scale.highest + 1)
    if getattr(codec, "effort", 0):
        return HUMAN_QUALITY, codec.encode(image, HUMAN_QUALITY, alpha=alpha)
    if codec.name == "rnn":
        files = dict(zip(qualities, codec.encode_many(image, list(qualities), alpha=alpha), strict=True))
    else:
        step = max(1, len(qualities) // 50)
        files = {quality: codec.encode(image, quality, alpha=alpha) for quality in qualities[::step]}
    fitting = {quality: data for quality, data in files.items() if len(data) <= size}
    if not fitting:
        return min(files.items(), key=lambda item: len(item[1]))
    return max(fitting.items(), key=lambda item: len(item[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bpp", type=float, default=0.25)
    parser.add_argument("--output", type=Path, default=Path("docs/images/gallery.jpg"))
    parser.add_argument("--human", action="store_true", help="what effort 1 minimises, beside BPG")
    options = parser.parse_args()
    font = ImageFont.load_default(13)
    rows = []
    for name, box in CROPS.items():
        image = load(samples.path(name)).convert("RGB")
        tiles = [(f"{name}, original", image.crop(box))]
        for codec_name, alpha in HUMAN if options.human else CONTESTANTS:
            codec = open_codec(codec_name)
            size = int(options.bpp * image.width * image.height / 8)
            quality, data = choose(codec, image, alpha, size)
            decoded = codec.decode(data)
            title = f"{codec_name} {quality}" + (
                f", alpha {alpha:g}" if codec.takes_alpha and not options.human else ""
            )
            bpp = 8 * len(data) / (image.width * image.height)
            title += f": {bpp:.3f} bpp, MS-SSIM {ms_ssim(image, decoded):.3f}"
            print(f"{name}: {title}")
            tiles.append((title, decoded.convert("RGB").crop(box)))
        rows.append(tiles)
    width, height = rows[0][0][1].size
    scale = 1.5
    width, height = round(width * scale), round(height * scale)
    sheet = Image.new("RGB", (3 * width + 8, 2 * len(rows) * (height + LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, tiles in enumerate(rows):
        for number, (title, tile) in enumerate(tiles):
            left, top = (number % 3) * (width + 4), (2 * row + number // 3) * (height + LINE)
            draw.text((left + 2, top + 1), title, "black", font)
            sheet.paste(tile.resize((width, height), Image.Resampling.LANCZOS), (left, top + LINE))
    sheet.save(options.output, quality=72 if options.human else 90, optimize=True)
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
