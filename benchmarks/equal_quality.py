"""Rates beside another codec's at equal SSIMULACRA2, picture by picture, from the rows of ``metrics.py``.

    python benchmarks/equal_quality.py docs/results/drawn/metrics.csv --anchor avif

A cell is the geometric mean of the codec's rate divided by the anchor's, over the codec's points whose quality the
anchor reaches, with the codec's best SSIMULACRA2.  The logarithm of the anchor's rate is interpolated over the quality.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import kodak
import metrics
import numpy as np

Point = tuple[float, float]
"""SSIMULACRA2, bits per pixel."""


def read(file: Path) -> dict[str, dict[str, list[Point]]]:
    """Image -> codec -> points."""
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for row in kodak.read_rows(file, metrics.Row):
        found[row.image][row.codec].append((row.ssimulacra2, row.bpp))
    return found


def ratio(points: Sequence[Point], anchor: Sequence[Point]) -> float | None:
    """Geometric mean of a codec's rate divided by the anchor's at equal quality; None where qualities do not meet."""
    quality, rate = (np.array(values) for values in zip(*sorted(anchor), strict=True))
    shared = [(q, r) for q, r in points if quality[0] <= q <= quality[-1]]
    if not shared:
        return None
    logs = [np.log(r) - np.interp(q, quality, np.log(rate)) for q, r in shared]
    return float(np.exp(np.mean(logs)))


def table(images: Mapping[str, Mapping[str, Sequence[Point]]], anchor: str) -> str:
    """Markdown: a row for each image, a column for each codec but the anchor."""
    codecs = sorted({codec for by_codec in images.values() for codec in by_codec} - {anchor})
    lines = [
        f"| | best of `{anchor}` | " + " | ".join(f"`{codec}`" for codec in codecs) + " |",
        "|---" * (len(codecs) + 2) + "|",
    ]
    for image, by_codec in sorted(images.items()):
        cells = [f"{max(by_codec[anchor])[0]:.0f}"]
        for codec in codecs:
            times = ratio(by_codec[codec], by_codec[anchor])
            cells.append(f"{'-' if times is None else f'{times:.2f}'} (best {max(by_codec[codec])[0]:.0f})")
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Rates beside another codec's at equal SSIMULACRA2.")
    parser.add_argument("rows", type=Path, help="metrics.csv of metrics.py")
    parser.add_argument("--anchor", default="avif", help="the codec that others are compared with (default: avif)")
    args = parser.parse_args(arguments)
    if not args.rows.is_file():
        print(f"There is no {args.rows}: make it with metrics.py.", file=sys.stderr)
        return 2
    images = {image: by_codec for image, by_codec in read(args.rows).items() if args.anchor in by_codec}
    if not images:
        print(f"{args.rows} has no rows of {args.anchor}: choose another --anchor.", file=sys.stderr)
        return 2
    print(table(images, args.anchor))
    return 0


if __name__ == "__main__":
    sys.exit(main())
