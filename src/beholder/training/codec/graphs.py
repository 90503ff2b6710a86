"""The codec's networks as ONNX graphs, as :mod:`beholder.codecs.rnn.onnx_model` runs them.

Weights are stored as 16-bit floats and computed with as 32-bit ones.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn import onnx_model
from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.torch.model import LappedTransformCodec

HALF_FROM = 64
"""Tensors with at least this many values are stored as 16-bit floats."""
OPSET = 18


class _Analysis(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, image: Tensor, alpha: Tensor) -> Tensor:
        latent: Tensor = self.codec.analysis(image.float() / 255, alpha)
        return latent


class _Recurrence(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, belief: Tensor, memory: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        result: Tensor = self.codec.recurrence(belief, memory, alpha, t)
        return result


class _Synthesis(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, belief: Tensor, memory: Tensor, alpha: Tensor, t: Tensor, row: Tensor) -> Tensor:
        image = self.codec.synthesis.for_machine(belief, memory, alpha, t, row)
        return torch.round(image.clamp(0, 1) * 255).to(torch.uint8)


class _Eye(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, belief: Tensor, row: Tensor) -> Tensor:
        image = self.codec.synthesis.for_human(belief, row)
        return torch.round(image.clamp(0, 1) * 255).to(torch.uint8)


class _EyeAdjoint(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, gradient: Tensor, belief: Tensor, row: Tensor) -> Tensor:
        result: Tensor = self.codec.synthesis.for_human_vjp(gradient, belief, row)
        return result


class _Linear(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, belief: Tensor) -> Tensor:
        return torch.round(self.codec.synthesis.linear_picture(belief).clamp(0, 1) * 255).to(torch.uint8)


class _LinearAdjoint(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, gradient: Tensor, belief: Tensor) -> Tensor:
        result: Tensor = self.codec.synthesis.linear_picture_vjp(gradient, belief)
        return result


class _Step(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, begun: Tensor, place: Tensor, gradient: Tensor, t: Tensor) -> Tensor:
        assert self.codec.step is not None
        result: Tensor = self.codec.step(begun, place, gradient, t)
        return result


def write_networks(codec: LappedTransformCodec, folder: Path) -> None:
    """The graphs of :mod:`beholder.codecs.rnn.onnx_model`, with free height and width."""
    latent, memory = codec.layout.latent, codec.config.hidden
    alpha, t = torch.zeros(1), torch.zeros(1, dtype=torch.long)
    belief, hidden = torch.zeros(1, latent, 6, 8), torch.zeros(1, memory, 6, 8)
    image = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    free = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    positions = {axis: torch.export.Dim(f"blocks_{axis}") for axis in (2, 3)}
    blocks = {axis: BLOCK * count for axis, count in positions.items()}
    jobs: list[tuple[str, nn.Module, dict[str, Tensor], dict[str, Any], list[str]]] = [
        ("analysis", _Analysis(codec), {"image": image, "alpha": alpha}, {"image": blocks}, ["latent"]),
        (
            "recurrence",
            _Recurrence(codec),
            {"belief": belief, "memory": hidden, "alpha": alpha, "t": t},
            {"belief": free, "memory": free},
            ["memory_out"],
        ),
        (
            "synthesis",
            _Synthesis(codec),
            {"belief": belief, "memory": hidden, "alpha": alpha, "t": t, "row": t.clone()},
            {"belief": free, "memory": free},
            ["image"],
        ),
        ("eye", _Eye(codec), {"belief": belief, "row": t}, {"belief": free}, ["image"]),
        (
            "eye_adjoint",
            _EyeAdjoint(codec),
            {"gradient": torch.zeros(1, 3, 96, 128), "belief": belief, "row": t},
            {"gradient": blocks, "belief": positions},
            ["by_belief"],
        ),
    ]
    if codec.step is not None:
        jobs += [
            ("linear", _Linear(codec), {"belief": belief}, {"belief": free}, ["image"]),
            (
                "linear_adjoint",
                _LinearAdjoint(codec),
                {"gradient": torch.zeros(1, 3, 96, 128), "belief": belief},
                {"gradient": blocks, "belief": positions},
                ["by_belief"],
            ),
            (
                "step",
                _Step(codec),
                {"begun": belief, "place": belief.clone(), "gradient": belief.clone(), "t": t},
                {"begun": free, "place": free, "gradient": free},
                ["codes"],
            ),
        ]
    shared: dict[bytes, int] = {}
    for name, module, inputs, dynamic, outputs in jobs:
        with _quiet_exporter():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=tuple(dynamic.get(key, {}) for key in inputs),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,  # ONNX Runtime does that; here weights would lose their names
                verbose=False,
            )
        assert program is not None
        model = _halved(program.model_proto)
        if name in ("eye", "eye_adjoint", "linear", "linear_adjoint"):
            _move_out(model, shared)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / onnx_model.HUMAN_WEIGHTS).write_bytes(b"".join(shared))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there and on names that it changes."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _halved(model: Any) -> Any:
    """Store large float32 initialisers as float16, cast back when the graph is loaded; drop debug text."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= HALF_FROM:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    return model


def _move_out(model: Any, shared: dict[bytes, int]) -> None:
    """Move large weights to the file ``EYE_WEIGHTS``, equal ones once; ``shared`` maps each to its offset in bytes."""
    from onnx import TensorProto
    from onnx.external_data_helper import set_external_data

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            data = tensor.raw_data
            place = shared.setdefault(data, sum(map(len, shared)))
            set_external_data(tensor, onnx_model.HUMAN_WEIGHTS, place, len(data))
            tensor.ClearField("raw_data")
