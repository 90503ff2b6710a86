"""The entropy model of block activity, mean colours and slopes: its order, its units, its arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.entropy.pyramid import MASKS, MOST_ACTIVITY, PyramidNetwork, inputs, kind_and_mean, pyramid
from beholder.codecs.rnn.entropy.rounding import choose_table
from beholder.codecs.rnn.entropy.tables import DEAD_ZONE, EVEN, MEAN_SCALE, MEANS, SCALES
from beholder.codecs.rnn.layout import LAYOUT, LOW_FREQUENCY, PYRAMID, Layout


@settings(max_examples=30)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_every_position_is_coded_once_from_what_is_known(height: int, width: int) -> None:
    known = np.zeros((height, width), bool)
    for number, step in enumerate(pyramid(height, width)):
        assert not known[step.where].any()
        assert known[step.near][step.valid].all()
        if number:  # all but the first have something to go by
            assert step.valid.any(1).all()
        known[step.where] = True
    assert known.all()


def test_masks_are_those_of_the_transform() -> None:
    """Files depend on them: pinned, and in torch's words."""
    assert MASKS[:8].tolist() == [16, 24, 35, 53, 78, 116, 172, 256]
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from beholder.codecs.rnn.torch.transform import masking

    factors = masking(torch.arange(MOST_ACTIVITY + 1.0)).numpy()
    np.testing.assert_allclose(MASKS / 16, factors, rtol=0.05)


def test_what_neighbours_hold_is_told_in_the_steps_of_this_block() -> None:
    """A picture of one colour whose blocks differ in activity: each code is predicted from its neighbours'."""
    rng = np.random.default_rng(3)
    activity = rng.integers(0, 5, (9, 11))
    colour = np.trunc(60.5 / (MASKS[activity] / 16)).astype(np.int64)
    for step in pyramid(9, 11)[1:]:
        if not len(step.where[0]):
            continue
        reference, _, _ = inputs([activity, colour], step)
        wide = MASKS[activity].max() / MASKS[activity][step.where]  # how coarse the neighbours may be, in steps
        assert (np.abs(reference / 16 - colour[step.where] - 0.5) <= 0.5 + 0.5 * wide).all()


def tables_of(means: list[int], plain: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Family of the tables that code these sixteenths of a step, which of its means, and their integer parts."""
    kind, mean = kind_and_mean(np.array(means), plain)
    tables, whole = choose_table(kind, mean, np.zeros(len(means), np.int64), unit=MEAN_SCALE)
    assert (tables // MEANS % SCALES == SCALES // 2).all()
    assert (tables // MEANS // SCALES == kind).all()
    return kind, tables % MEANS, whole


def test_tables_of_means() -> None:
    """Around 0 the dead zone's tables, beyond it even cells half a step nearer to 0."""
    kind, part, whole = tables_of([-33, -15, 0, 15, 16, 24, 40], plain=False)
    assert kind.tolist() == [EVEN, DEAD_ZONE, DEAD_ZONE, DEAD_ZONE, EVEN, EVEN, EVEN]
    assert (whole * 16 + part)[[0, 4, 5, 6]].tolist() == [-25, 8, 16, 32]
    assert part[1:4].tolist() == [1, 8, 15]
    kind, part, whole = tables_of([-3, 0, 20], plain=True)
    assert (kind == EVEN).all()
    assert (whole * 16 + part).tolist() == [-3, 0, 20]


def test_sums_are_exact() -> None:
    """More digits change nothing."""
    rng = np.random.default_rng(1)
    made = Rnn().model.entropy._nets
    nets = [net for number in range(len(LAYOUT.stages)) if isinstance(net := made[number], PyramidNetwork)]
    assert [net.channels.tolist() for net in nets] == [[channel] for channel in LOW_FREQUENCY]
    for net in nets:
        now = rng.integers(-9, 10, (LAYOUT.latent, 21, 34))
        codes = rng.integers(-60, 60, (1, 21, 34))
        usual = list(net.passes(codes, now))
        kept = net._weights
        try:
            net._weights = {name: weight.astype(np.longdouble) for name, weight in kept.items()}
            long = list(net.passes(codes, now))
        finally:
            net._weights = kept
        for ours, theirs in zip(usual, long, strict=True):
            np.testing.assert_array_equal(ours[1], theirs[1])
            np.testing.assert_array_equal(ours[2], theirs[2])


@pytest.mark.parametrize(
    ("number", "ranges"), [(1, ((4, 5, 0),)), (1, ((1, 3, 0),)), (0, ((1, 2, 0),)), (1, ((1, 2, 1),))]
)
def test_only_low_frequencies_are_a_pyramid(number: int, ranges: tuple[tuple[int, int, int], ...]) -> None:
    """The activity first, one channel a stage, on the coarsest level."""
    stages = list(LAYOUT.stages)
    assert stages[number].passes == PYRAMID
    stages[number] = replace(stages[number], ranges=ranges)
    with pytest.raises(ValueError, match="pyramid"):
        Layout(LAYOUT.latent, tuple(stages))
