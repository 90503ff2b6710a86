"""The encoder's linear reconstruction with NumPy is torch's, whatever the sides and the strips."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from beholder.codecs.rnn import linear, onnx_model  # noqa: E402
from beholder.codecs.rnn.layout import BLOCK  # noqa: E402
from beholder.codecs.rnn.torch.model import LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import exported  # noqa: E402
from beholder.errors import BadOptionError  # noqa: E402


@pytest.fixture(scope="module")
def codec() -> LappedTransformCodec:
    config, (weights, _) = exported(onnx_model.load().folder)
    result = LappedTransformCodec(config)
    result.load_state_dict(result.state_dict() | weights)
    return result


def _latent(height: int, width: int) -> np.ndarray:
    chance = np.random.default_rng(3)
    latent = chance.normal(0, 1, (193, height, width)) / (1 + np.arange(193)[:, None, None])
    latent[0] = chance.integers(0, 5, (height, width))
    return latent.astype(np.float32)


@pytest.mark.parametrize("strip", [1, 7, 1000])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (6, 1), (5, 3), (2, 7)])
def test_picture_and_gradient_are_those_of_torch(
    codec: LappedTransformCodec, monkeypatch: pytest.MonkeyPatch, height: int, width: int, strip: int
) -> None:
    monkeypatch.setattr(linear, "STRIP", strip)
    ours = onnx_model.load().reconstruction
    y_hat = torch.from_numpy(_latent(height, width))[None].requires_grad_()
    picture = codec.synthesis.linear_picture(y_hat)
    expected = (picture.detach()[0].clamp(0, 1) * 255).numpy()
    assert np.ptp(expected) > 20
    assert np.abs(ours.picture(y_hat.detach()[0].numpy()) - expected).max() < 0.51
    gradient = torch.from_numpy(np.random.default_rng(5).normal(size=(3, height * BLOCK, width * BLOCK))).float()
    picture.backward(gradient[None])
    found = ours.vjp(gradient.numpy() / 255, y_hat.detach()[0].numpy())
    np.testing.assert_allclose(found, y_hat.grad[0].numpy(), rtol=1e-4, atol=1e-4)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(onnx_model.load().folder, folder)
    arrays = dict(np.load(folder / linear.FILE))
    for wrong in ({"place": np.array(1 << 40)}, {"place": np.array(-2)}, {"step": arrays["step"][1:]}):
        np.savez(folder / linear.FILE, **arrays | wrong)
        with pytest.raises(BadOptionError, match="damaged"):
            _ = onnx_model.Model(folder).reconstruction
