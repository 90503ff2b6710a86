"""The part of a classifier's ONNX graph that depends on the picture, its shapes, and the features to compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import shape_inference

from beholder.errors import BadFileError

LEAST_OPSET = 13
POOLS = ("GlobalAveragePool", "ReduceMean")


class Network:
    """A classifier's graph, read for differentiation.

    Args:
        model: of one input of pictures; changed by nothing here.
        side: of its square input in pixels.

    Raises:
        BadFileError: its shapes cannot be told, or its operators are older than ``LEAST_OPSET``.
    """

    def __init__(self, model: onnx.ModelProto, side: int) -> None:
        graph = model.graph
        self.opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        if self.opset < LEAST_OPSET:
            raise BadFileError(
                f"The classifier is written in ONNX operators of version {self.opset}: export it with version "
                f"{LEAST_OPSET} or newer."
            )
        initialisers = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in initialisers]
        if len(inputs) != 1:
            raise BadFileError(f"The classifier has {len(inputs)} inputs: it can have only one to be differentiated.")
        self.input = inputs[0].name
        dims = inputs[0].type.tensor_type.shape.dim
        self.channels_last = len(dims) == 4 and dims[3].dim_value in (1, 3) and dims[1].dim_value not in (1, 3)
        self.shapes = _shapes(model, self.input, (1, side, side, 3) if self.channels_last else (1, 3, side, side))
        live = {self.input}
        self.nodes: list[onnx.NodeProto] = []
        """Those that depend on the picture, in order."""
        self.constants: list[onnx.NodeProto] = []
        """All others, in order."""
        for node in graph.node:
            if live.intersection(node.input):
                live.update(node.output)
                self.nodes.append(node)
            else:
                self.constants.append(node)
        self.live = live
        self.initialisers = list(graph.initializer)
        self.outputs = [value.name for value in graph.output]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value for one picture.

        Raises:
            BadFileError: ONNX cannot tell.
        """
        found = self.shapes.get(name)
        if found is None or not found or min(found) < 1:
            raise BadFileError(f"The shape of {name!r} in the classifier cannot be told: it cannot be differentiated.")
        return found

    def features(self) -> list[str]:
        """Values to compare, one for each resolution: the last that all later ones are computed from.

        Values that a depthwise convolution or an activation takes next are passed over: they are wide or half done.

        Raises:
            BadFileError: the network has no maps of features that could be compared.
        """
        users = self._users()
        waiting: dict[str, int] = {}
        found: dict[int, str] = {}
        for node in self.nodes:
            for name in set(node.input):
                if name in waiting:
                    waiting[name] -= 1
                    if not waiting[name]:
                        del waiting[name]
            output = node.output[0]
            waiting[output] = len(users.get(output, []))
            shape = self.shapes.get(output, ())
            is_map = len(shape) == 4 and not self.channels_last and shape[2] > 1
            if len(waiting) == 1 and is_map and all(self._takes_finished(user) for user in users.get(output, [])):
                found[shape[2]] = output
        side = self.shape(self.input)[2]
        chosen = [name for size, name in sorted(found.items(), reverse=True) if size < side]
        if not chosen:
            raise BadFileError("The classifier has no maps of features that could be compared.")
        return chosen

    def logits(self) -> str | None:
        """The value before the classes' probabilities; None where it depends on the size of the picture."""
        makers = {name: node for node in self.nodes for name in node.output}
        name = self.outputs[0]
        while name in makers and makers[name].op_type in ("Softmax", "LogSoftmax", "Identity"):
            name = makers[name].input[0]
        if len(self.shapes.get(name, ())) != 2:
            return None
        # Between the maps of features and the classes there must be a mean over the area.
        node = makers.get(name)
        while node is not None:
            if node.op_type in POOLS:
                return name
            if node.op_type not in ("Gemm", "MatMul", "Add", "Flatten", "Reshape", "Squeeze", "Identity", "Dropout"):
                return None
            node = makers.get(next(source for source in node.input if source in self.live))
        return None

    def ancestors(self, names: Iterable[str]) -> list[onnx.NodeProto]:
        """The live nodes that ``names`` are computed by, in order."""
        wanted, found = set(names), []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                found.append(node)
        return found[::-1]

    def _users(self) -> dict[str, list[onnx.NodeProto]]:
        users: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in set(node.input):
                users.setdefault(name, []).append(node)
        return users

    def _takes_finished(self, user: onnx.NodeProto) -> bool:
        if user.op_type in ("Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", *POOLS):
            return False
        return not (user.op_type == "Conv" and attribute(user, "group", 1) > 1)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute."""
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _shapes(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shape of every value for an input of ``shape``."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    value = next(value for value in fixed.graph.input if value.name == name)
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        graph = shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    except Exception as error:  # onnx raises its own kinds
        reason = " ".join(str(error).split())[:150]
        raise BadFileError(f"The classifier's shapes cannot be told ({reason}): it cannot be differentiated.") from None
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
