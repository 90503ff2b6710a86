"""The entropy model as training sees it: distributions, causality, and integers where it is quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from beholder.codecs.rnn.entropy.tables import LOG_SCALE_RANGE, MEAN_SCALE, SCALES  # noqa: E402
from beholder.codecs.rnn.layout import LAYOUT, lattice  # noqa: E402
from beholder.codecs.rnn.torch.entropy.laplace import dead_zone_bits, laplace_bits  # noqa: E402
from beholder.codecs.rnn.torch.entropy.models import ContextModel, StageContext  # noqa: E402

STAGES = [6, 8, 9, 17]
"""Channels coded first; refined by one level; by one or two; the finest level."""


def random_context(stage: int, quantise: bool) -> StageContext:
    torch.manual_seed(stage)
    model = StageContext(LAYOUT, stage, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.set_quantise(quantise)
    return model


def random_codes(stage: int, height: int = 5, width: int = 6) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(stage)
    refines = torch.from_numpy(LAYOUT.refinement(stage) >= 0)[:, None, None]
    codes = torch.randn(2, len(refines), height, width, generator=generator) * 3
    old = torch.randn(2, len(refines), height, width, generator=generator) * 2 * refines
    total = torch.randn(2, LAYOUT.prior_channels(stage), height, width, generator=generator) * 40
    total[:, :1] *= 100  # far beyond what the network's inputs are clipped to
    return total.round(), old.round(), codes.round()


@pytest.mark.parametrize("log_scale", [-3.2, -1.0, 0.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 0.375, -2.5])
def test_probabilities_of_all_symbols_sum_to_one(mean: float, log_scale: float) -> None:
    symbols = torch.arange(-400.0, 401.0, dtype=torch.float64)
    bits = laplace_bits(symbols, torch.tensor(mean).double(), torch.tensor(log_scale).double())
    assert (bits >= 0).all()
    assert float((2**-bits).sum()) == pytest.approx(1, abs=1e-5)


def test_far_symbols_cost_finite_bits_and_gradients() -> None:
    q = torch.tensor([0.0, 0.5, 3.0, -50.0, 30000.0])
    mean, log_scale = torch.zeros(5, requires_grad=True), torch.full((5,), -3.2, requires_grad=True)
    bits = laplace_bits(q, mean, log_scale)
    bits.sum().backward()
    assert bits.isfinite().all()
    assert mean.grad.isfinite().all()
    assert log_scale.grad.isfinite().all()


def test_entropy_model_learns() -> None:
    torch.manual_seed(0)
    context = ContextModel(LAYOUT, 8)
    y = torch.randn(1, 193, 1, 1) + torch.randn(1, 193, 4, 4) * 0.5
    y[:, 0] = 2
    codes = [
        torch.trunc(y * torch.from_numpy(2.0 ** LAYOUT.levels(t) * (LAYOUT.levels(t) >= 0))[:, None, None].float())
        for t in range(8)
    ]
    optimiser = torch.optim.Adam(context.parameters(), lr=0.02)
    bits = []
    for _ in range(10):
        cost = context.bits(codes)
        assert cost.shape == (1, 8)
        optimiser.zero_grad()
        cost.sum().backward()
        optimiser.step()
        bits.append(cost.detach()[0])
    assert (bits[-1] < bits[0]).all()


@pytest.mark.parametrize("iteration", [0, 1, 2, 7])
def test_slopes_are_what_moving_one_code_costs(iteration: int) -> None:
    """Moved for real, one by one: codes that no prediction reads, of the last pass of the last stage."""
    torch.manual_seed(2)
    context = ContextModel(LAYOUT, 8)
    with torch.no_grad():
        for parameter in context.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    y = torch.randn(1, 193, 4, 4) * 1.5
    y[:, 0] = 2
    latents = []
    for t in range(iteration + 1):
        levels = LAYOUT.levels(t)
        latents.append(torch.trunc(y * torch.from_numpy(2.0**levels * (levels >= 0))[:, None, None].float()))
    direction = torch.where(torch.rand(1, 193, 4, 4) < 0.5, -1.0, 1.0)
    slopes, total = context.rate_gradient(latents, direction), context.bits(latents).sum()
    stage = max(LAYOUT.stages_of(iteration))
    last = lattice(4, 4, LAYOUT.stages[stage].passes) == LAYOUT.stages[stage].passes - 1
    places = [(int(c), *map(int, place)) for c in LAYOUT.stages[stage].channels[:12] for place in np.argwhere(last)[:3]]
    checked = 0
    for place in places:
        slope = slopes[-1][0][place]
        if slope == 0:
            continue
        moved = [latent.clone() for latent in latents]
        moved[-1][0][place] += direction[0][place]
        torch.testing.assert_close(
            (context.bits(moved).sum() - total) * direction[0][place],
            slope,
            rtol=0,
            atol=2e-3 + 1e-5 * float(total.detach()),
        )
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("quantise", [False, True])
def test_a_pass_reads_only_earlier_passes(stage: int, quantise: bool) -> None:
    """Predictions stay as they are whatever is written at their own and later passes: files can be decoded."""
    model = random_context(stage, quantise)
    total, old, codes = random_codes(stage)
    passes = LAYOUT.stages[stage].passes
    which = torch.from_numpy(lattice(5, 6, passes))
    with torch.no_grad():
        expected = model(total, old, codes)
        for p in range(passes):
            unknown = torch.where(which >= p, 7 - 2 * codes, codes)
            for have, want in zip(model(total, old, unknown), expected, strict=True):
                assert torch.equal(have[..., which == p], want[..., which == p])
                if p + 1 < passes:
                    assert not torch.equal(have, want)


@pytest.mark.parametrize("stage", STAGES)
def test_quantised_entropy_model_computes_integers(stage: int) -> None:
    """Single and double precision agree exactly, on grids of sixteenths and of 64 scales."""
    inputs = random_codes(stage)
    low, high = LOG_SCALE_RANGE
    results = []
    for kind in (torch.float32, torch.float64):
        model = random_context(stage, quantise=True).to(kind)
        with torch.no_grad():
            mean, log_scale = model(*(x.to(kind) for x in inputs))
        index = (log_scale - low) / (high - low) * (SCALES - 1)
        assert (index - index.round()).abs().max() < 1e-3
        results.append((mean.double() * MEAN_SCALE, index.round().double()))
    for single, double in zip(*results, strict=True):
        assert torch.equal(single, double)
        assert torch.equal(single, single.round())
        assert len(single.unique()) > 3


@pytest.mark.parametrize("edge", [2, 4])
@pytest.mark.parametrize("mean", [-1.0, -0.25, 0.0, 0.875])
@pytest.mark.parametrize("log_scale", [-3.0, -0.5, 1.0, 3.5])
def test_probabilities_of_a_split_sum_to_one(mean: float, log_scale: float, edge: int) -> None:
    symbols = torch.arange(-edge + 1.0, edge, dtype=torch.float64)
    arguments = (torch.tensor(x).double() for x in (mean, log_scale, float(edge)))
    assert float((2 ** -dead_zone_bits(symbols, *arguments)).sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("mean", [-1.0, -0.25, 0.0, 0.875])
@pytest.mark.parametrize("log_scale", [-3.0, -0.5, 1.0, 3.5])
def test_dead_zone_probabilities_sum_to_one(mean: float, log_scale: float) -> None:
    symbols = torch.arange(-700.0, 701.0, dtype=torch.float64)
    arguments = (torch.tensor(x).double() for x in (mean, log_scale, 0.0))
    assert float((2 ** -dead_zone_bits(symbols, *arguments)).sum()) == pytest.approx(1, abs=1e-4)


def test_truncated_laplace_samples_cost_least_under_their_own_parameters() -> None:
    """Codes of truncated Laplace samples are cheapest, on average, for the mean and scale they were drawn with."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(40000, generator=generator, dtype=torch.float64) - 0.5
    samples = 0.4 - 1.5 * uniform.sign() * torch.log1p(-2 * uniform.abs())
    codes = torch.trunc(samples)
    edge = torch.tensor(0.0)

    def cost(mean: float, scale: float) -> float:
        return float(
            dead_zone_bits(codes, torch.tensor(mean).double(), torch.tensor(scale).double().log(), edge).mean()
        )

    best = cost(0.4, 1.5)
    assert all(best < cost(mean, scale) for mean, scale in ((0.1, 1.5), (0.7, 1.5), (0.4, 1.2), (0.4, 1.9)))
