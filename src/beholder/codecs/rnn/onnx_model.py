"""A trained codec without torch: ONNX graphs in tiles, and the integer entropy model.

A model is a folder.  C is 193 latent channels, K 96 of the hidden state, H and W count blocks of 16 pixels:

    analysis.onnx     image (1, 3, 16H, 16W) uint8, alpha (1,)                              -> latent (1, C, H, W)
    recurrence.onnx   belief (1, C, H, W), memory (1, K, H, W), alpha, t (1,)               -> memory
    synthesis.onnx    belief, memory, alpha, t, row (1,)                                    -> (1, 3, 16H, 16W) uint8
    eye.onnx          belief, row: the picture for alpha 0                                  -> (1, 3, 16H, 16W) uint8
    eye_slopes.onnx   as eye.onnx, and the derivatives of its activations
    eye_adjoint.onnx  vector-Jacobian product: gradient (1, 3, 16H, 16W), belief, row, derivatives  -> (1, C, H, W)
    synthesis_slopes.onnx   as synthesis.onnx, where its weights lie, and the derivatives of its activations
    synthesis_adjoint.onnx  vector-Jacobian product: gradient, belief, alpha, row, derivatives -> (1, C, H, W)
    linear.npz        for the encoder: the human's linear reconstruction of y_hat alone (linear.py)
    step.onnx         the encoder's learned step: begun, place, gradient (1, C, H, W), t -> codes (1, C, H, W)
    eye.weights       weights that the graphs of the human's synthesis share
    entropy.npz       integer weights and probability tables (entropy/), quantiser steps, layout
    model.json        identity, sizes, settings of the training; the program does not decide by them

The graphs' input names are part of the format: ``belief`` is y_hat, the dequantised latent, ``memory`` the hidden
state, ``row`` the film index.  The identity, which every file carries, is a SHA-256 over the contents of the files that
decode.  The networks of the hidden state run for alpha > 0 only.

Networks run in tiles with a margin as wide as they see, so tiles do not show.  The whole picture's quantised latent
takes 1.5 bytes a pixel, the hidden state for alpha > 0 another 1.5, the entropy model up to 1.5 more.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder import weights
from beholder.codecs.rnn import tiles as tiling
from beholder.codecs.rnn.damage import StoredArrays, one_sentence, read_arrays, read_card
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.layout import BLOCK, HUMAN_BELOW, ITERATIONS, Layout
from beholder.codecs.rnn.linear import FILE as LINEAR
from beholder.codecs.rnn.linear import LinearReconstruction
from beholder.codecs.rnn.sessions import Sessions
from beholder.codecs.rnn.steps import Codes, Floats, Ints, Steps
from beholder.codecs.rnn.tiles import Area, Pixels, Tile, tiles
from beholder.errors import BadFileError, BadOptionError

HUMAN_WEIGHTS = "eye.weights"
DECODING = ("recurrence.onnx", "synthesis.onnx", "entropy.npz", "eye.onnx", HUMAN_WEIGHTS)
"""Files that the identity covers, in the order of its hash."""
GRADIENTS = ("eye_slopes.onnx", "eye_adjoint.onnx", "synthesis_slopes.onnx", "synthesis_adjoint.onnx")
"""Gradients for latent optimisation."""
FILES = ("analysis.onnx", *DECODING, *GRADIENTS, "model.json")
INPUTS = {"y_hat": "belief", "hidden": "memory", "film_index": "row"}
"""Our word -> the graphs' name of an input; other inputs have the same name in both."""
STEP = (LINEAR, "step.onnx")
"""The encoder's learned step; a model may lack it."""
MARGIN = {"analysis": 2, "recurrence": 2, "synthesis": 8, "eye": 8}
"""Positions that each network sees beyond a tile (an upper bound, which a test checks)."""
SYNTHESIS_MARGIN = 5
"""Positions around a tile with which it is synthesised, fewer than the networks see: the others change one sample of
4,000 by 1 (docs/log/2026-11-28-margins.md)."""

SECONDS = 600
"""Time that one graph of a model that does not ship may take for a tile: the largest takes 3 seconds."""
_DAMAGED = "The codec model in {folder} is damaged ({reason}): export it again."


@functools.lru_cache(maxsize=4)
def load(folder: Path = weights.CODEC) -> Model:
    """The model in ``folder``, loaded once.

    Raises:
        BadOptionError: the folder does not hold a complete model.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BadOptionError(
            f"{folder} is no codec model: it lacks {missing[0]}; give a folder that `beholder export` wrote."
        )
    return Model(folder)


class Model:
    """Networks, quantiser steps and entropy model of one trained codec.

    Args:
        folder: as `beholder export` writes it.

    Raises:
        BadOptionError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.step_scale = 0
        self._sessions = Sessions(folder, None if folder == weights.CODEC else SECONDS)
        self._reconstruction = functools.cache(self._read_reconstruction)  # shared by scaled copies, as sessions are
        self.has_step = all((folder / name).is_file() for name in STEP)
        with one_sentence(_DAMAGED.replace("{folder}", str(folder)), BadOptionError):
            self.identity = identity(folder)
            self.card = read_card(folder, self.identity)
            # Nothing is wrong with the arrays that ship, so they need not be looked at before they are used.
            self._ships = folder == weights.CODEC and "identity" in self.card
            self.arrays = StoredArrays(folder) if self._ships else read_arrays(folder)
            self.latent, self.hidden = (int(n) for n in self.arrays["sizes"])
            self.layout = Layout.from_rows(self.latent, self.arrays["layout"], self.arrays["passes"])
            self.steps = Steps(self.arrays, self.layout)

    def scaled(self, step_scale: int) -> Model:
        """This model with the quantiser steps of a file that has ``step_scale``; networks are shared."""
        if step_scale == self.step_scale:
            return self
        _ = self.entropy  # loaded once for all
        result = copy.copy(self)
        result.step_scale, result.steps = step_scale, Steps(self.arrays, self.layout).scaled(step_scale)
        return result

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Turn an error of a model that does not ship into one sentence: whoever made it may have named an identity."""
        if self._ships:
            return contextlib.nullcontext()
        return one_sentence(_DAMAGED.replace("{folder}", str(self.folder)), BadOptionError, (MemoryError,))

    @functools.cached_property
    def entropy(self) -> EntropyModel:
        """The integer entropy model; BadOptionError if its arrays are damaged."""
        with one_sentence(_DAMAGED.replace("{folder}", str(self.folder)), BadOptionError):
            try:
                return EntropyModel(self.arrays, self.layout, as_needed=self._ships)
            except KeyError as error:
                raise BadOptionError(
                    f"The codec model in {self.folder} is of another version (it lacks {error}): export it again."
                ) from None

    def prepare(self, *networks: str, positions: int) -> None:
        """Open networks that are needed soon, for so many positions, while other work goes on."""
        for network in networks:
            self._sessions.prepare(network, positions)

    def analyse(self, pixels: Pixels, alpha: float) -> Floats:
        """(3, 16H, 16W) uint8 -> latent (C, H, W)."""
        latent = np.empty((self.latent, pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK), np.float32)
        for tile, part in self.analyse_tiles(pixels, alpha):
            latent[:, *tile.inner] = part
        return latent

    def analyse_tiles(self, pixels: Pixels, alpha: float) -> Iterator[tuple[Tile, Floats]]:
        """As :meth:`analyse`, tile by tile."""
        height, width = pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK
        for tile in tiles(height, width, MARGIN["analysis"]):
            window = pixels[:, *tile.outer_pixels]
            out = self._run("analysis", image=window[None], alpha=_scalar(alpha))
            yield tile, out[0][:, *tile.crop]

    def recur(self, y_hat: Floats, hidden: Floats, alpha: float, t: int) -> Floats:
        """The decoder's hidden state (K, H, W) after iteration ``t``."""
        after = hidden.copy()
        self.recur_in_place(lambda area: y_hat[:, *area], after, alpha, t)
        return after

    def recur_in_place(self, y_hat: Callable[[Area], Floats], hidden: Floats, alpha: float, t: int) -> None:
        """Bring ``hidden`` (K, H, W) up to date in place; ``y_hat`` gives the dequantised latent of an area."""
        step, margin = np.array([t], np.int64), MARGIN["recurrence"]
        height, width = hidden.shape[1:]
        above = hidden[:, :0]
        for top in range(0, height, tiling.TILE):
            # Rows above have been overwritten already, but for a copy of the last ones.
            bottom = min(top + tiling.TILE, height)
            band = np.concatenate([above, hidden[:, top : bottom + margin]], 1)
            for tile in tiles(height, width, margin, top):
                rows = slice(tile.outer[0].start - top + above.shape[1], tile.outer[0].stop - top + above.shape[1])
                old = band[None, :, rows, tile.outer[1]]
                out = self._run("recurrence", y_hat=y_hat(tile.outer)[None], hidden=old, alpha=_scalar(alpha), t=step)
                hidden[:, *tile.inner] = out[0][:, *tile.crop]
            end = bottom - top + above.shape[1]
            above = band[:, max(end - margin, 0) : end].copy()

    def synthesise(
        self, y_hat: Floats, hidden: Floats | None, alpha: float, t: int, optimised_for: int = 0
    ) -> NDArray[np.uint8]:
        """The image (16H, 16W, 3) after iteration ``t``; without a hidden state, the human's."""
        height, width = y_hat.shape[1:]
        pixels = np.empty((height * BLOCK, width * BLOCK, 3), np.uint8)
        parts = self.synthesise_tiles(lambda area: y_hat[:, *area], (height, width), hidden, alpha, t, optimised_for)
        for rows, columns, part in parts:
            pixels[rows, columns] = part
        return pixels

    def synthesise_tiles(
        self,
        y_hat: Callable[[Area], Floats],
        size: tuple[int, int],
        hidden: Floats | None,
        alpha: float,
        t: int,
        optimised_for: int,
    ) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
        """Rows and columns of pixels, and these, (rows, columns, 3), tile by tile."""
        index = _film_index(t, optimised_for)
        for tile in tiles(*size, SYNTHESIS_MARGIN):
            latent = y_hat(tile.outer)[None]
            picture = np.empty(0, np.uint8)
            if hidden is None or alpha < HUMAN_BELOW:
                picture = self._run("eye", y_hat=latent, film_index=index)
            if hidden is not None and alpha > 0:
                inputs = {"y_hat": latent, "hidden": hidden[None, :, *tile.outer], "alpha": _scalar(alpha)}
                machine = self._run("synthesis", **inputs, t=np.array([t]), film_index=index)
                picture = blend(picture, machine, alpha) if picture.size else machine
            yield *tile.inner_pixels, picture[0].transpose(1, 2, 0)[tile.crop_pixels]

    def synthesise_with_slopes(
        self, y_hat: Floats, t: int, optimised_for: int
    ) -> tuple[NDArray[np.uint8], list[NDArray[Any]]]:
        """The human's image (3, 16H, 16W), and what :meth:`synthesise_vjp` needs of its network; in one tile."""
        index = _film_index(t, optimised_for)
        picture, *slopes = self._run_all("eye_slopes", y_hat=y_hat[None], film_index=index)
        return picture[0], slopes

    def synthesise_vjp(
        self, gradient: Floats, y_hat: Floats, t: int, optimised_for: int, slopes: Sequence[NDArray[Any]]
    ) -> Floats:
        """Vector-Jacobian product of the human's synthesis.

        Args:
            gradient: by pixels in [0, 1], (3, 16H, 16W).
            y_hat, t, optimised_for: as for :meth:`synthesise_with_slopes`, which gave ``slopes``.

        Returns:
            The gradient by y_hat, (C, H, W).
        """
        index = _film_index(t, optimised_for)
        named = {f"slope_{i}": slope for i, slope in enumerate(slopes)}
        return self._run("eye_adjoint", gradient=gradient[None], y_hat=y_hat[None], film_index=index, **named)[0]

    def synthesise_machine_with_slopes(
        self, y_hat: Floats, hidden: Floats, alpha: float, t: int, optimised_for: int
    ) -> tuple[NDArray[np.uint8], list[Floats]]:
        """The machine's picture (3, 16H, 16W), and what :meth:`synthesise_machine_vjp` needs to go back."""
        inputs = {"y_hat": y_hat[None], "hidden": hidden[None], "alpha": _scalar(alpha), "t": np.array([t])}
        index = _film_index(t, optimised_for)
        image, *slopes = self._run_all("synthesis_slopes", **inputs, film_index=index)
        return image[0], slopes

    def synthesise_machine_vjp(
        self, gradient: Floats, y_hat: Floats, alpha: float, t: int, optimised_for: int, slopes: list[Floats]
    ) -> Floats:
        """Vector-Jacobian product of the machine's synthesis: gradient (3, 16H, 16W) by pixels -> by y_hat (C, H, W).

        The hidden state is held fixed; ``slopes`` are of :meth:`synthesise_machine_with_slopes` at ``y_hat``.
        """
        kept = {f"slope_{number}": slope for number, slope in enumerate(slopes)}
        inputs = {"gradient": gradient[None], "y_hat": y_hat[None], "alpha": _scalar(alpha)}
        return self._run("synthesis_adjoint", **inputs, film_index=_film_index(t, optimised_for), **kept)[0]

    @property
    def reconstruction(self) -> LinearReconstruction:
        """The human's linear reconstruction; BadOptionError if its file is damaged."""
        return self._reconstruction()

    def _read_reconstruction(self) -> LinearReconstruction:
        with one_sentence(_DAMAGED.replace("{folder}", str(self.folder)), BadOptionError):
            return LinearReconstruction(self.folder, HUMAN_WEIGHTS, self.latent)

    def step_codes(self, begun: Floats, place: Floats, gradient: Floats, t: int) -> Floats:
        """The learned step (:mod:`beholder.codecs.rnn.torch.amortised_step`), (C, H, W) each."""
        codes = self._run("step", begun=begun[None], place=place[None], gradient=gradient[None], t=np.array([t]))
        return codes[0]

    def _run(self, network: str, **inputs: NDArray[Any]) -> NDArray[Any]:
        """The network's first output."""
        return self._run_all(network, **inputs)[0]

    def _run_all(self, network: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        return self._sessions.run(network, {INPUTS.get(name, name): value for name, value in inputs.items()})


def identity(folder: Path) -> bytes:
    """8 bytes that name the model by the content of its files."""
    digest = hashlib.sha256()
    for name in DECODING:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.digest()[:8]


def check_model(model: Model, wanted: bytes) -> None:
    """BadFileError that names both models unless ``wanted`` is this one."""
    if model.identity != wanted:
        raise BadFileError(
            f"The file was written by codec model {wanted.hex()}, and this is {model.identity.hex()}: give the folder "
            "of that model with --model, or install the version of beholder that shipped it."
        )


def blend(human: NDArray[np.uint8], machine: NDArray[np.uint8], alpha: float) -> NDArray[np.uint8]:
    """Blend the pictures of both observers, (H, W, 3) each, for alpha from 0 to ``HUMAN_BELOW``."""
    start, machine_weight = human.astype(np.float32), np.float32(alpha / HUMAN_BELOW)
    return np.round(start + machine_weight * (machine - start)).astype(np.uint8)


def _film_index(t: int, optimised_for: int) -> Ints:
    """Index of the modulation of files optimised for ``optimised_for`` iterations, or not (0), after iteration t."""
    return np.array([t if optimised_for else t + ITERATIONS])


def _scalar(alpha: float) -> Floats:
    return np.array([alpha], np.float32)


__all__ = ["Codes", "Floats", "Ints", "Model", "blend", "check_model", "identity", "load"]
