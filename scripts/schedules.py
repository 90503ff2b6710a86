"""In which order should a progressive codec refine frequencies, for MS-SSIM?  The evidence behind `layout.py`.

    python scripts/schedules.py --data FOLDER [--most 10]

Takes the fixed transform (lapped DCT, masking by block activity, steps for people; no network) and compares schedules
with a quantiser that is not progressive: one step for all, rounding with a dead zone of 1.24 cells.  Prints, for each
iteration of a schedule, zero-order rate, MS-SSIM and how much more rate that is than the single quantiser's.  The rate
of the activity is left out on both sides: steps and masking cannot be compared by these figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.codecs.rnn.layout import BLOCK, ITERATIONS, LAYOUT, Layout
from beholder.codecs.rnn.torch.human_distortion import ms_ssim
from beholder.codecs.rnn.torch.transform import (
    PATCH,
    Basis,
    BorderFilter,
    block_activity,
    border_filters,
    from_ycc,
    masking,
    to_ycc,
)
from beholder.training.photos import validation_set

CHANNELS = LAYOUT.latent - 1
CENTROID = 0.42
SINGLE_STEPS = (2.4, 1.7, 1.2, 1.0, 0.6, 0.45, 0.33, 0.25, 0.19, 0.15, 0.11, 0.08)
Schedule = list[list[tuple[int, int, int]]]
LATE: Schedule = [[(80, 192, 4)], [(40, 80, 4)], [(0, 40, 4)]]
SCHEDULES: dict[str, Schedule] = {
    "level by level": [
        [(0, 40, 0), (56, 64, 0)],
        [(0, 64, 1)],
        [(0, 192, 2)],
        [(40, 192, 3)],
        [(0, 40, 3)],
        *LATE,
    ],
    "high frequencies two levels at once": [
        [(0, 40, 0), (56, 64, 0)],
        [(0, 40, 1), (40, 80, 2)],
        [(0, 40, 2), (80, 192, 2)],
        [(40, 192, 3)],
        [(0, 40, 3)],
        *LATE,
    ],
    "low frequencies first": [
        [(0, 32, 0)],
        [(0, 32, 1), (32, 64, 1)],
        [(0, 192, 2)],
        [(0, 56, 3)],
        [(56, 192, 3)],
        [(0, 24, 4)],
        [(24, 64, 4)],
        [(64, 192, 4)],
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--most", type=int, default=10, help="how many of them to use")
    options = parser.parse_args()
    coder = Coder(torch.from_numpy(validation_set(options.data, most=options.most)).float() / 255)
    single = [coder.measure(np.full(CHANNELS, 1 / step), 0.38, 0.0) for step in SINGLE_STEPS]
    rates, losses = (np.log([x[i] if i == 0 else 1 - x[i] for x in single]) for i in (0, 1))
    print("single quantiser: ", "  ".join(f"{bpp:.3f} {quality:.4f}" for bpp, quality in single))
    for name, schedule in {**SCHEDULES, "that of layout.py": of_layout(LAYOUT)}.items():
        print(name)
        levels = np.full(CHANNELS, -1)
        for t, ranges in enumerate(schedule):
            for lo, hi, level in ranges:
                levels[lo:hi] = level
            bpp, quality = coder.measure(np.where(levels < 0, 0, 2.0**levels), 0.0, CENTROID)
            more = bpp / np.exp(np.interp(np.log(1 - quality), losses[::-1], rates[::-1])) - 1
            print(f"  {t + 1}: {bpp:.3f} bpp, MS-SSIM {quality:.4f}, {100 * more:+.1f} %", flush=True)


def of_layout(layout: Layout) -> Schedule:
    """A layout's schedule without the activity."""
    return [
        [(lo - 1, hi - 1, level) for i in layout.stages_of(t) for lo, hi, level in layout.stages[i].ranges if lo]
        for t in range(ITERATIONS)
    ]


class Coder:
    """The fixed transform of some photographs, quantised as one likes."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        basis = Basis(CHANNELS)
        self.matrix = torch.from_numpy(basis.matrix)[:, :, None, None]
        before, self.after = (BorderFilter(matrix).requires_grad_(False) for matrix in border_filters())
        patches = F.pixel_unshuffle(before(to_ycc(image)), PATCH)
        latent = F.conv2d(F.pixel_unshuffle(patches, 2), self.matrix)
        masked = masking(block_activity(latent, torch.from_numpy(basis.luma)[:, None, None]))
        self.step = torch.from_numpy(basis.step)[:, None, None] * masked
        self.latent = latent / self.step

    def measure(self, fineness: np.ndarray, offset: float, centroid: float) -> tuple[float, float]:
        """Zero-order bpp and MS-SSIM of ``floor(|y| fineness + offset)``; channels of fineness 0 are not coded."""
        gain = torch.from_numpy(fineness).float()[:, None, None]
        codes = torch.sign(self.latent) * torch.floor(self.latent.abs() * gain + offset)
        values = (codes + centroid * torch.sign(codes)) / torch.where(gain > 0, gain, 1.0)
        patches = F.pixel_shuffle(F.conv2d(values * self.step, self.matrix.transpose(0, 1)), 2)
        decoded = from_ycc(self.after(F.pixel_shuffle(patches, PATCH))).clamp(0, 1)
        return _entropy(codes) / BLOCK**2, float(ms_ssim(decoded, self.image).mean())


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
