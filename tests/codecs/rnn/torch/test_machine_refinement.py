"""What corrects pictures for machines: what it begins as, how far it sees, and that the human has nothing of it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from beholder.codecs.rnn import onnx_model  # noqa: E402
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS  # noqa: E402
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec  # noqa: E402

SMALL = CodecConfig(hidden=8, context=8, eye_width=8, eye_blocks=4, eye_codes=8, machine_network=1)
T = torch.tensor([2, 5])
ROW = T + torch.tensor([0, ITERATIONS])


def drawn(part: torch.nn.Module) -> None:
    """Weights by chance, larger than they begin, so that everything matters."""
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture
def codec() -> LappedTransformCodec:
    torch.manual_seed(0)
    return LappedTransformCodec(SMALL)


def drawn_inputs(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Belief and memory."""
    generator = torch.Generator().manual_seed(1)
    y_hat = torch.randn(2, LappedTransformCodec(SMALL).layout.latent, height, width, generator=generator)
    y_hat[:, 0] = 3
    return y_hat, torch.randn(2, SMALL.hidden, height, width, generator=generator)


@pytest.mark.parametrize("alpha", [1.0, 0.7, 0.2])
def test_the_gradient_by_hand_is_autograds(codec: LappedTransformCodec, alpha: float) -> None:
    drawn(codec.synthesis)
    codec.double()
    y_hat, memory = (x.double() for x in drawn_inputs(4, 6))
    y_hat.requires_grad_(True)
    settings = (memory, torch.full((2,), alpha).double(), T, ROW)
    gradient = torch.randn(2, 3, 4 * BLOCK, 6 * BLOCK, generator=torch.Generator().manual_seed(2)).double()
    image = codec.synthesis.for_machine(y_hat, *settings)
    (wanted,) = torch.autograd.grad((image * gradient).sum(), y_hat)
    with torch.no_grad():
        again, slopes = codec.synthesis.for_machine_with_slopes(y_hat, *settings)
        found = codec.synthesis.for_machine_vjp(gradient, y_hat, settings[1], ROW, slopes)
    torch.testing.assert_close(again, image, rtol=1e-3, atol=1e-3)  # parts of it are float32
    assert float(wanted[:, 1:].abs().max()) > 1
    torch.testing.assert_close(found[:, 1:], wanted[:, 1:], rtol=1e-5, atol=1e-3)
    assert not found[:, 0].any()


def test_it_begins_as_the_eyes_and_only_once(codec: LappedTransformCodec) -> None:
    eye, machine = codec.synthesis.eye_network, codec.synthesis.machine_network
    assert eye is not None
    assert machine is not None
    drawn(eye)
    codec.synthesis.begin_machine()
    y_hat, memory = drawn_inputs(3, 4)
    reconstruction = torch.randn(2, 3, 3 * BLOCK, 4 * BLOCK)
    with torch.no_grad():
        begun = machine(y_hat, memory, reconstruction, ROW, torch.ones(2))
        assert float(begun.abs().max()) > 0.01
        torch.testing.assert_close(begun, eye(y_hat, reconstruction, ROW))
        drawn(eye)
        codec.synthesis.begin_machine()
        assert torch.equal(begun, machine(y_hat, memory, reconstruction, ROW, torch.ones(2)))


def test_codes_memory_and_observer_tell_it_what_to_do(codec: LappedTransformCodec) -> None:
    machine = codec.synthesis.machine_network
    assert machine is not None
    drawn(machine)
    y_hat, memory = drawn_inputs(3, 4)
    reconstruction, one = torch.randn(2, 3, 3 * BLOCK, 4 * BLOCK), torch.ones(2)
    with torch.no_grad():
        usual = machine(y_hat, memory, reconstruction, ROW, one)
        for changed in (
            machine(y_hat + 1, memory, reconstruction, ROW, one),
            machine(y_hat, memory + 1, reconstruction, ROW, one),
            machine(y_hat, memory, reconstruction + 1, ROW, one),
            machine(y_hat, memory, reconstruction, ROW - 1, one),
            machine(y_hat, memory, reconstruction, ROW, one / 2),
        ):
            assert not torch.allclose(usual, changed, atol=1e-4)


def test_the_eye_sees_nothing_of_it(codec: LappedTransformCodec) -> None:
    y_hat, memory = drawn_inputs(3, 4)
    with torch.no_grad():
        before = codec.synthesis(y_hat, memory, torch.zeros(2), T)
        drawn(codec.synthesis.machine_network)
        assert torch.equal(before, codec.synthesis(y_hat, memory, torch.zeros(2), T))
        machine = codec.synthesis(y_hat, memory, torch.ones(2), T)
    assert not torch.allclose(before, machine, atol=1e-3)


def test_it_sees_no_further_than_tiles_overlap(codec: LappedTransformCodec) -> None:
    """Tiles of a large picture have margins: what lies beyond must not matter."""
    drawn(codec.synthesis.machine_network)
    wide, far = 3 + 2 * onnx_model.MARGIN["synthesis"], onnx_model.MARGIN["synthesis"] + 1
    y_hat, memory = drawn_inputs(3, wide)
    others = y_hat.clone(), memory.clone()
    for plane in others:
        plane[..., : wide // 2 - far + 1] += 2
    with torch.no_grad():
        before, after = (
            codec.synthesis.for_machine(*planes, torch.ones(2), T, ROW).numpy() for planes in ((y_hat, memory), others)
        )
    middle = slice(wide // 2 * BLOCK, (wide // 2 + 1) * BLOCK)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_allclose(before[..., middle], after[..., middle], atol=1e-5)
