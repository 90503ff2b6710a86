"""How near training comes to the processor's peak: operations are counted once."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from beholder.training.speed import Speed  # noqa: E402


def test_the_share_of_the_peak_counts_each_kind_of_step_once() -> None:
    speed = Speed(torch.device("cpu"), False)
    speed.peak = 2 * 64**3 * 10.0
    a = torch.ones(64, 64)
    for repeats, part in ((1, "a"), (3, "b"), (5, "a")):
        with speed.counting({"crop": 48}, part):
            for _ in range(repeats):
                a @ a
        # The third is of the first's kind: what was counted then stands.
        assert speed.fraction(2) == pytest.approx({1: 0.2, 3: 0.6, 5: 0.2}[repeats])


class Product(torch.nn.Module):
    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x @ weight


def test_operations_on_views_of_parameters_are_counted() -> None:
    """torch's own counter fails on a module that is given such a view while no gradients are kept."""
    speed = Speed(torch.device("cpu"), False)
    speed.peak = 2 * 3**3 * 10.0
    weight = torch.nn.Parameter(torch.ones(1, 3, 3))
    with speed.counting({"crop": 48}, "a"), torch.no_grad():
        Product()(torch.ones(3, 3), weight[0])
    assert speed.fraction(5) == pytest.approx(0.5)
