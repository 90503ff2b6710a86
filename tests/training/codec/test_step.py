"""Training of the encoder's learned step, on a toy codec."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo

torch = pytest.importorskip("torch")


from beholder.codecs.rnn import onnx_model  # noqa: E402
from beholder.codecs.rnn.optimise.adjust import propose  # noqa: E402
from beholder.codecs.rnn.torch.entropy.models import ContextModel  # noqa: E402
from beholder.codecs.rnn.torch.human_distortion import human_distortion  # noqa: E402
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import exported  # noqa: E402
from beholder.training.codec.run import build  # noqa: E402
from beholder.training.codec.step import StepObjective, fit_rate  # noqa: E402

SIZES = {"hidden": 8, "context": 8, "eye_width": 8, "eye_blocks": 1, "eye_codes": 8, "step_width": 16, "step_blocks": 1}
SETTINGS: dict[str, Any] = {
    "architecture": "swift",
    "model": SIZES,
    "steps": 3,
    "phases": [{"until": 3, "crop": 64, "batch": 2}],
    "lr": 0.002,
    "quantise_from": 0,
    "parts": [["step", 3]],
    "dither": [0.2, 0.1],
    "seed": 3,
}


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    pixels = np.stack([np.asarray(make_photo(64, 64, seed=i)).transpose(2, 0, 1) for i in range(2)])
    return torch.from_numpy(pixels).float() / 255


def make() -> tuple[LappedTransformCodec, ContextModel]:
    torch.manual_seed(0)
    codec = LappedTransformCodec(CodecConfig(**SIZES))
    context = ContextModel(codec.layout, SIZES["context"])
    context.set_quantise(True)
    context.requires_grad_(False)
    return codec, context


def cost(codec: LappedTransformCodec, context: ContextModel, image: torch.Tensor, t: int) -> float:
    """Of whole codes, as files hold them."""
    assert codec.step is not None
    decoded, bits = StepObjective(codec, context, image, t).reconstruct()
    bpp = bits / image[0, 0].numel()
    return float((human_distortion(decoded, image) + codec.step.lagrange[t] * bpp.log()).mean())


def test_whole_codes_become_better_within_few_steps(image: torch.Tensor) -> None:
    codec, context = make()
    assert codec.step is not None
    fit_rate(codec, context, image)
    codec.requires_grad_(False)
    weights = [p for name, p in codec.step.named_parameters() if name != "rate"]
    for weight in weights:
        weight.requires_grad_(True)
    before = cost(codec, context, image, 3)
    optimiser = torch.optim.Adam(weights, lr=6e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        optimiser.zero_grad()
        StepObjective(codec, context, image, 3).loss(0.1, generator)[0].backward()
        optimiser.step()
    assert cost(codec, context, image, 3) < before - 0.02


def test_the_estimated_rate_is_near_the_entropy_models(image: torch.Tensor) -> None:
    codec, context = make()
    assert codec.step is not None
    assert not codec.step.has_fitted_rate
    fit_rate(codec, context, image)
    assert codec.step.has_fitted_rate
    for t in (1, 6):
        objective = StepObjective(codec, context, image, t)
        latents = [torch.trunc(objective.begun * ratio) for ratio in objective.step_ratios]
        bpp = context.bits(latents).sum(1) / image[0, 0].numel()
        multiplier = codec.step.multiplier(objective.begun, objective.t[:1]).flatten() * image[0, 0].numel()
        torch.testing.assert_close(codec.step.lagrange[t] / multiplier, bpp, rtol=0.1, atol=0)


@pytest.mark.parametrize("t", [0, 3, 7])
def test_the_step_is_its_formula(t: int) -> None:
    """As NumPy computes it, where codes are 0, of either sign, or stay."""
    codec, _ = make()
    step = codec.step
    assert step is not None
    generator = torch.Generator().manual_seed(t)
    with torch.no_grad():
        for weight in (step.film, step.table, step.leave.weight, step.leave.bias, step.rate):
            weight.add_(0.2 * torch.rand(weight.shape, generator=generator))
        chance = np.random.default_rng(t)
        begun = np.rint(chance.laplace(0, 1.5, (2, codec.layout.latent, 5, 3)))
        place = begun + chance.uniform(0, 0.49, begun.shape) * np.where(
            begun, np.sign(chance.normal(size=begun.shape)), 1
        )
        place *= chance.random(begun.shape) > 0.1 * (begun == 0)
        gradient = 1e-2 * chance.standard_cauchy(begun.shape) * (chance.random(begun.shape) > 0.1)
        given = [torch.from_numpy(x) for x in (begun, place, gradient)]
        found = step.double()(*given, torch.tensor([t])).numpy()

        rate, lagrange = step.rate[t].numpy(), float(step.lagrange[t])
        codes = np.abs(begun[:, 1:])
        bits = rate[0] + rate[1] * (codes > 0).sum(1) + rate[2] * np.log2(1 + codes).sum(1)
        bpp = np.maximum(bits.mean((1, 2)) / 256, 0.02)
        in_bits = gradient * step.coded[t].numpy()[:, None, None] * (bpp * 5 * 3 * 256 / lagrange)[:, None, None, None]
        sign, size = np.where(place < 0, -1, 1), np.log2(1 + np.abs(begun))
        distance, g = np.abs(place) - np.abs(begun), np.arcsinh(in_bits * sign)
        features = torch.from_numpy(np.concatenate([2 * distance, size - 0.3 * (size > 0), 0.5 * g], 1))
        scale, shift = step.film[t].reshape(2, -1, 1, 1)
        silu = torch.nn.functional.silu
        left = step.leave(silu(step.body(silu(step.enter(features) * (1 + scale) + shift)))).numpy()
        a, b, c = np.split(left + step.table[t].numpy()[:, None, None], 3, 1)
    moved = place + sign * 1.5 * np.tanh((a + b * distance + c * g) / 1.5)
    free = step.free[t].numpy()[:, None, None] > 0
    assert np.abs(moved - begun)[:, free[:, 0, 0]].max() > 0.5
    np.testing.assert_allclose(found, np.where(free, moved, begun), atol=1e-6)


def test_only_the_step_and_the_human_synthesis_learn(image: torch.Tensor) -> None:
    module = build(copy.deepcopy(SETTINGS), 0.0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.begin_step(0, [copy.deepcopy(m) for m in module.averaged()])
    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-3)
    module.loss(image, torch.Generator().manual_seed(1))[0].backward()
    optimiser.step()
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("codec.step.leave") for name in changed)
    assert any(name.startswith("codec.synthesis.eye_network") for name in changed)
    assert all(name.startswith(("codec.step.", "codec.synthesis.eye_", "codec.quantiser.")) for name in changed)


def test_the_shipped_graphs_compute_what_torch_does(image: torch.Tensor) -> None:
    model = onnx_model.load()
    pixels = (image[0].numpy() * 255).round().astype(np.uint8)
    gains = [model.steps.gain(0.0, t, 3) for t in range(3)]
    moved = propose(model, pixels, model.analyse(pixels, 0.0), gains)
    config, (weights, _) = exported(model.folder)
    codec = LappedTransformCodec(config)
    codec.load_state_dict(codec.state_dict() | weights)
    context = ContextModel(codec.layout, config.context)
    with torch.no_grad():
        theirs = StepObjective(codec, context, image[:1], 2).propose()[0].numpy()
    # The runtime rounds the linear reconstruction to 1/255.
    assert np.abs(moved - theirs).mean() < 0.01
    assert (np.round(moved) != np.round(theirs)).mean() < 0.01
