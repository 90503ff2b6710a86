"""Quantise and dequantise with NumPy: an embedded dead-zone quantiser whose steps depend on the observer.

All methods take ``optimised_for``: the number of iterations that latent optimisation served, 0 for files without it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import CODE_LIMIT, ITERATIONS, LEVELS, STEP_SCALES, Layout, scaled_channels

Floats = NDArray[np.float32]
Ints = NDArray[Any]
Codes = NDArray[np.int16]


class Steps:
    """Quantiser steps and reconstruction offsets of a trained model.

    Args:
        arrays: of ``entropy.npz``; those of steps are (rows, C), of offsets (2, iterations, C).
        layout: the levels of each iteration.

    Raises:
        KeyError: an array is missing.
        ValueError: the arrays have another number of channels than the layout.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], layout: Layout) -> None:
        self.layout = layout
        self.log_ratio: Floats = arrays["log_ratio"].astype(np.float32)
        """(2, C): natural logarithm of how much finer the steps of human and machine are than the layout's."""
        self.optimised_ratio: Floats = arrays["searched_ratio"].astype(np.float32)
        """(iterations, C): the same for the human in optimised files, by the iterations they are optimised for."""
        self.centroid: Floats = arrays["centroid"]
        self.optimised: Floats = arrays["searched"]
        shapes = [(self.log_ratio, 2), (self.optimised_ratio, ITERATIONS)]
        if any(ratio.shape != (count, layout.latent) for ratio, count in shapes):
            raise ValueError("its steps are not those of its channels")

    def scaled(self, step_scale: int) -> Self:
        """Steps times 2^(step_scale / STEP_SCALES), but for the low-frequency channels."""
        result = copy.copy(self)
        finer = np.where(scaled_channels(self.layout.latent), -step_scale / STEP_SCALES * np.log(2), 0)
        result.log_ratio = self.log_ratio + finer.astype(np.float32)
        result.optimised_ratio = self.optimised_ratio + finer.astype(np.float32)
        return result

    def gain(self, alpha: float, t: int, optimised_for: int = 0) -> Floats:
        """1 / quantiser step of every channel after iteration ``t``, (C, 1, 1); 0 where nothing has been coded."""
        human, machine = self.log_ratio
        if optimised_for:
            human = self.optimised_ratio[optimised_for - 1]
        ratio = np.exp(human + np.float32(alpha) * (machine - human))
        levels = self.layout.levels(t)
        return np.where(levels < 0, 0, ratio * np.exp2(levels)).astype(np.float32)[:, None, None]

    def quantise(self, latent: Floats, alpha: float, t: int, optimised_for: int = 0) -> Codes:
        """Latent (C, H, W) -> integers of iteration ``t``, rounded towards 0: finer levels split cells of coarser ones.

        Args:
            latent: of the analysis, any range.
            alpha: 0 to 1.
            t: 0-based iteration.
            optimised_for: the number of iterations that the file is optimised for, 0 without.
        """
        # Clipped alike on every level, or levels would not nest.  No image comes near half of what the finest level
        # holds, and the other half is for steps finer than the layout's.
        most = np.float32(CODE_LIMIT >> LEVELS)
        scaled = np.clip(latent, -most, most) * self.gain(alpha, t, optimised_for)
        return np.clip(scaled, -CODE_LIMIT, CODE_LIMIT).astype(np.int16)

    def dequantise(self, q: Ints | Floats, alpha: float, t: int, optimised_for: int = 0) -> Floats:
        """Integers -> y_hat, the centroids of their cells, (C, H, W); linear between whole numbers."""
        codes = q.astype(np.float32)
        sign = np.clip(codes, -1, 1)
        offset, extra = self._offsets(alpha, t, optimised_for > 0)
        values = codes + offset * sign
        if optimised_for:
            values += extra * np.clip(codes - sign, -1, 1)
        result: Floats = values * self._step(alpha, t, optimised_for)
        return result

    def dequantise_gradient(self, q: Floats, alpha: float, t: int, optimised_for: int) -> Floats:
        """Derivative of :meth:`dequantise` by each of ``q``, (C, H, W), in an optimised file."""
        offset, extra = self._offsets(alpha, t, optimised=True)
        size = np.abs(q)
        slope = 1 + offset * (size <= 1) + extra * ((size > 1) & (size <= 2))
        result: Floats = slope * self._step(alpha, t, optimised_for)
        return result

    def _offsets(self, alpha: float, t: int, optimised: bool) -> tuple[Floats, Floats]:
        """Reconstruction offsets for abs(q) = 1, and the extra offset for abs(q) > 1."""
        human, machine = self.centroid[:, t, :, None, None]
        extra: Floats = np.zeros_like(human)
        if optimised:
            human, extra = self.optimised[:, t, :, None, None]
        offset: Floats = human + np.float32(alpha) * (machine - human)
        return offset, extra * np.float32(1 - alpha)

    def _step(self, alpha: float, t: int, optimised_for: int) -> Floats:
        gain = self.gain(alpha, t, optimised_for)
        return np.reciprocal(np.where(gain > 0, gain, np.float32(1)))
