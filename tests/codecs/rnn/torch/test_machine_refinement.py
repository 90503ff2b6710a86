"""What corrects pictures for machines: what it begins as, how far it sees, and that the eye has nothing of it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from beholder.codecs.rnn import onnx_model as runtime  # noqa: E402
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS  # noqa: E402
from beholder.codecs.rnn.torch.model import Swift, SwiftConfig  # noqa: E402

SMALL = SwiftConfig(n=8, m=8, hidden=8, context=8, eye_width=8, eye_blocks=4, eye_codes=8, machine_network=1)
T = torch.tensor([2, 5])
ROW = T + torch.tensor([0, ITERATIONS])


def drawn(part: torch.nn.Module) -> None:
    """Weights by chance, larger than they begin, so that everything matters."""
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture
def codec() -> Swift:
    torch.manual_seed(0)
    return Swift(SMALL)


def seen(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Belief and memory."""
    generator = torch.Generator().manual_seed(1)
    belief = torch.randn(2, Swift(SMALL).layout.latent, height, width, generator=generator)
    belief[:, 0] = 3
    return belief, torch.randn(2, SMALL.hidden, height, width, generator=generator)


def test_it_begins_as_the_eyes_and_only_once(codec: Swift) -> None:
    eye, machine = codec.synthesis.eye_network, codec.synthesis.machine_network
    assert eye is not None
    assert machine is not None
    drawn(eye)
    codec.synthesis.begin_machine()
    belief, memory = seen(3, 4)
    draft = torch.randn(2, 3, 3 * BLOCK, 4 * BLOCK)
    with torch.no_grad():
        begun = machine(belief, memory, draft, ROW, torch.ones(2))
        assert float(begun.abs().max()) > 0.01
        torch.testing.assert_close(begun, eye(belief, draft, ROW))
        drawn(eye)
        codec.synthesis.begin_machine()
        assert torch.equal(begun, machine(belief, memory, draft, ROW, torch.ones(2)))


def test_codes_memory_and_observer_tell_it_what_to_do(codec: Swift) -> None:
    machine = codec.synthesis.machine_network
    assert machine is not None
    drawn(machine)
    belief, memory = seen(3, 4)
    draft, one = torch.randn(2, 3, 3 * BLOCK, 4 * BLOCK), torch.ones(2)
    with torch.no_grad():
        usual = machine(belief, memory, draft, ROW, one)
        for changed in (
            machine(belief + 1, memory, draft, ROW, one),
            machine(belief, memory + 1, draft, ROW, one),
            machine(belief, memory, draft + 1, ROW, one),
            machine(belief, memory, draft, ROW - 1, one),
            machine(belief, memory, draft, ROW, one / 2),
        ):
            assert not torch.allclose(usual, changed, atol=1e-4)


def test_the_eye_sees_nothing_of_it(codec: Swift) -> None:
    belief, memory = seen(3, 4)
    with torch.no_grad():
        before = codec.synthesis(belief, memory, torch.zeros(2), T)
        drawn(codec.synthesis.machine_network)
        assert torch.equal(before, codec.synthesis(belief, memory, torch.zeros(2), T))
        machine = codec.synthesis(belief, memory, torch.ones(2), T)
    assert not torch.allclose(before, machine, atol=1e-3)


def test_it_sees_no_further_than_tiles_overlap(codec: Swift) -> None:
    """Tiles of a large picture have margins: what lies beyond must not matter."""
    drawn(codec.synthesis.machine_network)
    wide, far = 3 + 2 * runtime.MARGIN["synthesis"], runtime.MARGIN["synthesis"] + 1
    belief, memory = seen(3, wide)
    others = belief.clone(), memory.clone()
    for plane in others:
        plane[..., : wide // 2 - far + 1] += 2
    with torch.no_grad():
        before, after = (
            codec.synthesis.for_machine(*planes, torch.ones(2), T, ROW).numpy() for planes in ((belief, memory), others)
        )
    middle = slice(wide // 2 * BLOCK, (wide // 2 + 1) * BLOCK)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_allclose(before[..., middle], after[..., middle], atol=1e-5)
