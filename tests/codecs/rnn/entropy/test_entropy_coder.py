"""The integer entropy model: exact, invertible, and equal to what training computes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from helpers.decoders import plain_stage_network
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.entropy.pyramid import kind_and_mean
from beholder.codecs.rnn.entropy.rounding import ACTIVATION_SCALE, INPUT_LIMIT, SCALE_STEPS, UNIT, choose_table, compand
from beholder.codecs.rnn.entropy.stage_network import StageNetwork, log_table
from beholder.codecs.rnn.entropy.tables import (
    DEAD_ZONE,
    DEAD_ZONE_MEAN_SCALE,
    EVEN,
    HALVED,
    MEAN_SCALE,
    MEANS,
    PROBABILITY_BITS,
    QUARTERED,
    SCALES,
    SHIFT_PROBABILITIES,
    SHIFTS,
    laplace_tables,
    shifted_tables,
    table_sizes,
)
from beholder.codecs.rnn.entropy.windows import Window, windows
from beholder.codecs.rnn.layout import CODE_LIMIT, ITERATIONS, LEVELS, Layout, lattice
from beholder.errors import BadFileError

LAYOUT = Rnn().model.layout
"""That of the model that ships."""


@pytest.fixture(scope="module")
def entropy() -> EntropyModel:
    return Rnn().model.entropy


def test_layout_brings_every_channel_to_a_fine_level() -> None:
    """Channels seen so far are a prefix, levels never fall, the activity is never refined."""
    levels = np.stack([LAYOUT.levels(t) for t in range(ITERATIONS)])
    assert (np.diff(levels, axis=0) >= 0).all()
    assert (np.diff(levels, axis=0) > 0).any(1).all()
    assert (levels[-1, 1:] >= 3).all()
    assert (levels[:, 0] == 0).all()
    for number, stage in enumerate(LAYOUT.stages):
        seen = LAYOUT.prior_channels(number)
        assert (LAYOUT.step_in_finest_units(number)[seen:] == 0).all()
        assert ((LAYOUT.refinement(number) >= 0) <= (stage.channels < seen)).all()


def test_layout_survives_storing() -> None:
    stored = Layout.from_rows(LAYOUT.latent, LAYOUT.rows(), LAYOUT.passes())
    assert stored == LAYOUT


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [(3, LAYOUT.latent + 1, "ascend"), (4, 9, "unknown level"), (1, 7, "in order"), (0, 99, "no passes")],
)
def test_tampered_layouts_are_refused(column: int, value: int, message: str) -> None:
    rows = LAYOUT.rows()
    rows[0, column] = value
    with pytest.raises(ValueError, match=message):
        Layout.from_rows(LAYOUT.latent, rows, LAYOUT.passes())


def test_a_stage_that_refines_nothing_is_refused() -> None:
    stages = list(LAYOUT.stages)
    stages[8] = replace(stages[8], ranges=((1, 17, 0),))
    with pytest.raises(ValueError, match="refines nothing"):
        Layout(LAYOUT.latent, tuple(stages))


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_lattice_covers_every_position_once(passes: int) -> None:
    which = lattice(5, 7, passes)
    assert set(which.ravel()) == set(range(passes))


def test_tables_are_distributions_with_laplace_shape() -> None:
    tables, reach = laplace_tables()
    sizes = table_sizes(reach)
    assert len(reach) == 4 * SCALES * MEANS
    assert sizes.sum() == len(tables)
    for index, part in enumerate(np.split(tables.astype(np.int64), np.cumsum(sizes)[:-1])):
        kind, mean = index // (SCALES * MEANS), index % MEANS
        assert part.sum() == 1 << PROBABILITY_BITS
        assert part.min() >= 1
        if mean == (0 if kind == EVEN else MEANS // 2):  # mean on a symbol: symmetric about it
            middle = reach[index]
            assert part[: 2 * middle + 1].argmax() == middle
            np.testing.assert_allclose(part[:middle], part[2 * middle : middle : -1], atol=2)


@pytest.mark.parametrize("split", [HALVED, QUARTERED])
def test_tables_of_a_split_are_those_of_the_dead_zone_cut_off(split: int) -> None:
    """Given that a value lies in the coarse cell of 0, its distribution within is that of the dead-zone quantiser."""
    tables, reach = laplace_tables()
    parts = np.split(tables.astype(np.float64), np.cumsum(table_sizes(reach))[:-1])
    for scale in (20, 30, 45):
        for mean in range(MEANS):
            whole = parts[(DEAD_ZONE * SCALES + scale) * MEANS + mean]
            inner = parts[(split * SCALES + scale) * MEANS + mean]
            reach_of_whole = (len(whole) - 3) // 2
            inside = whole[reach_of_whole - len(inner) // 2 :][: len(inner)]
            np.testing.assert_allclose(inner / inner.sum(), inside / inside.sum(), atol=2e-3)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    spread=st.sampled_from([0.3, 2.0, 40.0, 20000.0]),
)
def test_any_codes_come_back(seed: int, height: int, width: int, spread: float) -> None:
    entropy = Rnn().model.entropy
    rng = np.random.default_rng(seed)
    most = CODE_LIMIT >> (LEVELS - 1)
    y = np.clip(rng.laplace(0, spread, (LAYOUT.latent, height, width)), -most, most)
    coded, decoded = (np.zeros(y.shape, np.int64) for _ in range(2))
    for t in range(ITERATIONS):
        levels = LAYOUT.levels(t)[:, None, None]
        latent = np.trunc(y * 2.0**levels).astype(np.int64) * (levels >= 0)
        segment = entropy.encode(latent, coded, t)
        np.testing.assert_array_equal(coded, latent)
        entropy.decode(segment, decoded, t)
        np.testing.assert_array_equal(decoded, latent)


@settings(max_examples=25)
@given(segment=st.binary(max_size=300), t=st.integers(0, 3))
def test_bytes_that_are_no_segment(segment: bytes, t: int) -> None:
    """They decode to something or are called damaged, shifts included."""
    now = np.zeros((LAYOUT.latent, 10, 11), np.int64)
    with suppress(BadFileError):
        Rnn().model.entropy.decode(segment, now, t)
    assert np.abs(now).max() <= 16 * CODE_LIMIT


def test_a_shift_changes_the_scale_alone() -> None:
    moved = shifted_tables()
    scale = moved // MEANS % SCALES
    assert len(SHIFTS) == len(SHIFT_PROBABILITIES)
    assert sum(SHIFT_PROBABILITIES) == 1
    for number, shift in enumerate(SHIFTS):
        for keeps_even in (0, 1):
            tables = moved[keeps_even, number]
            np.testing.assert_array_equal(tables % MEANS, np.arange(len(tables)) % MEANS)
            np.testing.assert_array_equal(tables // (SCALES * MEANS), np.arange(len(tables)) // (SCALES * MEANS))
            stays = (np.arange(len(tables)) < SCALES * MEANS) & bool(keeps_even)
            expected = np.clip(np.arange(len(tables)) // MEANS % SCALES + shift * ~stays, 0, SCALES - 1)
            np.testing.assert_array_equal(scale[keeps_even, number], expected)


@pytest.mark.parametrize(("side", "smaller"), [(20, True), (9, False)])
def test_pictures_unlike_others_shift_the_tables(side: int, smaller: bool) -> None:
    """Codes without any neighbourhood, in all channels alike: no network expects them."""
    model = Rnn().model
    plain = EntropyModel({**model.arrays, "adapts": np.array(False)}, LAYOUT)
    y = np.random.default_rng(3).laplace(0, 1.5, (LAYOUT.latent, side, side))
    levels = LAYOUT.levels(1)[:, None, None]
    latents = [np.trunc(y).astype(np.int64) * (LAYOUT.levels(0) >= 0)[:, None, None]]
    latents += [np.trunc(y * 2.0**levels).astype(np.int64) * (levels >= 0)]
    sizes = []
    for entropy in (plain, model.entropy):
        coded, decoded = np.zeros((2, *y.shape), np.int64)
        segments = [entropy.encode(latent, coded, t) for t, latent in enumerate(latents)]
        for t, segment in enumerate(segments):
            entropy.decode(segment, decoded, t)
            np.testing.assert_array_equal(decoded, latents[t])
        sizes.append(sum(map(len, segments)))
        assert entropy.bits(latents) == pytest.approx(8 * sizes[-1], rel=0.002, abs=80)
    assert sizes[1] < 0.98 * sizes[0] if smaller else sizes[1] == sizes[0]


@pytest.mark.parametrize("size", [(5, 6), (1, 9), (3, 1)])
@pytest.mark.parametrize("largest", [3, 32767])
def test_stage_networks_equal_plain_integers(
    entropy: EntropyModel, size: tuple[int, int], largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products in float32, windows of any shape and bytes for activations change no table and no mean."""
    rng = np.random.default_rng(largest)
    arrays = Rnn().model.arrays
    for number in range(len(LAYOUT.stages)):
        net = entropy._nets[number]
        if not isinstance(net, StageNetwork):
            continue
        now = np.round(rng.laplace(0, largest / 3, (LAYOUT.latent, *size))).clip(-largest, largest).astype(np.int16)
        codes = rng.integers(-largest, largest + 1, (len(net.channels), *size)).astype(np.int16)
        plain = plain_stage_network.passes(arrays, LAYOUT, number, codes.astype(int), now.astype(int))
        expected = [step for step in plain if step[0].any()]
        for window in (2048, 4):
            monkeypatch.setattr(Window, "SIZE", window)
            windows.cache_clear()
            found = list(net.passes(codes, now))
            for (positions, tables, whole), (mask, plain_tables, plain_whole) in zip(found, expected, strict=True):
                np.testing.assert_array_equal(positions, np.flatnonzero(mask))
                np.testing.assert_array_equal(tables, plain_tables[:, mask])
                np.testing.assert_array_equal(whole, plain_whole[:, mask])
    windows.cache_clear()


def test_weights_that_could_be_inexact_are_refused() -> None:
    arrays = dict(Rnn().model.arrays)
    arrays["8.mix.weight"] = np.full_like(arrays["8.mix.weight"], 30000)
    with pytest.raises(BadFileError, match="too large to be exact"):
        EntropyModel(arrays, LAYOUT)


def test_log_table_is_pinned() -> None:
    """Files depend on it: a platform whose logarithm rounds otherwise must be noticed."""
    table = log_table()
    assert table[[0, 1, 2, 3, 4, 7, 15, 100, 254, 255]].tolist() == [
        0,
        32,
        51,
        64,
        74,
        96,
        128,
        213,
        256,
        256,
    ]
    assert (np.diff(table) >= 0).all()


def test_companded_magnitudes_are_those_of_the_table() -> None:
    codes = np.arange(-INPUT_LIMIT, INPUT_LIMIT + 1)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(compand(codes.astype(dtype)), log_table()[np.abs(codes)])
    nearest = np.abs(ACTIVATION_SCALE * np.log2(1.0 + np.arange(INPUT_LIMIT + 1)) % 1 - 0.5).min()
    assert nearest > 0.0006


def test_integer_runtime_equals_quantised_training() -> None:
    """Means and scales that training computes with fake quantisation are those of the integer onnx_model."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from beholder.codecs.rnn.torch.entropy.models import ContextModel
    from beholder.codecs.rnn.torch.entropy.pyramid import PyramidContext
    from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec
    from beholder.training.codec.export import freeze

    torch.manual_seed(0)
    config = CodecConfig(hidden=8, context=16, eye_width=8, eye_codes=8, machine_network=1)
    codec = LappedTransformCodec(config)
    context = ContextModel(codec.layout, config.context)
    for parameter in context.parameters():  # layers that start at zero must matter here
        torch.nn.init.normal_(parameter, std=0.08)
    context.set_quantise(True)
    entropy = EntropyModel(freeze(codec, context), LAYOUT)
    rng = np.random.default_rng(5)
    everything = rng.integers(-5, 6, (LAYOUT.latent, 6, 5))
    for number, stage in enumerate(LAYOUT.stages):
        now = everything * (LAYOUT._levels(number) >= 0)[:, None, None]
        model = context.stages[number]
        codes = rng.integers(-5, 6, (len(stage.channels), 6, 5))
        seen = LAYOUT.prior_channels(number)
        total = now[:seen] * LAYOUT.step_in_finest_units(number)[:seen, None, None]
        with torch.no_grad():
            inputs = (torch.from_numpy(x[None].astype(np.float32)) for x in (total, now[stage.channels], codes))
            mean, log_scale = model(*inputs)
        for where, tables, whole in entropy._nets[number].passes(codes, now):
            low, high = -3.2, 4.2
            index = (log_scale[0].numpy().reshape(len(codes), -1)[:, where] - low) / (high - low) * (SCALES - 1)
            np.testing.assert_array_equal(tables // MEANS % SCALES, np.rint(index))
            expected = np.rint(mean[0].numpy().reshape(len(codes), -1)[:, where] * MEAN_SCALE)
            if isinstance(model, PyramidContext):
                kind, centre = kind_and_mean(expected.astype(np.int64), plain=number == 0)
                scale = (np.rint(index) - SCALES // 2).astype(np.int64) * (UNIT // SCALE_STEPS)
                chosen, middle = choose_table(kind, centre, scale, unit=MEAN_SCALE)
                np.testing.assert_array_equal(tables, chosen)
                np.testing.assert_array_equal(whole, middle)
                continue
            even = tables // (SCALES * MEANS) == EVEN
            eighths = (tables % MEANS - MEANS // 2) * (MEAN_SCALE // DEAD_ZONE_MEAN_SCALE)
            parts = np.where(even, whole * MEAN_SCALE + tables % MEANS, eighths)
            np.testing.assert_array_equal(parts, expected)
