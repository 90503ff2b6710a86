"""Interfaces of latent optimisation: what it minimises, estimated rate, and how Adam goes about it.

Arrays hold a batch of N pictures, or windows of pictures, of one size: codes (N, C, H, W), H and W in blocks of 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MS_SSIM_LAMBDA = (1.0, 0.95, 1.1, 1.1, 1.3, 0.95, 0.85, 0.78)
"""Lagrange multiplier times the picture's bits per pixel, for MS-SSIM, by the number of iterations."""


class RateEstimate(Protocol):
    """Bits of quantised latents, by predictions of the entropy model that are held fixed."""

    def bits(self, latents: list[Floats]) -> NDArray[np.float64]:
        """Bits of the latents (N, C, H, W) after each iteration, all iterations together: (N,)."""

    def rate_gradient(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        """Finite differences of the bits by each code, (N, C, H, W) for each iteration.

        Args:
            latents: after each iteration, whole numbers.
            direction: 1 or -1, the neighbour that the difference is taken to, (N, C, H, W).

        Returns:
            Bits per unit of each code; 0 where nothing is coded or the code cannot move.
        """


@dataclass(frozen=True)
class OptimiserSchedule:
    """Rounds of Adam and their step sizes.

    Attributes:
        rounds: number of gradient steps.
        rate: largest step of a code in the first round, in quantiser steps; decays linearly to 0.
        refresh: the rate estimate is renewed every so many rounds, and used half as many rounds later.
        human_lambda: Lagrange multiplier times the picture's bits per pixel, for humans, for each number of iterations.
        momentum: Adam's decay rate of the gradient's mean.
        epsilon: Adam's epsilon for humans, in root mean squares of each channel's first gradient.  Where it is 0, the
            first rounds move every code equally far, whatever its gradient.
        softness: width of the soft rounding's step in the first and in the last round.
        settling: before each of so many last rounds, half of the codes that lie between whole numbers are rounded for
            good, and the others make up for it.
        guarded: whether the start is kept where the result is no better; costs two distortions.
    """

    rounds: int
    rate: float
    refresh: int = 1
    human_lambda: tuple[float, ...] = MS_SSIM_LAMBDA
    momentum: float = 0.8
    epsilon: float = 0.0
    softness: tuple[float, float] = (0.3, 0.02)
    settling: int = 0
    guarded: bool = True


class Objective(Protocol):
    """Distortion and rate of the codes of a batch, for one observer and one number of iterations.

    Latents are whole numbers held as float32, (N, C, H, W) after each iteration.
    """

    def rate_estimate(self, latents: list[Floats]) -> RateEstimate:
        """Estimate that is exact for ``latents``, (N, C, H, W) each, and close for similar ones."""

    def distortion(self, latents: list[Floats]) -> NDArray[np.float64]:
        """d(alpha) of the pictures decoded from the last of ``latents``, (N,)."""

    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        """Gradient of d(alpha) by ``soft``, the differentiable stand-in for the last of ``latents``: (N, C, H, W)."""


class SinglePictureRate:
    """Rate estimate of a batch of one, from the entropy model's estimate for (C, H, W).

    Args:
        estimate: of :meth:`beholder.codecs.rnn.entropy.coder.EntropyModel.rate_estimate`.
    """

    def __init__(self, estimate: _SingleRate) -> None:
        self.estimate = estimate

    def bits(self, latents: list[Floats]) -> NDArray[np.float64]:
        return np.array([self.estimate.bits([latent[0] for latent in latents])])

    def rate_gradient(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        gradients = self.estimate.rate_gradient([latent[0] for latent in latents], direction[0])
        return [gradient[None] for gradient in gradients]


class _SingleRate(Protocol):
    def bits(self, latents: list[Floats]) -> float:
        """As :meth:`RateEstimate.bits`, of latents (C, H, W)."""

    def rate_gradient(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        """As :meth:`RateEstimate.rate_gradient`, of latents (C, H, W)."""
