"""The transform that codes start from."""

from __future__ import annotations

import torch

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.torch.transform import ACTIVITY_FLOOR, ACTIVITY_RATE, ACTIVITY_SMOOTHING, block_activity


def codes_of(variances: torch.Tensor) -> torch.Tensor:
    """Activity of blocks (h, w) with one alternating function each."""
    coefficients = (variances * BLOCK**2).sqrt()[None, None]
    return block_activity(coefficients, torch.ones(1, 1, 1))[0, 0]


def test_activity_of_even_texture_is_its_variance() -> None:
    for doublings in (0, 1, 4, 9):
        variance = ACTIVITY_FLOOR * (2.0**doublings - 1)
        assert (codes_of(torch.full((3, 5), variance)) == round(ACTIVITY_RATE * doublings)).all()


def test_neighbours_take_part_in_activity() -> None:
    variances = torch.zeros(3, 3)
    variances[1, 1] = ACTIVITY_FLOOR * (2**30 - 1)
    own = ACTIVITY_RATE * 30
    codes = codes_of(variances)
    assert codes[1, 1] == round((1 - ACTIVITY_SMOOTHING) * own)
    assert codes[0, 1] == codes[1, 0] == codes[2, 1] == codes[1, 2] == round(ACTIVITY_SMOOTHING * own / 4) > 0
    assert codes[0, 0] == codes[2, 2] == 0
