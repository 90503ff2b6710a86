"""In which order should a progressive codec refine frequencies, for MS-SSIM?  The evidence behind `layout.py`.

    python scripts/band_order.py --data FOLDER [--most 8]

Takes a plain 16x16 DCT of YCbCr with the codec's initial steps (no network), starts with nothing coded, and repeatedly
codes or refines, by a factor of three, the band of channels that lowers log(1 - MS-SSIM) most for its bits (zero-order
entropy of its codes).  Prints the order with rate and quality after each step.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.model import dct_basis, from_patches, to_patches
from beholder.training.losses import ms_ssim
from beholder.training.photos import validation_set

CHANNELS = 192
LEVELS = 3
BANDS = [(i, i + 8) for i in range(0, 64, 8)] + [(i, i + 16) for i in range(64, CHANNELS, 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--most", type=int, default=8, help="how many of them to use")
    parser.add_argument("--bpp", type=float, default=1.35, help="zero-order rate at which to stop")
    options = parser.parse_args()
    image = torch.from_numpy(validation_set(options.data, most=options.most)).float() / 255
    basis, step, _ = dct_basis(CHANNELS)
    transform = torch.from_numpy(basis)[:, :, None, None]
    latent = F.conv2d(F.pixel_unshuffle(to_patches(image), 2), transform)
    steps = torch.from_numpy(step)[:, None, None]

    def decode(parts: list[Tensor]) -> Tensor:
        return from_patches(F.pixel_shuffle(F.conv2d(torch.cat(parts, 1), transform.transpose(0, 1)), 2)).clamp(0, 1)

    coded: dict[tuple[int, int], tuple[Tensor, float]] = {}
    for band, (lo, hi) in enumerate(BANDS):
        for level in range(LEVELS):
            unit = steps[lo:hi] / 3**level
            codes = torch.round(latent[:, lo:hi] / unit)
            coded[band, level] = (codes * unit, _entropy(codes) / BLOCK**2)
    level_of = [-1] * len(BANDS)
    parts = [torch.zeros_like(latent[:, lo:hi]) for lo, hi in BANDS]
    bpp, loss = 0.0, 1 - float(ms_ssim(decode(parts), image).mean())
    while bpp < options.bpp:
        best: tuple[float, int, int, float, float] | None = None
        for band, level in enumerate(level_of):
            # Jumps too: a level that gains nothing may hide one behind it that gains much.
            for target in range(level + 1, LEVELS):
                cost = coded[band, target][1] - (coded[band, level][1] if level >= 0 else 0.0)
                trial = [*parts[:band], coded[band, target][0], *parts[band + 1 :]]
                new = 1 - float(ms_ssim(decode(trial), image).mean())
                slope = math.log(loss / new) / max(cost, 0.002)
                if best is None or slope > best[0]:
                    best = (slope, band, target, cost, new)
        if best is None:
            break
        _, band, target, cost, loss = best
        level_of[band] = target
        parts[band] = coded[band, level_of[band]][0]
        bpp += cost
        lo, hi = BANDS[band]
        print(f"channels {lo:3d}-{hi:3d} to level {level_of[band]}: {bpp:.3f} bpp, MS-SSIM {1 - loss:.4f}", flush=True)


def _entropy(codes: Tensor) -> float:
    """Zero-order entropy of each channel, summed, in bits a position."""
    total = 0.0
    for channel in codes.unbind(1):
        _, counts = torch.unique(channel, return_counts=True)
        p = counts / counts.sum()
        total -= float((p * p.log2()).sum())
    return total


if __name__ == "__main__":
    main()
