"""Training computes where its pictures lie: nothing that a GPU would refuse, shown without one.

Tensors of the device "meta" have shapes but no values; PyTorch's fake mode refuses to mix them with those of the
processor, as a GPU would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnx", reason="the loss for machines needs a classifier")

from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from beholder.codecs.rnn.torch.human_distortion import human_distortion  # noqa: E402
from beholder.training.codec.run import build, read_settings  # noqa: E402

ELSEWHERE = "meta"


@contextlib.contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fake mode.  There are no values: each `if` of a tensor takes the way of False."""
    with monkeypatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch.Tensor, "__bool__", lambda self: False)
        yield


def moved(model: Any) -> Any:
    """As ``model.to(device)`` would leave it."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    new = torch.empty_like(tensor, device=ELSEWHERE)
                    learns = isinstance(tensor, nn.Parameter)
                    tensors[name] = nn.Parameter(new, tensor.requires_grad) if learns else new
    return model


def check(loss: torch.Tensor, learns: nn.Module) -> None:
    assert loss.device.type == ELSEWHERE
    loss.backward()
    gradients = [p.grad for p in learns.parameters() if p.grad is not None]
    assert gradients
    assert {g.device.type for g in gradients} == {ELSEWHERE}


def test_the_mode_refuses_to_mix_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch), pytest.raises(RuntimeError, match="same device"):
        torch.empty(3) + torch.empty(3, device=ELSEWHERE)


@pytest.mark.parametrize("part", ["entropy", "integers", "decoder"])
def test_swift_learns_on_its_device(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    settings = read_settings("swift")
    model: Any = build(settings, None)
    with elsewhere(monkeypatch):
        codec, context = moved(model).codec, model.context
        context.set_quantise(part == "integers")
        image = torch.empty(4, 3, 128, 128, device=ELSEWHERE)
        alpha, t = torch.empty(4, device=ELSEWHERE), torch.zeros(4, dtype=torch.long, device=ELSEWHERE)
        states = codec.quantise(codec.analysis(image), alpha)
        if part == "decoder":
            decoded = codec.decode([y_hat for _, y_hat in states], alpha, t)
            check(human_distortion(decoded, image).mean() + model.machine(decoded, image).mean(), codec.recurrence)
        else:
            check(context.bits([codes for codes, _ in states]).sum(), context)


@pytest.mark.parametrize("config", ["paper_gru", "paper_lstm"])
def test_paper_learns_on_its_device(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    model: Any = build(read_settings(config), 0.5)
    with elsewhere(monkeypatch):
        image = torch.empty(2, 3, 176, 176, device=ELSEWHERE)
        images, _ = moved(model).codec(image, 2)
        check(model.distortion(images[-1], image).mean(), model.codec)
