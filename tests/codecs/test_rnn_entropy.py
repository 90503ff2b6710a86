"""The integer entropy model: exact, invertible, and equal to what training computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.entropy import (
    MEAN_SCALE,
    PROBABILITY_BITS,
    SCALES,
    EntropyModel,
    laplace_tables,
    log_table,
)
from beholder.codecs.rnn.layout import CODE_LIMIT, ITERATIONS, SWIFT, Layout, lattice
from beholder.errors import BadFileError

LAYOUT = Rnn().model.layout
"""That of the model that ships."""


@pytest.fixture(scope="module")
def entropy() -> EntropyModel:
    return Rnn().model.entropy


def test_layout_codes_channels_in_order() -> None:
    """Channels seen so far are a prefix, each is refined at most once a level, all are coded in the end."""
    for t in range(ITERATIONS):
        active = SWIFT.active(t)
        assert (np.diff(active) > 0).all()
        assert active.max() < SWIFT.latent
    assert SWIFT.seen(ITERATIONS) == SWIFT.latent
    worth = np.stack([SWIFT.weights(t) for t in range(ITERATIONS)])
    for channel in worth.T:
        coded = channel[channel > 0]
        assert (np.diff(coded) < 0).all()


def test_layout_survives_storing() -> None:
    stored = Layout.from_rows(SWIFT.latent, SWIFT.rows(), np.array(SWIFT.passes))
    assert stored == SWIFT
    rows = SWIFT.rows()
    rows[0, 2] = SWIFT.latent + 1
    with pytest.raises(ValueError, match="ascend"):
        Layout.from_rows(SWIFT.latent, rows, np.array(SWIFT.passes))


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_lattice_covers_every_position_once(passes: int) -> None:
    which = lattice(5, 7, passes)
    assert set(which.ravel()) == set(range(passes))


def test_tables_are_distributions_with_laplace_shape() -> None:
    tables, reach = laplace_tables()
    assert len(reach) == SCALES * MEAN_SCALE
    parts = np.split(tables.astype(np.int64), np.cumsum(2 * reach + 4)[:-1])
    for index, part in enumerate(parts):
        assert part.sum() == 1 << PROBABILITY_BITS
        assert part.min() >= 1
        if index % MEAN_SCALE == 0:  # mean on a symbol: symmetric about it
            middle = reach[index]
            assert part[: 2 * middle + 1].argmax() == middle
            np.testing.assert_allclose(part[:middle], part[2 * middle : middle : -1], atol=2)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    spread=st.sampled_from([0.3, 2.0, 40.0, 20000.0]),
)
def test_any_codes_come_back(seed: int, height: int, width: int, spread: float) -> None:
    entropy = Rnn().model.entropy
    rng = np.random.default_rng(seed)
    total = np.zeros((LAYOUT.latent, height, width), np.int64)
    for t in range(ITERATIONS):
        active = LAYOUT.active(t)
        drawn = np.rint(rng.laplace(0, spread, (len(active), height, width)))
        codes = np.clip(drawn, -CODE_LIMIT, CODE_LIMIT).astype(np.int64)
        segment = entropy.encode(codes, total, t)
        np.testing.assert_array_equal(entropy.decode(segment, total, t), codes)
        total[active] += codes * LAYOUT.weights(t)[active, None, None]


def test_probabilities_do_not_depend_on_the_order_of_summation(entropy: EntropyModel) -> None:
    """Every product is exact in float32: float64 and integer arithmetic give the same tables and means."""
    rng = np.random.default_rng(1)
    total = rng.integers(-60, 60, (LAYOUT.latent, 5, 6))
    for t in range(ITERATIONS):
        net = entropy._nets[t]
        codes = rng.integers(-9, 10, (len(net.active), 5, 6))
        fast = list(net.passes(codes, total))
        layers = [net.current, net.mix, net.out, net.spread_current, net.before, net.spread_before]
        weights = [layer.weight for layer in layers if layer is not None]
        try:
            for layer in layers:
                if layer is not None:
                    layer.weight = layer.weight.astype(np.float64)
            slow = list(net.passes(codes, total))
        finally:
            for layer, weight in zip([x for x in layers if x is not None], weights, strict=True):
                layer.weight = weight
        for (_, tables, whole), (_, tables64, whole64) in zip(fast, slow, strict=True):
            np.testing.assert_array_equal(tables, tables64)
            np.testing.assert_array_equal(whole, whole64)


def test_weights_that_could_be_inexact_are_refused() -> None:
    arrays = dict(Rnn().model._arrays)
    arrays["3.mix.weight"] = np.full_like(arrays["3.mix.weight"], 30000)
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


def test_integer_runtime_equals_quantised_training() -> None:
    """Means and scales that training computes with fake quantisation are those of the integer runtime."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from beholder.codecs.rnn.model import Swift, SwiftConfig
    from beholder.training.context import ContextModel, IterationContext
    from beholder.training.export import freeze

    torch.manual_seed(0)
    config = SwiftConfig(n=8, m=8, hidden=8, context=16, analysis_blocks=1, synthesis_blocks=1)
    codec = Swift(config)
    context = ContextModel(codec.layout, config.context)
    for parameter in context.parameters():  # layers that start at zero must matter here
        torch.nn.init.normal_(parameter, std=0.08)
    context.set_quantise(True)
    entropy = EntropyModel(freeze(codec, context), SWIFT)
    rng = np.random.default_rng(5)
    total = rng.integers(-40, 40, (SWIFT.latent, 6, 5))
    for t in range(ITERATIONS):
        model = context.iterations[t]
        assert isinstance(model, IterationContext)
        codes = rng.integers(-5, 6, (len(SWIFT.active(t)), 6, 5))
        with torch.no_grad():
            mean, log_scale = model(
                torch.from_numpy(total[None, : SWIFT.seen(t)]).double().float(),
                torch.from_numpy(codes[None]).float(),
            )
        for where, tables, whole in entropy._nets[t].passes(codes, total):
            eighths = whole * MEAN_SCALE + tables % MEAN_SCALE
            expected = np.rint(mean[0].numpy()[:, where[0], where[1]].ravel() * MEAN_SCALE)
            np.testing.assert_array_equal(eighths, expected)
            low, high = -3.2, 4.2
            index = (log_scale[0].numpy()[:, where[0], where[1]].ravel() - low) / (high - low) * (SCALES - 1)
            np.testing.assert_array_equal(tables // MEAN_SCALE, np.rint(index))
