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
from beholder.codecs.rnn.linear import FILE as LINEAR
from beholder.codecs.rnn.torch.model import LappedTransformCodec
from beholder.codecs.rnn.torch.transform import YCC_TO_RGB
from beholder.observers.gradient.sharing import share
from beholder.training.codec.analysis_graph import AnalysisGraph

HALF_FROM = 64
"""Tensors with at least this many values are stored as 16-bit floats."""
OPSET = 18


class _Recurrence(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor) -> Tensor:
        result: Tensor = self.codec.recurrence(y_hat, hidden, alpha, t)
        return result


class _MachineWithSlopes(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, y_hat: Tensor, hidden: Tensor, alpha: Tensor, t: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        image, slopes = self.codec.synthesis.for_machine_with_slopes(y_hat, hidden, alpha, t, index)
        return torch.round(image.clamp(0, 1) * 255).to(torch.uint8), *slopes


class _MachineVjp(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, gradient: Tensor, y_hat: Tensor, alpha: Tensor, index: Tensor, slopes: list[Tensor]) -> Tensor:
        result: Tensor = self.codec.synthesis.for_machine_vjp(gradient, y_hat, alpha, index, slopes)
        return result


class _HumanWithSlopes(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, y_hat: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        image, slopes = self.codec.synthesis.for_human_with_slopes(y_hat, index)
        return torch.round(image.clamp(0, 1) * 255).to(torch.uint8), *slopes


class _HumanVjp(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, gradient: Tensor, y_hat: Tensor, index: Tensor, slopes: list[Tensor]) -> Tensor:
        result: Tensor = self.codec.synthesis.for_human_vjp(gradient, y_hat, index, slopes)
        return result


class _Step(nn.Module):
    def __init__(self, codec: LappedTransformCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, begun: Tensor, place: Tensor, gradient: Tensor, t: Tensor) -> Tensor:
        assert self.codec.step is not None
        result: Tensor = self.codec.step(begun, place, gradient, t)
        return result


ALONE = ("analysis", "recurrence", "step")
"""Graphs that share no weights with others, so each can be drawn alone."""


def write_networks(codec: LappedTransformCodec, folder: Path) -> None:
    """The graphs of :mod:`beholder.codecs.rnn.onnx_model`, with free height and width."""
    for name in ALONE:
        if name != "step" or codec.step is not None:
            (folder / f"{name}.onnx").write_bytes(draw(codec, name))
    offsets = _write_human(codec, folder)
    if codec.step is not None:
        _write_linear(codec, folder, offsets)
    _write_machine(codec, folder)


def draw(codec: LappedTransformCodec, name: str) -> bytes:
    """The content of ``name.onnx``, one of :data:`ALONE`; only a codec that has the step draws that."""
    alpha, t = torch.zeros(1), torch.zeros(1, dtype=torch.long)
    y_hat, hidden = (torch.zeros(1, channels, 6, 8) for channels in (codec.layout.latent, codec.config.hidden))
    image = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    free = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    blocks = {axis: BLOCK * torch.export.Dim(f"blocks_{axis}") for axis in (2, 3)}
    jobs: dict[str, tuple[type[nn.Module], dict[str, Any], dict[str, Any], str]] = {
        "analysis": (AnalysisGraph, {"image": image, "alpha": alpha}, {"image": blocks}, "latent"),
        "recurrence": (
            _Recurrence,
            {"belief": y_hat, "memory": hidden, "alpha": alpha, "t": t},
            {"belief": free, "memory": free},
            "memory_out",
        ),
        "step": (
            _Step,
            {"begun": y_hat, "place": y_hat.clone(), "gradient": y_hat.clone(), "t": t},
            {"begun": free, "place": free, "gradient": free},
            "codes",
        ),
    }
    kind, inputs, dynamic, output = jobs[name]
    content: bytes = _exported(kind(codec), inputs, dynamic, [output]).SerializeToString(deterministic=True)
    return content


def _write_human(codec: LappedTransformCodec, folder: Path) -> dict[bytes, int]:
    """The graphs of the human's picture and of its gradient; where in ``HUMAN_WEIGHTS`` each of their weights lies."""
    y_hat, t = torch.zeros(1, codec.layout.latent, 6, 8), torch.zeros(1, dtype=torch.long)
    positions = {axis: torch.export.Dim(f"blocks_{axis}") for axis in (2, 3)}
    blocks = {axis: BLOCK * count for axis, count in positions.items()}
    with torch.no_grad():
        _, slopes = codec.synthesis.for_human_with_slopes(y_hat, t)
    sizes, names = _sizes(slopes, y_hat, positions), _slope_names(slopes)
    free = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    forward = _exported(_HumanWithSlopes(codec), {"belief": y_hat, "row": t}, {"belief": free}, ["image", *names])
    back = _exported(
        _HumanVjp(codec),
        {"gradient": torch.zeros(1, 3, 96, 128), "belief": y_hat, "row": t, "slopes": slopes},
        {"gradient": blocks, "belief": positions, "slopes": sizes},
        ["by_belief"],
    )
    offsets: dict[bytes, int] = {}
    for name, graph in {"eye": _picture_alone(forward), "eye_slopes": forward, "eye_adjoint": back}.items():
        _move_out(graph, offsets)
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    (folder / onnx_model.HUMAN_WEIGHTS).write_bytes(b"".join(offsets))
    return offsets


def _write_linear(codec: LappedTransformCodec, folder: Path, offsets: dict[bytes, int]) -> None:
    """The file of :mod:`beholder.codecs.rnn.linear`; ``offsets`` of what lies in ``HUMAN_WEIGHTS``."""
    synthesis = codec.synthesis
    linear, borders, step = (
        np.asarray(x.detach(), np.float16) for x in (synthesis.eye_linear, synthesis.eye_borders, synthesis.step)
    )
    to_rgb = np.array(YCC_TO_RGB, np.float32)
    place = np.array(offsets[linear.tobytes()], np.int64)
    np.savez(folder / LINEAR, place=place, borders=borders, step=step.ravel(), to_rgb=to_rgb)


def _write_machine(codec: LappedTransformCodec, folder: Path) -> None:
    """``synthesis.onnx`` and the graphs of the machine's gradient, which find their weights in it."""
    y_hat, hidden = torch.zeros(1, codec.layout.latent, 6, 8), torch.zeros(1, codec.config.hidden, 6, 8)
    alpha, t = torch.ones(1), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        _, slopes = codec.synthesis.for_machine_with_slopes(y_hat, hidden, alpha, t, t)
    axes = {axis: torch.export.Dim(f"blocks_{axis}") for axis in (2, 3)}
    sizes, names = _sizes(slopes, y_hat, axes), _slope_names(slopes)
    forward = _exported(
        _MachineWithSlopes(codec),
        {"belief": y_hat, "memory": hidden, "alpha": alpha, "t": t, "row": t.clone()},
        {"belief": axes, "memory": axes},
        ["image", *names],
    )
    back = _exported(
        _MachineVjp(codec),
        {"gradient": torch.zeros(1, 3, 96, 128), "belief": y_hat, "alpha": alpha, "row": t, "slopes": slopes},
        {"gradient": {axis: BLOCK * size for axis, size in axes.items()}, "belief": axes, "slopes": sizes},
        ["by_belief"],
    )
    decoder = _picture_alone(forward).SerializeToString(deterministic=True)
    (folder / "synthesis.onnx").write_bytes(decoder)
    for name, model in (("synthesis_slopes", forward), ("synthesis_adjoint", back)):
        model = share(model, "synthesis.onnx", decoder)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _sizes(slopes: list[Tensor], y_hat: Tensor, axes: dict[int, Any]) -> list[dict[int, Any]]:
    """Free height and width of each of ``slopes``, in terms of the latent's."""
    return [{axis: x.shape[axis] // y_hat.shape[axis] * count for axis, count in axes.items()} for x in slopes]


def _slope_names(slopes: list[Tensor]) -> list[str]:
    return [f"slope_{i}" for i in range(len(slopes))]


def _exported(module: nn.Module, inputs: dict[str, Any], dynamic: dict[str, Any], outputs: list[str]) -> Any:
    """A module as an ONNX model.

    Args:
        module: to export.
        inputs: examples by the name of the input; "slopes" are a list, of as many inputs.
        dynamic: free axes, by the name of the input.
        outputs: their names.
    """
    names = [_slope_names(value) if name == "slopes" else [name] for name, value in inputs.items()]
    with _exporter_settings():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=[name for group in names for name in group],
            output_names=outputs,
            dynamic_shapes=tuple(dynamic.get(key, {}) for key in inputs),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,  # ONNX Runtime does that; here weights would lose their names
            verbose=False,
        )
    assert program is not None
    return _halved(_without_zero_biases(program.model_proto))


@contextmanager
def _exporter_settings() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there and on names that it changes.

    It also goes without a cache of the shapes that operations give: with free heights and widths hardly one is found
    again, and to keep them is a fifth of the export.
    """
    from torch import _dynamo

    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _dynamo.config.patch(fake_tensor_cache_enabled=False):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _picture_alone(model: Any) -> Any:
    """The part of a graph that computes its first output, the picture without slopes: to trace it takes seconds."""
    from onnx.utils import Extractor

    graph = model.graph
    return Extractor(model).extract_model([x.name for x in graph.input], [graph.output[0].name])


def _without_zero_biases(model: Any) -> Any:
    """Drop the biases of zeros that the exporter gives convolutions that have none.

    It computes their size from the weights, and ONNX Runtime keeps its fast layout for convolutions of constants.
    """
    from onnx import numpy_helper

    graph = model.graph
    made = {output: node for node in graph.node for output in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def zero(name: str) -> bool:
        if name in stored:
            return not numpy_helper.to_array(stored[name]).any()
        node = made.get(name)
        if node is None:
            return False
        if node.op_type == "Constant":
            value = next((a for a in node.attribute if a.name == "value"), None)
            number = next((a for a in node.attribute if a.name in ("value_float", "value_floats")), None)
            if value is not None:
                return not numpy_helper.to_array(value.t).any()
            return number is not None and not number.f and not any(number.floats)
        return node.op_type in ("Expand", "CastLike", "Cast") and zero(node.input[0])

    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and zero(node.input[2]):
            del node.input[2]
    return model


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


def _move_out(model: Any, offsets: dict[bytes, int]) -> None:
    """Move large weights to the file ``HUMAN_WEIGHTS``, equal ones once; ``offsets`` holds their places, in bytes."""
    from onnx import TensorProto
    from onnx.external_data_helper import set_external_data

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            data = tensor.raw_data
            place = offsets.setdefault(data, sum(map(len, offsets)))
            set_external_data(tensor, onnx_model.HUMAN_WEIGHTS, place, len(data))
            tensor.ClearField("raw_data")
