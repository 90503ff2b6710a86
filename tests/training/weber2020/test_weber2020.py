"""The reference's network: its formulas, its rates, the right residual, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from beholder.errors import BadOptionError  # noqa: E402
from beholder.training.codec.run import CONFIGS, build, read_settings  # noqa: E402
from beholder.training.weber2020.model import (  # noqa: E402
    MEAN,
    VARIANCE,
    ConvGRU,
    ConvLSTM,
    SameConv,
    Weber2020,
    Weber2020Config,
    binarize,
)

TINY: dict[str, Any] = {
    "architecture": "paper",
    "model": {"iterations": 3, "width": 0.0625},
    "steps": 20,
    "phases": [{"until": 20, "crop": 32, "batch": 2}],
    "lr": 0.002,
}


@pytest.fixture
def image() -> Any:
    return torch.from_numpy(np.asarray(make_photo(48, 32)).copy()).permute(2, 0, 1)[None].float() / 255


def tiny(**options: Any) -> Weber2020:
    torch.manual_seed(0)
    return Weber2020(Weber2020Config(width=0.0625, **options)).eval()


@pytest.mark.parametrize(
    ("cell", "parameters", "multiply_adds"), [("gru", 22_669_699, 525_968), ("lstm", 30_214_531, 701_072)]
)
def test_size_and_cost_of_the_full_network(cell: str, parameters: int, multiply_adds: int) -> None:
    """The figures in the module's docstring, for one iteration, by shapes alone."""
    count = 0

    def add(module: Any, _: Any, output: Any) -> None:
        nonlocal count
        count += output.numel() * module.weight[0].numel()

    with torch.device("meta"):
        model = Weber2020(Weber2020Config(cell=cell))
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(add)
        images, codes = model(torch.zeros(1, 3, 64, 96), iterations=1)
    assert images[0].shape == (1, 3, 64, 96)
    assert codes[0].shape == (1, 32, 4, 6)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert count == multiply_adds * 64 * 96


def test_gru_is_the_formula() -> None:
    torch.manual_seed(1)
    cell = ConvGRU(3, 5, (3, 3), stride=2)
    x, h = torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3)
    wr, wz, wc = cell.inputs.weight.chunk(3)
    ur, uz = cell.gates.weight.chunk(2)
    r, z = (
        torch.sigmoid(F.conv2d(x, w, stride=2, padding=1) + F.conv2d(h, u, padding=1)) for w, u in ((wr, ur), (wz, uz))
    )
    c = torch.tanh(F.conv2d(x, wc, stride=2, padding=1) + F.conv2d(r * h, cell.candidate.weight, padding=1))
    torch.testing.assert_close(cell(x, (h,))[0], z * c + (1 - z) * h)
    torch.testing.assert_close(cell(x, None), cell(x, (torch.zeros_like(h),)))
    assert not [name for name, _ in cell.named_parameters() if "bias" in name]


def test_lstm_is_the_formula() -> None:
    torch.manual_seed(1)
    cell = ConvLSTM(3, 5, (3, 1))
    x, h, c = torch.randn(2, 3, 4, 3), torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    i, f, o, g = (
        F.conv2d(x, w, padding=1) + F.conv2d(h, u)
        for w, u in zip(cell.inputs.weight.chunk(4), cell.gates.weight.chunk(4), strict=True)
    )
    memory = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    new = cell(x, (h, c))
    torch.testing.assert_close(new, (torch.sigmoid(o) * torch.tanh(memory), memory))
    zeros = torch.zeros_like(h)
    torch.testing.assert_close(cell(x, None), cell(x, (zeros, zeros)))
    assert not [name for name, _ in cell.named_parameters() if "bias" in name]


def test_kernel_of_two_sees_right_and_below() -> None:
    conv = SameConv(1, 1, 2)
    x = torch.zeros(1, 1, 5, 4)
    x[0, 0, 2, 2] = 1
    seen = conv(x)[0, 0]
    assert seen.shape == (5, 4)
    assert set(map(tuple, seen.nonzero().tolist())) == {(1, 1), (1, 2), (2, 1), (2, 2)}


@pytest.mark.parametrize("mode", ["additive", "one_shot"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_residual_is_original_minus_reconstruction(image: Any, cell: str, mode: str) -> None:
    model = tiny(cell=cell, mode=mode, iterations=4)
    inputs, predictions = [], []
    model.encoder.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    model.decoder.register_forward_hook(lambda _, args, output: predictions.append(output[0]))
    images, _ = model(image)
    mean = torch.tensor(MEAN)[:, None, None]
    spread = torch.tensor(VARIANCE)[:, None, None].sqrt()
    torch.testing.assert_close(inputs[0], (image * 255 - mean) / spread, atol=1e-5, rtol=0)
    for t in range(1, 4):
        residual = (image - images[t - 1]) * 255 / spread
        torch.testing.assert_close(inputs[t], residual, atol=1e-5, rtol=0)
    total = sum(predictions) if mode == "additive" else predictions[-1]
    torch.testing.assert_close(images[-1], (total * spread + mean) / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["additive", "one_shot"])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 20)])
def test_decoder_alone_gives_what_the_encoder_saw(mode: str, size: tuple[int, int]) -> None:
    model = tiny(mode=mode)
    with torch.no_grad():
        images, codes = model(torch.rand(2, 3, *size))
        for quality in (1, 3, 8):
            alone = model.decode(codes[:quality], *size)
            assert alone.shape == (2, 3, *size)
            torch.testing.assert_close(alone, images[quality - 1])
    blocks = (-(-size[0] // 16), -(-size[1] // 16))
    assert all(c.shape == (2, 32, *blocks) for c in codes)
    assert all(set(c.unique().tolist()) <= {-1.0, 1.0} for c in codes)
    with pytest.raises(ValueError, match="no codes"):
        model.decode([], *size)


def test_binarizer() -> None:
    x = torch.linspace(-1, 1, 5).repeat(20_000, 1).requires_grad_()
    torch.manual_seed(0)
    drawn = binarize(x, stochastic=True)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    shares = (drawn > 0).float().mean(0)
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), atol=0.02, rtol=0)
    weight = torch.randn_like(drawn)
    (drawn * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)
    assert binarize(x[0], stochastic=False).tolist() == [-1, -1, 1, 1, 1]


def test_random_codes_only_in_training(image: Any) -> None:
    model = tiny()
    with torch.no_grad():
        first, second = model(image)[1][0], model(image)[1][0]
        assert torch.equal(first, second)
        model.train()
        first, second = model(image)[1][0], model(image)[1][0]
        assert not torch.equal(first, second)


def test_reconstruct_tells_raw_bits(image: Any) -> None:
    module = build(TINY, 0.0).eval()
    result = module.reconstruct(image.repeat(2, 1, 1, 1), 0.0)
    assert [b.tolist() for _, b in result] == [[0.125] * 2, [0.25] * 2, [0.375] * 2]
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x, _ in result)


@pytest.mark.parametrize("mode", ["additive", "one_shot"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_learns(image: Any, cell: str, mode: str) -> None:
    torch.manual_seed(0)
    module = build(TINY | {"model": TINY["model"] | {"cell": cell, "mode": mode}}, 0.0)
    optimiser = torch.optim.Adam(module.parameter_groups(0.01))
    losses = []
    for step in range(16):
        module.begin_step(step, [])
        loss, figures = module.loss(image, torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 100  # of 5000 (1 - MS-SSIM)
    assert figures["train/distortion"] == pytest.approx(losses[-1])
    assert figures["train/bpp_3"] == 0.375


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("paper_*.json")), ids=lambda p: p.stem)
def test_shipped_configs_build(path: Any) -> None:
    settings = read_settings(path.stem)
    with torch.device("meta"):
        module = build(settings, 0.0)
    config = module.codec.config
    assert f"paper_{config.cell}" + ("" if config.mode == "additive" else "_one_shot") == path.stem
    assert (config.iterations, config.width, settings["lr"]) == (8, 1.0, 4e-4)


@pytest.mark.parametrize(
    ("alpha", "change", "message"),
    [
        (None, {}, "one observer"),
        (0.0, {"phases": [{"until": 1, "crop": 100, "batch": 2}]}, "multiple of 16"),
        (0.0, {"model": {"cell": "rnn"}}, 'model.cell is "rnn": give one of gru, lstm'),
        (0.0, {"model": {"mode": "both"}}, "additive, one_shot"),
        (0.0, {"model": {"iterations": 9}}, "from 1 to 8"),
        (0.0, {"model": {"width": "wide"}}, 'model.width is "wide": give a number'),
        (0.0, {"model": {"depth": 3}}, "unknown key model.depth: write width"),
        (0.0, {"architecture": "papers"}, "give swift or paper"),
    ],
)
def test_bad_options(alpha: float | None, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOptionError, match=message):
        build(TINY | change, alpha)
