"""Fit the residual layer's weights, bins, probabilities and centroids on photographs.

    python scripts/residual_tables.py --data FOLDER [--most 70]

Writes ``tables.npz`` beside the modules of the residual layer.  They belong to the file format: files that exist cannot
be decoded with others.  A crop of each photograph is coded at quality 8, every fourth one for a machine.  The
weights of an estimate solve a least-squares problem with none below 0.  Codes are then counted by context, and the
centroids are the mean places of coefficients in their cells.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn import Rnn, bitstream, decoder
from beholder.codecs.rnn.layout import ITERATIONS, RESIDUAL_LEVELS
from beholder.codecs.rnn.residual import tables as residual_tables
from beholder.codecs.rnn.residual.contexts import BINS, MAGNITUDES, REFINEMENT_BINS, Magnitudes
from beholder.codecs.rnn.residual.geometry import DIAGONALS, SIDE, STEP_UNIT, activities, members, steps
from beholder.codecs.rnn.residual.tables import (
    ESCAPE,
    ESTIMATE_UNIT,
    FREQUENCY_CLASS,
    PLANES,
    PROBABILITY_BITS,
    SHAPES,
    Tables,
)
from beholder.codecs.rnn.residual.transform import CENTROID_UNIT, forward, quantise, to_planes
from beholder.reading import load

CROP = (448, 320)
MACHINES = 4
SAMPLE = 1200
"""Codes of a diagonal of one photograph that take part in the least-squares problem."""
LAST_EDGE = 1024
"""Estimate from which on all have the last bin, a magnitude of 4."""
LEAST = 32
"""The likeliest symbol leaves so much of 2^16: a code costs at least .0007 bits, and short files can claim no more."""
FLOOR = 0.03
"""Added to an estimate where errors are weighed by its inverse."""


@dataclass(frozen=True)
class Sample:
    """The residual of one photograph: (planes, 64, rows, columns) coefficients, and (rows, columns) activities."""

    coefficients: NDArray[np.float32]
    activities: NDArray[np.int16]


Visit = Callable[[int, int, int, Magnitudes, NDArray[np.int16], NDArray[np.int16], NDArray[np.float32]], None]
"""Level, plane, diagonal, what is known, magnitudes at the level before and at this one, coefficients in steps."""


def prepare(path: Path, alpha: float) -> Sample:
    """The residual of the middle of a photograph."""
    image = load(path).convert("RGB")
    width, height = (min(size, most) // SIDE * SIDE for size, most in zip(image.size, CROP, strict=True))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    codec = Rnn()
    stream = bitstream.read(codec.encode(image, ITERATIONS, alpha=alpha))
    blocks = (-(-height // 16), -(-width // 16))
    base = decoder.Reconstruction(codec.model, blocks, stream.alpha, stream.optimised_for)
    picture = np.empty((blocks[0] * 16, blocks[1] * 16, 3), np.int16)
    for rows, columns, part in decoder.decode_tiles(codec.model, stream.segments, base):
        picture[rows, columns] = part
    lack = np.asarray(image).astype(np.int16) - picture[:height, :width]
    area = (slice(0, height // SIDE), slice(0, width // SIDE))
    coefficients = np.stack([forward(plane) for plane in to_planes(lack)])
    return Sample(coefficients, activities(base.codes[0], area))


def walk(samples: list[Sample], visit: Visit) -> None:
    """Visit every group of codes of all samples, in coding order."""
    for sample in samples:
        shape = (PLANES, SIDE, SIDE, *sample.activities.shape)
        known, before = Magnitudes(PLANES, sample.activities), np.zeros(shape, np.int16)
        for level in range(RESIDUAL_LEVELS):
            codes = np.abs(quantise(sample.coefficients, level + 1, 0)).reshape(shape)
            step = (steps(0, level) / STEP_UNIT).astype(np.float32)[:, None, None]
            real = (np.abs(sample.coefficients) / step).reshape(shape)
            if level:
                known.refine(before)
            for plane in range(PLANES):
                for diagonal in range(DIAGONALS):
                    group = (plane, *members(diagonal))
                    visit(level, plane, diagonal, known, before[group], codes[group], real[group])
                    known.learn(plane, diagonal, codes[group])
            before = codes


def fit_weights(samples: list[Sample]) -> NDArray[np.int32]:
    """Weights of the features, (levels, planes, diagonals, features)."""
    rng = np.random.default_rng(0)
    gathered: defaultdict[tuple[int, int, int], list[tuple[Any, Any]]] = defaultdict(list)

    def gather(level: int, plane: int, diagonal: int, known: Magnitudes, before: Any, codes: Any, real: Any) -> None:
        chosen = np.flatnonzero(before.ravel() == 0)
        chosen = rng.choice(chosen, min(len(chosen), SAMPLE), replace=False)
        columns = [np.broadcast_to(f, codes.shape).ravel()[chosen] for f in known.features(plane, diagonal)]
        gathered[level, plane, diagonal].append((np.stack(columns, 1).astype(np.float32), real.ravel()[chosen]))

    walk(samples, gather)
    weights = np.zeros(SHAPES["weights"], np.int32)
    for place, parts in gathered.items():
        features, wanted = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
        estimate = np.full(len(wanted), wanted.mean())
        for _ in range(3):
            weight = 1 / (estimate + FLOOR)
            solution = least_squares(features * weight[:, None], wanted * weight)
            estimate = features @ solution
        weights[place] = np.round(solution * ESTIMATE_UNIT)
    return weights


def least_squares(matrix: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares with no unknown below 0, by coordinate descent."""
    square, right = matrix.T @ matrix, matrix.T @ wanted
    solution = np.zeros(len(right))
    for _ in range(400):
        for i in np.flatnonzero(square.diagonal() > 0):
            solution[i] = max(0.0, solution[i] + (right[i] - square[i] @ solution) / square[i, i])
    return solution


def count(samples: list[Sample], tables: Tables) -> dict[str, NDArray[np.float64]]:
    """Count the symbols of each context, and sum the places in cells for the centroids."""
    sums = {name: np.zeros(shape) for name, shape in SHAPES.items() if name in ("first", "zero", "refined")}
    sums["zero"], sums["refined"] = (np.zeros((2, *SHAPES[name])) for name in ("zero", "refined"))
    sums["place"] = np.zeros((2, *SHAPES["centroid"]))

    def visit(level: int, plane: int, diagonal: int, known: Magnitudes, before: Any, codes: Any, real: Any) -> None:
        estimate = known.estimate(plane, diagonal, tables.weights[level, plane, diagonal])
        contexts = tables.contexts(estimate, before if level else None).astype(np.int64)
        kind = FREQUENCY_CLASS[diagonal]
        for larger in (0, 1):
            chosen = codes > 1 if larger else codes == 1
            sums["place"][:, level, plane, larger] += chosen.sum(), (real - codes)[chosen].sum()
        if level == 0:
            both = contexts * (ESCAPE + 1) + np.minimum(codes, ESCAPE)
            sums["first"][plane, kind] += np.bincount(both.ravel(), minlength=BINS * (ESCAPE + 1)).reshape(BINS, -1)
            return
        symbols = codes - 2 * before
        for symbol in (0, 1):
            counts = np.bincount(contexts[symbols == symbol], minlength=BINS + MAGNITUDES * REFINEMENT_BINS)
            sums["zero"][symbol, level - 1, plane, kind] += counts[:BINS]
            sums["refined"][symbol, level - 1, plane] += counts[BINS:].reshape(MAGNITUDES, REFINEMENT_BINS)

    walk(samples, visit)
    return sums


def fit(samples: list[Sample]) -> dict[str, NDArray[Any]]:
    """All arrays of ``tables.npz``."""
    arrays: dict[str, NDArray[Any]] = {name: np.ones(shape, np.int64) for name, shape in SHAPES.items()}
    arrays["weights"] = fit_weights(samples)
    powers = LAST_EDGE ** ((np.arange(BINS - 1) + 0.5) / (BINS - 1))
    arrays["edges"] = np.maximum(np.ceil(powers), np.arange(1, BINS)).astype(np.int64)
    sums = count(samples, Tables(arrays))
    arrays["first"] = whole_frequencies(sums["first"])
    for name in ("zero", "refined"):
        arrays[name] = whole_frequencies(np.moveaxis(sums[name], 0, -1))[..., 1]
    number, total = sums["place"]
    arrays["centroid"] = np.round(CENTROID_UNIT * total / np.maximum(number, 1)).astype(np.int64)
    return arrays


def whole_frequencies(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Frequencies above 0 that sum to 2^16 along the last axis, none above 2^16 - LEAST."""
    whole = 1 << PROBABILITY_BITS
    smoothed = counts + 0.4 / counts.shape[-1]
    parts = smoothed / smoothed.sum(-1, keepdims=True)
    result = 1 + np.floor(parts * (whole - counts.shape[-1])).astype(np.int64)
    result[..., 0] += whole - result.sum(-1)
    for one, other in ((0, 1), (1, 0)):  # no symbol above 1 is ever likely
        excess = np.maximum(result[..., one] - (whole - LEAST), 0)
        result[..., one] -= excess
        result[..., other] += excess
    return result


def photographs(folder: Path, most: int) -> Iterator[tuple[Path, float]]:
    """Evenly spread photographs of a folder, and the alpha of each."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for number, path in enumerate(files[:: max(1, len(files) // most)]):
        yield path, float(number % MACHINES == MACHINES - 1)


def main() -> int:
    """Fit and write; return the exit code."""
    parser = argparse.ArgumentParser(description="Fit the tables of the residual layer.")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--most", type=int, default=70, help="photographs (default: %(default)s)")
    args = parser.parse_args()
    samples = []
    for path, alpha in photographs(args.data, args.most):
        samples.append(prepare(path, alpha))
        print(path.name, flush=True)
    fitted = fit(samples).items()
    stored: dict[str, Any] = {
        name: array.astype(np.int16 if name == "centroid" else np.uint16) for name, array in fitted
    }
    np.savez_compressed(residual_tables.FILE, **stored)
    return 0


if __name__ == "__main__":
    sys.exit(main())
