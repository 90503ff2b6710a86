"""The residual's range coder, contexts and transform by themselves."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.codecs.rnn.layout import RESIDUAL_LEVELS
from beholder.codecs.rnn.residual import geometry, tables, transform
from beholder.codecs.rnn.residual.coder import LARGEST, Decoder, Encoder, check_length
from beholder.errors import BadFileError


def random_codes(seed: int, planes: int, rows: int, columns: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = spread / (1 + geometry.DIAGONAL[:, None, None])
    codes = np.rint(rng.laplace(size=(planes, 64, rows, columns)) * scale)
    return np.clip(codes, -LARGEST, LARGEST).astype(np.int16)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    planes=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    spread=st.sampled_from([0.0, 0.5, 4.0, 60.0, 9000.0]),
    levels=st.integers(1, RESIDUAL_LEVELS),
)
def test_codes_come_back_and_prefixes_are_coarser(
    seed: int, planes: int, size: tuple[int, int], spread: float, levels: int
) -> None:
    largest = ((LARGEST + 1) >> (RESIDUAL_LEVELS - levels)) - 1
    tiles = [random_codes(seed + k, planes, *size, spread).clip(-largest, largest) for k in range(2)]
    activities = np.random.default_rng(seed).integers(-3, 20, size).astype(np.int16)
    encoder = Encoder(levels)
    for codes in tiles:
        encoder.add(codes, activities)
    segments = encoder.segments()
    check_length(segments, 2 * tiles[0].size)
    for count in range(1, levels + 1):
        decoder = Decoder(segments[:count])
        for codes in tiles:
            coarser = np.sign(codes) * (np.abs(codes) >> (levels - count))
            np.testing.assert_array_equal(decoder.next(planes, activities), coarser)


@settings(max_examples=40, deadline=None)
@given(garbage=st.lists(st.binary(max_size=300), min_size=1, max_size=4), size=st.integers(1, 9))
def test_random_bytes_give_codes_or_one_sentence(garbage: list[bytes], size: int) -> None:
    activities = np.zeros((size, size), np.int16)
    try:
        codes = Decoder(garbage).next(3, activities)
    except BadFileError:
        return
    assert np.abs(codes.astype(int)).max() <= LARGEST
    # Whatever the codes are, every sum is exact: float64 holds the whole numbers that Python computes.
    level = len(garbage) - 1
    values = transform.dequantise(codes[0], level, 127, tables.load().centroid[level, 0])
    basis = transform.basis().astype(np.int64).astype(object)
    first = values[:, 0, 0].astype(np.int64).astype(object).reshape(8, 8)
    exact = (basis.T @ first @ basis + (1 << 21)) // (1 << 22)
    np.testing.assert_array_equal(transform.inverse(values)[:8, :8], exact.astype(np.int64))


def test_bound_holds_for_the_likeliest_symbol_of_every_context() -> None:
    loaded, count = tables.load(), 1 << 16
    for level, least in enumerate(loaded.least_bits):
        best = max(
            (
                (loaded.frequencies(level, plane, diagonal, context), (plane, diagonal, context))
                for plane in range(3)
                for diagonal in (0, 2, 6, 10)
                for context in range(40 if level == 0 else 64)
            ),
            key=lambda pair: pair[0].max(),
        )
        frequencies, place = best
        assert frequencies.sum() == 1 << 16
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.full(count, frequencies.argmax(), np.int32), loaded.model(level, *place))
        assert 0 < least * count <= 32 * len(encoder.get_compressed())


def test_flat_codes_stay_above_the_bound() -> None:
    """Long runs of the likeliest code write zeros, which a segment keeps."""
    encoder = Encoder(RESIDUAL_LEVELS)
    codes, activities = np.zeros((3, 64, 100, 100), np.int16), np.zeros((100, 100), np.int16)
    encoder.add(codes, activities)
    segments = encoder.segments()
    check_length(segments, codes.size)
    np.testing.assert_array_equal(Decoder(segments).next(3, activities), codes)
    with pytest.raises(BadFileError, match=r"Segment 10 of this .* too short"):
        check_length([segments[0], b""], codes.size)


def test_codes_that_end_early_are_refused() -> None:
    encoder = Encoder(1)
    codes, activities = random_codes(0, 3, 30, 30, 30.0), np.zeros((30, 30), np.int16)
    encoder.add(codes, activities)
    (segment,) = encoder.segments()
    cut = segment[: len(segment) // 4]
    check_length([cut], codes.size)
    with pytest.raises(BadFileError, match=r"Segment 9 of this .* too short|damaged"):
        Decoder([cut]).next(3, activities)


@pytest.mark.parametrize("planes", [1, 3])
def test_fine_steps_give_the_pixels_back(planes: int) -> None:
    rng = np.random.default_rng(1)
    shape = (24, 40, 3) if planes == 3 else (24, 40)
    lack = rng.integers(-255, 256, shape).astype(np.int16)
    scale, level = -128, RESIDUAL_LEVELS - 1
    again = []
    for plane, centroid in zip(transform.to_planes(lack), tables.load().centroid[level], strict=False):
        codes = transform.quantise(transform.forward(plane), RESIDUAL_LEVELS, scale)
        again.append(transform.inverse(transform.dequantise(codes, level, scale, centroid)))
    assert np.sqrt(np.mean((transform.to_pixels(again) - lack) ** 2.0)) < 0.8


def test_finer_levels_split_the_cells_of_coarser_ones() -> None:
    rng = np.random.default_rng(2)
    coefficients = rng.laplace(scale=30, size=(64, 8, 8)).astype(np.float32)
    finest = transform.quantise(coefficients, RESIDUAL_LEVELS, 5)
    for levels in range(1, RESIDUAL_LEVELS):
        coarser = transform.quantise(coefficients, levels, 5)
        np.testing.assert_array_equal(coarser, np.sign(finest) * (np.abs(finest) >> (RESIDUAL_LEVELS - levels)))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_tiles_cover_every_block_once(height: int, width: int) -> None:
    seen = np.zeros((height, width), int)
    for rows, columns in geometry.tiles(height, width):
        seen[rows, columns] += 1
    assert (seen == 1).all()


def test_the_basis_is_orthonormal() -> None:
    basis = transform.basis() / (1 << transform.BASIS_BITS)
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=3e-4)


def test_steps_do_not_depend_on_rounding_of_powers() -> None:
    """No step lies so near to a half that another library's power would round it the other way."""
    for scale in range(-128, 128):
        exact = geometry.STEP_UNIT * geometry.FINEST_STEP / 14 * geometry.FREQUENCY_WEIGHT * 2.0 ** (scale / 64)
        assert scale in (-128, -64, 0, 64) or np.abs(exact + 0.5 - np.round(exact + 0.5)).min() > 1e-9
