"""Write the gradient graph of a classifier: how differently it sees two pictures, and the gradient of that.

    decoded, original (N, 3, H, W) float32 RGB, 0 to 255  ->  distortion (N,), gradient (N, 3, H, W) by ``decoded``

Features are compared at every resolution of the network, and class probabilities a little:

    distortion = .95 log(mean of |f - f'|^2 / |f'|^2 + 1e-4) + .05 log(divergence of the classes + 1e-3)

Sides are multiples of 32.  Pixels are scaled within the graph, and weights stay in the classifier's own file, which
lies in the same folder: ONNX Runtime needs nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from beholder.errors import BadFileError
from beholder.observers.base import ObserverInfo
from beholder.observers.gradient.adjoints import Builder, Step, adjoint
from beholder.observers.gradient.network import Network
from beholder.observers.gradient.sharing import share

LOGITS = 0.05
"""Weight of the classes.  Kept small: matching one network's logits does not transfer to others (docs/codec.md)."""
FEATURE_FLOOR, DIVERGENCE_FLOOR, ENERGY_FLOOR = 1e-4, 1e-3, 1e-6
MULTIPLE = 32


def build(file: Path, info: ObserverInfo) -> bytes:
    """The gradient graph of the classifier in ``file``.

    Args:
        file: an ONNX file of one input of preprocessed pictures.
        info: how it wants its pixels.

    Raises:
        BadFileError: the file cannot be read, or is no classifier whose shapes can be told.
        NotAvailableError: an operator has no gradient here.
    """
    try:
        model = onnx.load(str(file), load_external_data=True)
        data = file.read_bytes()
    except Exception as error:
        raise BadFileError(f"{file} cannot be read ({' '.join(str(error).split())[:100]}): get a whole file.") from None
    network = Network(model, -(-info.input_size // MULTIPLE) * MULTIPLE)
    features, logits = network.features(), network.logits()
    nodes = network.ancestors([*features, *([logits] if logits else [])])
    b = Builder(network.shapes)
    names = {kind: _forward(b, network, nodes, info, kind) for kind in ("original", "decoded")}
    seeds = _loss(b, [[names[kind][f] for kind in names] for f in features], features, names, logits)
    by_input = _backward(b, network, nodes, names["decoded"], seeds)
    gradient = _to_pixels(b, by_input, network, info)
    b.nodes.append(helper.make_node("Identity", [gradient], ["gradient"]))
    graph = share(_model(b, network), file.name, data)
    # Weights are found by their place: another file of the same name must not pass for this one.
    helper.set_model_props(graph, {"classifier": file.name, "sha256": hashlib.sha256(data).hexdigest()})
    return graph.SerializeToString(deterministic=True)


def _forward(
    b: Builder, network: Network, nodes: Sequence[onnx.NodeProto], info: ObserverInfo, kind: str
) -> dict[str, str]:
    """One pass; the name here of each value that depends on the picture."""
    x = kind
    if info.channel_order == "BGR":
        x = b.add("Gather", x, b.ints(2, 1, 0), axis=1)
    wide = (1, 3, 1, 1)
    x = b.add("Sub", x, b.constant(np.reshape(info.mean, wide)))
    x = b.add("Div", x, b.constant(np.reshape(info.std, wide)))
    if network.channels_last:
        x = b.add("Transpose", x, perm=[0, 2, 3, 1])
    names = {network.input: x}
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        for output in node.output:
            names[output] = f"{kind}/{output}"
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names[name] for name in node.output]
        b.nodes.append(copy)
    return names


def _loss(
    b: Builder, pairs: list[list[str]], features: list[str], names: dict[str, dict[str, str]], logits: str | None
) -> dict[str, str]:
    """Write the distortion; its gradients by the features and the logits of the decoded picture."""
    weight = LOGITS if logits else 0.0
    area, distances, halves = b.ints(1, 2, 3), [], []
    for original, decoded in pairs:
        difference = b.add("Sub", decoded, original)
        energy = b.add("ReduceSum", b.add("Mul", original, original), area, keepdims=1)
        count = b.add("Size", original)
        samples = b.add("Slice", b.add("Shape", original), b.ints(0), b.ints(1))
        count = b.add("Cast", b.add("Div", count, samples), to=TensorProto.FLOAT)
        energy = b.add("Add", energy, b.add("Mul", count, b.constant(ENERGY_FLOOR)))
        square = b.add("ReduceSum", b.add("Mul", difference, difference), area, keepdims=1)
        distances.append(b.add("Div", square, energy))
        halves.append(b.add("Div", difference, energy))
    mean = b.add("Mul", b.add("Sum", *distances), b.constant(1 / len(distances)))
    mean = b.add("Add", mean, b.constant(FEATURE_FLOOR))
    factor = b.add("Div", b.constant(2 * (1 - weight) / len(distances)), mean)
    seeds = {name: b.add("Mul", half, factor) for name, half in zip(features, halves, strict=True)}
    distortion = b.add("Mul", b.add("Log", b.add("Reshape", mean, b.ints(-1))), b.constant(1 - weight))
    if logits:
        logs = {kind: b.add("LogSoftmax", names[kind][logits], axis=1) for kind in names}
        chances = {kind: b.add("Exp", log) for kind, log in logs.items()}
        terms = b.add("Mul", chances["original"], b.add("Sub", logs["original"], logs["decoded"]))
        divergence = b.add("Relu", b.add("ReduceSum", terms, b.ints(1), keepdims=1))
        divergence = b.add("Add", divergence, b.constant(DIVERGENCE_FLOOR))
        slope = b.add("Div", b.add("Sub", chances["decoded"], chances["original"]), divergence)
        seeds[logits] = b.add("Mul", slope, b.constant(weight))
        more = b.add("Mul", b.add("Log", b.add("Reshape", divergence, b.ints(-1))), b.constant(weight))
        distortion = b.add("Add", distortion, more)
    b.nodes.append(helper.make_node("Identity", [distortion], ["distortion"]))
    return seeds


def _backward(
    b: Builder, network: Network, nodes: Sequence[onnx.NodeProto], names: dict[str, str], seeds: dict[str, str]
) -> str:
    """The gradient by the network's input."""
    waiting: dict[str, list[str]] = {name: [seed] for name, seed in seeds.items()}
    for node in reversed(nodes):
        found = waiting.pop(node.output[0], [])
        if not found:
            continue
        step = Step(
            b, node, [names.get(name, name) for name in node.input], [names[n] for n in node.output], network.live
        )
        step.gradient = _total(b, found)
        for number, gradient in adjoint(step).items():
            waiting.setdefault(node.input[number], []).append(gradient)
    return _total(b, waiting[network.input])


def _total(b: Builder, found: list[str]) -> str:
    total = found[0]
    for other in found[1:]:
        total = b.add("Add", total, other)
    return total


def _to_pixels(b: Builder, gradient: str, network: Network, info: ObserverInfo) -> str:
    if network.channels_last:
        gradient = b.add("Transpose", gradient, perm=[0, 3, 1, 2])
    gradient = b.add("Div", gradient, b.constant(np.reshape(info.std, (1, 3, 1, 1))))
    return b.add("Gather", gradient, b.ints(2, 1, 0), axis=1) if info.channel_order == "BGR" else gradient


def _model(b: Builder, network: Network) -> onnx.ModelProto:
    """All of it, without constants that nothing uses."""
    used = {name for node in b.nodes for name in node.input}
    constants = []
    for node in reversed(network.constants):
        if used.intersection(node.output):
            used.update(node.input)
            constants.append(node)
    initialisers = [tensor for tensor in (*network.initialisers, *b.initialisers) if tensor.name in used]
    shape: list[Any] = ["n", 3, "height", "width"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("decoded", "original")]
    outputs = [
        helper.make_tensor_value_info("distortion", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("gradient", TensorProto.FLOAT, shape),
    ]
    graph = helper.make_graph([*constants[::-1], *b.nodes], "gradient", inputs, outputs, initialisers)
    version = max(network.opset, 16)  # ScatterElements adds from 16 on
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], producer_name="beholder")
    model.ir_version = 8
    return model
