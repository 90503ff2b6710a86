"""`scripts/prune_step.py`: blocks of the learned step that do nothing, in a shipped model's folder."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from beholder import samples  # noqa: E402
from beholder.codecs.rnn import Rnn, onnx_model  # noqa: E402
from beholder.codecs.rnn.torch.entropy.models import ContextModel  # noqa: E402
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import exported  # noqa: E402
from beholder.reading import load  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import prune_step  # noqa: E402

SIZES = {"hidden": 8, "context": 8, "step_width": 16, "step_blocks": 3}


@pytest.fixture(scope="module")
def codec() -> LappedTransformCodec:
    """Its second block is dead: all that it adds is a bias."""
    torch.manual_seed(1)
    codec = LappedTransformCodec(CodecConfig(**SIZES)).eval().requires_grad_(False)
    assert codec.step is not None
    for number, block in enumerate(codec.step.body):
        torch.nn.init.normal_(block.second.weight, std=0.5)
        torch.nn.init.uniform_(block.second.bias)
        if number == 1:
            block.first.weight.zero_()
            block.first.bias.fill_(-40)
    torch.nn.init.normal_(codec.step.leave.weight, std=0.1)
    return codec


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    cut = load(samples.path("coffee")).convert("RGB").crop((100, 100, 196, 180))
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1)[None].float() / 255


def test_a_dead_block_is_left_out_and_nothing_changes(codec: LappedTransformCodec, images: torch.Tensor) -> None:
    context = ContextModel(codec.layout, SIZES["context"])
    found = prune_step.measure(codec, context, images)
    assert [ratio >= prune_step.LEAST for ratio, _ in found] == [True, False, True]
    smaller = prune_step.pruned(codec, found)
    assert smaller.config.step_blocks == 2
    rng = torch.Generator().manual_seed(0)
    codes = torch.round(3 * torch.randn(1, codec.layout.latent, 5, 6, generator=rng))
    gradient = 1e-4 * torch.randn(codes.shape, generator=rng)
    inputs = codes, codes + 0.1, gradient, torch.tensor([3])
    assert smaller.step is not None
    assert codec.step is not None
    torch.testing.assert_close(smaller.step(*inputs), codec.step(*inputs), atol=1e-5, rtol=1e-4)


def test_the_first_block_stays(codec: LappedTransformCodec) -> None:
    nothing = [(0.0, torch.zeros(SIZES["step_width"]))] * 3
    assert prune_step.pruned(codec, nothing).config.step_blocks == 1


def test_a_models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What ships has been pruned, so nothing more goes, and files stay the same."""
    folder = tmp_path / "codec"
    shutil.copytree(onnx_model.load().folder, folder)
    before = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    photos = Path(samples.path("coffee")).parent
    monkeypatch.setattr(sys, "argv", ["prune_step.py", str(folder), "--data", str(photos), "--limit", "1"])
    prune_step.main()
    assert "block 1: " in capsys.readouterr().out
    assert json.loads((folder / "model.json").read_text(encoding="utf-8")) == before
    assert exported(folder)[0].step_blocks == 1
    picture = load(samples.path("coffee")).convert("RGB").crop((0, 0, 160, 128))
    assert Rnn(model=folder).encode(picture, 4) == Rnn().encode(picture, 4)
