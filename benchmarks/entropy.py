"""Savings of the entropy model of `rnn` at each quality: its files beside the same codes written otherwise.

    python benchmarks/entropy.py --data FOLDER [--limit 24] [--alpha 0]

Raw bits: every channel of an iteration has as many bits for a code as its range in FOLDER asks for, apart for codes
that were 0 before and those that are refined.  Fixed tables: the entropy of the same codes, so what an ideal coder
needs that knows each channel's frequencies in FOLDER, and nothing of neighbours or of the block's activity.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from beholder.codecs.rnn import Rnn, bitstream, encoder
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.reading import load

Group = tuple[int, int, bool]
"""Stage, channel, whether the value was 0 before."""


def count(latents: list[np.ndarray], codec: Rnn, found: dict[Group, Counter[int]]) -> None:
    """Add an image's codes to ``found``."""
    layout = codec.model.layout
    now = np.zeros_like(latents[0])
    for number, stage in enumerate(layout.stages):
        factor = (2 ** np.maximum(layout.refinement(number), 0)).reshape(-1, 1, 1)
        old, new = now[stage.channels], latents[stage.iteration][stage.channels]
        codes = np.where(old == 0, new, new * np.sign(old) - factor * np.abs(old))
        for channel, before, values in zip(stage.channels, old, codes, strict=True):
            for fresh in (True, False):
                kept = values[(before == 0) == fresh]
                found[number, int(channel), fresh].update(kept.tolist())
        now[stage.channels] = new


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of images, such as Kodak's")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--alpha", type=float, default=0.0)
    options = parser.parse_args()
    codec = Rnn()
    written, pixels = np.zeros(ITERATIONS), 0
    found: dict[Group, Counter[int]] = defaultdict(Counter)
    for path in sorted(options.data.iterdir())[: options.limit]:
        image = load(path).convert("RGB")
        segments = bitstream.read(codec.encode(image, ITERATIONS, alpha=options.alpha)).segments
        written += [8 * len(segment) for segment in segments]
        pixels += image.width * image.height
        padding = [(0, -side % BLOCK) for side in (image.height, image.width)]
        padded = np.pad(np.asarray(image), [*padding, (0, 0)], mode="edge").transpose(2, 0, 1)
        count(
            encoder.quantised_latents(codec.model, np.ascontiguousarray(padded), options.alpha, ITERATIONS),
            codec,
            found,
        )
    raw, fixed = np.zeros(ITERATIONS), np.zeros(ITERATIONS)
    for (number, _, _), values in found.items():
        counts = np.array(list(values.values()), float)
        iteration = codec.model.layout.stages[number].iteration
        if len(values):
            raw[iteration] += counts.sum() * np.ceil(np.log2(max(values) - min(values) + 1))
            fixed[iteration] -= (counts * np.log2(counts / counts.sum())).sum()
    print("| quality | raw bits, bpp | fixed tables | segments of the files | saved of raw | of fixed tables |")
    print("|---|---|---|---|---|---|")
    for quality, (r, f, w) in enumerate(zip(raw.cumsum(), fixed.cumsum(), written.cumsum(), strict=True), 1):
        rates = " | ".join(f"{bits / pixels:.3f}" for bits in (r, f, w))
        print(f"| {quality} | {rates} | {100 * (1 - w / r):.0f} % | {100 * (1 - w / f):.0f} % |")


if __name__ == "__main__":
    main()
