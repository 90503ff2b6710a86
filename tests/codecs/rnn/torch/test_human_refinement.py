"""What corrects pictures for humans: its gradient by hand, how far it sees, what it starts as."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from beholder.codecs.rnn import onnx_model  # noqa: E402
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS  # noqa: E402
from beholder.codecs.rnn.torch.human_refinement import HumanRefinement  # noqa: E402
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.refinement import film_index  # noqa: E402

SMALL = CodecConfig(hidden=8, context=8, eye_width=8, eye_blocks=4, eye_codes=8)


@pytest.fixture
def codec() -> LappedTransformCodec:
    """Weights drawn by chance, larger than they begin, so that everything matters."""
    torch.manual_seed(0)
    codec = LappedTransformCodec(SMALL)
    network = codec.synthesis.eye_network
    assert isinstance(network, HumanRefinement)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return codec


def belief_of(codec: LappedTransformCodec, height: int, width: int) -> torch.Tensor:
    image = torch.rand(2, 3, height * BLOCK, width * BLOCK, generator=torch.Generator().manual_seed(1))
    alpha = torch.zeros(2)
    _, y_hat = codec.quantiser(codec.analysis(image), alpha, torch.tensor([2, 5]))
    found: torch.Tensor = y_hat.detach()
    return found


def test_the_gradient_by_hand_is_autograds(codec: LappedTransformCodec) -> None:
    y_hat = belief_of(codec, 4, 6).double().requires_grad_(True)
    codec.double()
    index = film_index(torch.tensor([2, 5]), torch.tensor([3, 0]))
    assert index.tolist() == [2, 5 + ITERATIONS]
    gradient = torch.randn(2, 3, 4 * BLOCK, 6 * BLOCK, generator=torch.Generator().manual_seed(2)).double()
    (wanted,) = torch.autograd.grad((codec.synthesis.for_human(y_hat, index) * gradient).sum(), y_hat)
    with torch.no_grad():
        picture, slopes = codec.synthesis.for_human_with_slopes(y_hat, index)
        found = codec.synthesis.for_human_vjp(gradient, y_hat, index, slopes)
        torch.testing.assert_close(picture, codec.synthesis.for_human(y_hat, index), rtol=0, atol=1e-5)
    assert float(wanted[:, 1:].abs().max()) > 1
    torch.testing.assert_close(found[:, 1:], wanted[:, 1:], rtol=1e-5, atol=1e-3)
    assert not found[:, 0].any()


def test_a_new_network_changes_nothing() -> None:
    codec = LappedTransformCodec(SMALL)
    y_hat = belief_of(codec, 3, 3)
    index = torch.tensor([2, 5])
    with torch.no_grad():
        with_network = codec.synthesis.for_human(y_hat, index)
        codec.synthesis.eye_network = None
        assert torch.equal(with_network, codec.synthesis.for_human(y_hat, index))


def test_it_sees_no_further_than_tiles_overlap(codec: LappedTransformCodec) -> None:
    """Tiles of a large picture have margins: what lies beyond must not matter."""
    wide, far = 3 + 2 * onnx_model.MARGIN["eye"], onnx_model.MARGIN["eye"] + 1
    y_hat = belief_of(codec, 3, wide)
    other = y_hat.clone()
    other[..., : wide // 2 - far + 1] += 3
    index = torch.tensor([2, 5])
    with torch.no_grad():
        before, after = (codec.synthesis.for_human(x, index).numpy() for x in (y_hat, other))
    middle = slice(wide // 2 * BLOCK, (wide // 2 + 1) * BLOCK)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_allclose(before[..., middle], after[..., middle], atol=1e-5)
