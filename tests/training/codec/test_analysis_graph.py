"""`analysis.onnx` is rearranged for speed, and gives what torch's analysis gives; the script that draws it anew."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

import onnxruntime  # noqa: E402

from beholder import weights  # noqa: E402
from beholder.codecs.rnn import Rnn, onnx_model  # noqa: E402
from beholder.codecs.rnn.layout import BLOCK, LAYOUT  # noqa: E402
from beholder.codecs.rnn.torch.model import Analysis, CodecConfig, LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import exported  # noqa: E402
from beholder.training.codec.graphs import draw  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from redraw_graphs import main, redraw  # noqa: E402

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 9), (9, 1), (5, 7)]


@pytest.fixture(scope="module")
def trained() -> LappedTransformCodec:
    """A codec whose analysis is no longer the fixed transform, in weights that 16-bit floats hold."""
    codec = LappedTransformCodec(CodecConfig(hidden=8, context=8))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in (*codec.analysis.parameters(), codec.analysis.step):
            tensor.mul_(1 + 0.1 * torch.randn(tensor.shape, generator=generator))
            tensor.add_(0.003 * torch.rand(tensor.shape, generator=generator))
            tensor.copy_(tensor.half())
    return codec.eval()


@pytest.fixture(scope="module")
def drawn(trained: LappedTransformCodec) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(draw(trained, "analysis"), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def shipped() -> Analysis:
    _, (weights, _) = exported(onnx_model.load().folder)
    analysis = Analysis(LAYOUT).eval()
    analysis.load_state_dict({name: weights[f"analysis.{name}"] for name in analysis.state_dict()})
    return analysis


def by_torch(analysis: Analysis, pixels: np.ndarray) -> np.ndarray:
    """The latent (C, H, W) in double precision."""
    with torch.no_grad():
        image = torch.from_numpy(pixels.copy())[None].double() / 255
        latent: np.ndarray = analysis.double()(image)[0].numpy()
    analysis.float()
    return latent


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_trained_analysis_is_that_of_torch(
    trained: LappedTransformCodec, drawn: onnxruntime.InferenceSession, height: int, width: int
) -> None:
    """Whatever the borders, of which the narrowest pictures have none."""
    chance = np.random.default_rng(height * 10 + width)
    pixels = chance.integers(0, 256, (3, BLOCK * height, BLOCK * width)).astype(np.uint8)
    expected = by_torch(trained.analysis, pixels)
    found = drawn.run(None, {"image": pixels[None], "alpha": np.zeros(1, np.float32)})[0][0]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_flat_pictures(shipped: Analysis, level: int, height: int, width: int) -> None:
    pixels = np.full((3, BLOCK * height, BLOCK * width), level, np.uint8)
    found = onnx_model.load().analyse(pixels, 0.0)
    np.testing.assert_allclose(found, by_torch(shipped, pixels), atol=5e-4)
    assert not found[0].any()


def test_the_shipped_analysis_is_that_of_torch(shipped: Analysis, big_photo: Image.Image) -> None:
    pixels = np.asarray(big_photo)[: 12 * BLOCK, : 15 * BLOCK].transpose(2, 0, 1)
    found = onnx_model.load().analyse(pixels, 0.0)
    np.testing.assert_allclose(found, by_torch(shipped, pixels), rtol=1e-4, atol=2e-4)


def test_two_blocks_around_a_tile_are_enough(big_photo: Image.Image) -> None:
    """Pixels farther away than the margin change nothing."""
    margin = onnx_model.MARGIN["analysis"]
    pixels = np.asarray(big_photo)[: 9 * BLOCK, : 9 * BLOCK].transpose(2, 0, 1).copy()
    latent = onnx_model.load().analyse(pixels, 0.0)
    changed = pixels.copy()
    changed[..., 4 * BLOCK :, :] = 255 - changed[..., 4 * BLOCK :, :]
    found = onnx_model.load().analyse(changed, 0.0)
    np.testing.assert_array_equal(found[:, : 4 - margin], latent[:, : 4 - margin])
    assert (found[:, 4 - margin :] != latent[:, 4 - margin :]).any()


def test_no_picture_is_transposed() -> None:
    """Transposes took half of the time; those of weights are done when the graph is loaded."""
    graph = onnx.load(weights.CODEC / "analysis.onnx").graph
    constant = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if all(name in constant for name in node.input):
            constant |= set(node.output)
    transposed = [node for node in graph.node if node.op_type == "Transpose"]
    assert transposed
    assert [node.name for node in transposed if node.input[0] not in constant] == []
    assert sum(node.op_type == "Conv" for node in graph.node) == 1


def test_redrawn_graphs_do_what_they_did(
    tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analysis that ships is the one that the script draws, and files stay readable."""
    folder = tmp_path / "codec"
    shutil.copytree(weights.CODEC, folder)
    data = Rnn().encode(photo, 2)
    monkeypatch.setattr(sys, "argv", ["redraw_graphs.py", str(folder), "analysis"])
    main()
    assert onnx_model.load().identity.hex() in capsys.readouterr().out
    again = Rnn(folder)
    assert again.encode(photo, 2) == data
    assert again.decode(data).size == photo.size
    assert json.loads((folder / "model.json").read_text()) == onnx_model.load().card


def test_a_redrawn_decoder_has_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(weights.CODEC, folder)
    stored = (folder / "recurrence.onnx").read_bytes()
    model = onnx.load_from_string(stored)
    model.doc_string = "drawn by other code"
    monkeypatch.setattr("redraw_graphs.draw", lambda codec, name: model.SerializeToString())
    redraw(folder, ["recurrence"])
    changed = onnx_model.load(folder)
    assert changed.identity != onnx_model.load().identity
    assert changed.card["identity"] == changed.identity.hex()
