"""Distortions for human observers, which ``--human`` chooses from: how far a decoded picture is from its original."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion
from beholder.codecs.rnn.optimise.objective import MS_SSIM_LAMBDA
from beholder.codecs.rnn.optimise.sparse_ms_ssim import SparseMsSsim
from beholder.codecs.rnn.optimise.ssimulacra2 import Ssimulacra2Distortion
from beholder.codecs.rnn.optimise.xyb import add_by_light, halved_light
from beholder.threads import threads

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

BLEND_WEIGHT = 0.2
"""SSIMULACRA2's weight in the blend.  On photographs the blend gains most of what SSIMULACRA2 alone gains, and MS-SSIM
loses half a per cent of rate (docs/log/2026-11-27-human-distances.md)."""
BLEND_STEP_WEIGHT = 0.3
"""SSIMULACRA2's weight in the gradient that the learned step sees."""
LEAST_MSE = 0.05
"""Added to the mean squared error, so that the distortion of equal pictures is finite."""


class Distortion(Protocol):
    """Distance of pictures from one original; pictures are (3, H, W) uint8."""

    def distortion(self, decoded: Pixels) -> float:
        """Logarithm of what a metric lacks of its best value, for a (3, H, W) picture."""

    def gradient(self, decoded: Pixels) -> Floats:
        """Gradient of :meth:`distortion` by each value, whose range is 0 to 255: (3, H, W)."""


class MseDistortion:
    """log(mean squared error) of pictures beside one original.

    Args:
        original: (3, H, W) uint8.
    """

    def __init__(self, original: Pixels) -> None:
        self.original = original.astype(np.float32)

    def distortion(self, decoded: Pixels) -> float:
        return math.log(self._error(decoded)[1])

    def gradient(self, decoded: Pixels) -> Floats:
        difference, error = self._error(decoded)
        difference *= np.float32(2 / (error * difference.size))
        return difference

    def _error(self, decoded: Pixels) -> tuple[Floats, float]:
        difference = decoded - self.original
        return difference, float(np.square(difference).mean(dtype=np.float64)) + LEAST_MSE


class BlendDistortion:
    """Weighted mean of the distortions of MS-SSIM and SSIMULACRA2.

    Args:
        original: (3, H, W) uint8.
        weight: of SSIMULACRA2, 0 to 1.
        keep: keep the original's statistics, some 100 bytes a pixel: for a picture that is compared many times.  For
            one comparison MS-SSIM is that of sparse windows.
        finest: compare SSIMULACRA2's finest scale too.
    """

    def __init__(self, original: Pixels, weight: float = BLEND_WEIGHT, keep: bool = True, finest: bool = True) -> None:
        self._makers: list[tuple[float, Callable[[], Distortion]]] = [
            (1 - weight, functools.partial(MsSsimDistortion if keep else SparseMsSsim, original)),
            (weight, functools.partial(Ssimulacra2Distortion, original)),
        ]
        self._kept = [(fraction, make()) for fraction, make in self._makers] if keep else None

    def distortion(self, decoded: Pixels) -> float:
        return sum(fraction * part.distortion(decoded) for fraction, part in self._parts())

    def gradient(self, decoded: Pixels) -> Floats:
        if self._kept is None or threads() == 1:  # both at once would take more memory
            return _weighted((fraction, part.gradient(decoded)) for fraction, part in self._parts())
        # Neither alone has parts of equal size for all processors. Not in the pool that both share: it could fill up.
        with ThreadPoolExecutor(len(self._kept)) as pool:
            gradients = pool.map(lambda kept: kept[1].gradient(decoded), self._kept)
            return _weighted((fraction, by) for (fraction, _), by in zip(self._kept, gradients, strict=True))

    def _parts(self) -> Iterator[tuple[float, Distortion]]:
        if self._kept is None:
            yield from ((fraction, make()) for fraction, make in self._makers)
        else:
            yield from self._kept


class LargeBlend:
    """As :class:`BlendDistortion`, for a large picture that is compared once.

    SSIMULACRA2 begins at half the picture's size.

    Args:
        original: (3, H, W) uint8, both sides even and no shorter than 16 pixels.
        weight: of SSIMULACRA2, 0 to 1.
    """

    def __init__(self, original: Pixels, weight: float = BLEND_WEIGHT) -> None:
        self._ms_ssim, self._weight = SparseMsSsim(original), weight
        self._ssimulacra2 = Ssimulacra2Distortion(halved_light(original))

    def distortion(self, decoded: Pixels) -> float:
        parts = self._ms_ssim.distortion(decoded), self._ssimulacra2.distortion(halved_light(decoded))
        return (1 - self._weight) * parts[0] + self._weight * parts[1]

    def gradient(self, decoded: Pixels) -> Floats:
        result = self._ms_ssim.gradient(decoded)
        result *= np.float32(1 - self._weight)
        by_light = self._ssimulacra2.gradient(halved_light(decoded))
        by_light *= np.float32(self._weight)
        add_by_light(result, by_light, decoded)
        return result


def _weighted(gradients: Iterable[tuple[float, Floats]]) -> Floats:
    result: Floats | None = None
    for fraction, gradient in gradients:
        gradient *= np.float32(fraction)
        result = gradient if result is None else result + gradient
    assert result is not None
    return result


@dataclass(frozen=True)
class StepDistortion:
    """Distortion whose gradient the learned step sees at effort 0.

    Attributes:
        make: the distortion of a picture (3, h, w) uint8.
        scale: factor on the gradient, which makes it as large as the one of MS-SSIM that the network learned with.
    """

    make: Callable[[Pixels], Distortion]
    scale: float = 1.0


MS_SSIM_STEP = StepDistortion(SparseMsSsim)
LARGE = 1 << 14
"""Blocks of a picture, 4 megapixels, from which the learned step sees a gradient that takes less time."""
BLEND_STEP = StepDistortion(functools.partial(BlendDistortion, weight=BLEND_STEP_WEIGHT, keep=False), 1.2)
LARGE_BLEND_STEP = StepDistortion(functools.partial(LargeBlend, weight=0.25), 1.1)
"""One that costs .3 % of rate and saves an eighth of the time (docs/log/2026-11-28-large-gradient.md)."""


@dataclass(frozen=True)
class HumanDistance:
    """Settings of the encoder at alpha 0: what it minimises, and from which codes latent optimisation begins.

    Attributes:
        make: the distortion of a picture (3, H, W) uint8.
        lambdas: Lagrange multiplier times the picture's bits per pixel, for each number of iterations.
        step: what the learned step serves at effort 0; with more effort it serves MS-SSIM.
        large_step: the same for pictures of ``LARGE`` blocks and more; None for ``step``.
        learned_step: whether the optimised codes begin where the learned step, which serves MS-SSIM, leaves them.
        activity: factor on the differences of the blocks' activity from their mean.  Quantiser steps grow with the
            activity, which serves metrics that compare contrasts; 1 keeps it.
    """

    make: Callable[[Pixels], Distortion]
    lambdas: tuple[float, ...]
    step: StepDistortion
    learned_step: bool = True
    activity: float = 1.0
    large_step: StepDistortion | None = None

    def step_for(self, blocks: int) -> StepDistortion:
        """The distortion that the learned step serves in a picture of so many blocks, at effort 0."""
        return self.large_step if self.large_step is not None and blocks >= LARGE else self.step


DEFAULT = "blend"
"""SSIMULACRA2 gains 9 to 17 points of rate by it, MS-SSIM loses one (docs/log/2026-11-27-human-distances.md)."""
HUMAN_DISTANCES = {
    "ms-ssim": HumanDistance(MsSsimDistortion, MS_SSIM_LAMBDA, MS_SSIM_STEP),
    "ssimulacra2": HumanDistance(
        Ssimulacra2Distortion,
        (0.5, 0.45, 0.4, 0.45, 0.55, 0.55, 0.5, 0.5),
        # SSIMULACRA2 alone gains no more by itself, and loses 8 points by MS-SSIM.
        StepDistortion(functools.partial(BlendDistortion, weight=0.6, keep=False), 1.5),
    ),
    "psnr": HumanDistance(
        MseDistortion, (0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), BLEND_STEP, learned_step=False, activity=0.5
    ),
    "blend": HumanDistance(
        BlendDistortion, (0.9, 0.85, 0.96, 0.97, 1.15, 0.87, 0.78, 0.72), BLEND_STEP, large_step=LARGE_BLEND_STEP
    ),
}
"""By the name that ``--human`` takes."""
