"""Decoder of the iterations: codes, hidden state, picture."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK, HUMAN_BELOW
from beholder.codecs.rnn.onnx_model import Model
from beholder.codecs.rnn.steps import Codes, Floats
from beholder.codecs.rnn.tiles import Area, tiles
from beholder.threads import one_blas_thread

Part = tuple[slice, slice, NDArray[np.uint8]]
"""Rows and columns of pixels, and these, (rows, columns, 3)."""


class Reconstruction:
    """The decoder's knowledge after some iterations, and its picture.

    Args:
        model: with the step scale of the file.
        size: rows and columns of blocks.
        alpha: the observer.
        optimised_for: iterations that the latent is optimised for, 0 without.

    Memory is taken when it is first needed.
    """

    def __init__(self, model: Model, size: tuple[int, int], alpha: float, optimised_for: int = 0) -> None:
        self.size = size
        self._model, self._alpha, self._optimised_for = model, alpha, optimised_for

    @functools.cached_property
    def codes(self) -> Codes:
        """(C, H, W) quantised latent; whoever decodes or encodes brings it up to date."""
        return np.zeros((self._model.latent, *self.size), np.int16)

    @functools.cached_property
    def _hidden(self) -> Floats | None:
        return np.zeros((self._model.hidden, *self.size), np.float32) if self._alpha else None

    def prepare(self) -> None:
        """Open the networks in a thread while other work goes on."""
        alpha = self._alpha
        networks = [*(["recurrence"] if alpha else []), "eye" if alpha < HUMAN_BELOW else "synthesis"]
        self._model.prepare(*networks, positions=self.size[0] * self.size[1])

    def advance(self, t: int) -> None:
        """Bring the hidden state up to date, once ``codes`` are those after iteration ``t``."""
        if self._hidden is not None:
            self._model.recur_in_place(functools.partial(self._y_hat, t), self._hidden, self._alpha, t)

    def picture(self, t: int) -> Iterator[Part]:
        """The picture after iteration ``t`` tile by tile: (rows, columns, 3) uint8."""
        latent = functools.partial(self._y_hat, t)
        return self._model.synthesise_tiles(latent, self.size, self._hidden, self._alpha, t, self._optimised_for)

    @property
    def tiles(self) -> int:
        """Number of tiles of the picture."""
        return sum(1 for _ in tiles(*self.size, 0))

    def _y_hat(self, t: int, area: Area) -> Floats:
        return self._model.steps.dequantise(self.codes[:, *area], self._alpha, t, self._optimised_for)


def decode_latent(
    model: Model,
    segments: Sequence[bytes],
    reconstruction: Reconstruction,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Bring a new reconstruction to where the segments of the first iterations end.

    Raises:
        BadFileError: segments are too short or damaged.
    """
    height, width = reconstruction.size
    for t, segment in enumerate(segments):
        model.entropy.check_length(segment, t, height * width)
    reconstruction.prepare()
    codes = reconstruction.codes
    for t, segment in enumerate(segments):
        with one_blas_thread():
            model.entropy.decode(segment, codes, t)
        reconstruction.advance(t)
        progress(2 * (t + 1))


def decode_tiles(
    model: Model,
    segments: Sequence[bytes],
    reconstruction: Reconstruction,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Part]:
    """Decode the segments of the first iterations and yield the picture tile by tile: (rows, columns, 3) uint8.

    Raises:
        BadFileError: segments are too short or damaged; before the first tile.
    """
    done, total = 2 * len(segments), 2 * len(segments) + reconstruction.tiles
    decode_latent(model, segments, reconstruction, lambda over: progress(over, total))
    for part in reconstruction.picture(len(segments) - 1):
        yield part
        progress(done := done + 1, total)


def decode(
    model: Model, segments: Sequence[bytes], height: int, width: int, alpha: float, optimised_for: int = 0
) -> NDArray[np.uint8]:
    """Segments of an image of ``height`` x ``width`` blocks -> (16H, 16W, 3) uint8.

    Raises:
        BadFileError: segments are too short or damaged.
    """
    pixels = np.empty((height * BLOCK, width * BLOCK, 3), np.uint8)
    reconstruction = Reconstruction(model, (height, width), alpha, optimised_for)
    for rows, columns, part in decode_tiles(model, segments, reconstruction):
        pixels[rows, columns] = part
    return pixels
