"""Tables of probabilities fitted to codes, since codes of real pictures have no exact Laplace distribution.

Pictures are encoded as the encoder does it, some with latent optimisation, and each table's symbols are counted.  Since
latent optimisation takes the rate from the tables, that happens twice: with Laplace's, then with those fitted to the
first counts (as for entropy-constrained quantisers: Chou, Lookabaugh and Gray, 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn import encoder, onnx_model
from beholder.codecs.rnn.damage import read_arrays
from beholder.codecs.rnn.entropy.tables import integers, table_sizes
from beholder.codecs.rnn.layout import ITERATIONS
from beholder.training.photos import PhotoCrops

Ints = NDArray[np.int64]

ROUNDS = 2
CROP = 256
PLAIN = 0.3
"""Fraction of the crops that are encoded without latent optimisation, at the highest quality."""
LAST_ITERATIONS = (0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7)
"""Last iterations of the others, drawn from these."""
PRIOR = 500
"""Weight of the table before fitting, in symbols: it counts like so many symbols of the pictures."""


def fit_tables(
    folder: Path, photos: Path, crops: int = 800, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Replace the tables of the model in ``folder`` by those that fit codes of photographs.

    Args:
        folder: as `beholder export` writes it; `model.json` stays as it is.
        photos: a folder.
        crops: how many are encoded each time, of 256x256 pixels.
        progress: called after each: how many of how many are done.

    Raises:
        BadImageError: there are no photographs.
    """
    arrays = read_arrays(folder)
    first = arrays["tables"].astype(np.float64)
    done = 0
    for number in range(ROUNDS):
        model = onnx_model.Model(folder)
        counts = np.zeros(len(first), np.int64)
        for pixels, t, effort in _samples(photos, crops, number):
            latents = encoder.quantised_latents(model, pixels, 0.0, t + 1, effort)
            counts += model.entropy.rate_estimate(latents).counts(latents)
            done += 1
            progress(done, ROUNDS * crops)
        arrays["tables"] = _fitted(first, counts, arrays["reach"].astype(np.int64))
        np.savez_compressed(folder / "entropy.npz", **arrays)  # type: ignore[arg-type]


def _samples(photos: Path, crops: int, number: int) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
    """Crops, the last iteration that is sent of each, and the effort."""
    rng = np.random.default_rng(number)
    source = PhotoCrops(photos, CROP, seed=number)
    for i in range(crops):
        plain = rng.random() < PLAIN
        t = ITERATIONS - 1 if plain else int(rng.choice(LAST_ITERATIONS))
        yield source.batch(i, 1)[0], t, 0 if plain else 1


def _fitted(tables: NDArray[np.float64], counts: Ints, half_widths: Ints) -> NDArray[np.uint16]:
    ends = np.cumsum(table_sizes(half_widths))[:-1]
    fitted = []
    for before, counted in zip(np.split(tables, ends), np.split(counts, ends), strict=True):
        mass = counted + PRIOR * before / before.sum()
        fitted.append(integers(mass / mass.sum()))
    return np.concatenate(fitted)
