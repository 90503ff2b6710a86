"""Vector-Jacobian products of ONNX operators as ONNX nodes: the table ``ADJOINTS``.

Shapes of maps are free but for the channels: pictures of any size pass through the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from beholder.errors import NotAvailableError
from beholder.observers.gradient.network import attribute


class Builder:
    """Collects nodes and constants; methods that add something return its name.

    Args:
        shapes: of the forward pass, for one picture of one input size among many.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self._names = 0
        self._known: dict[tuple[Any, ...], str] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns its first output."""
        return self.add_many(1, kind, *inputs, **attributes)[0]

    def add_many(self, count: int, kind: str, *inputs: str, **attributes: Any) -> list[str]:
        """A node with ``count`` outputs."""
        outputs = [self._name() for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        """An initialiser; the same one for equal values."""
        array = np.asarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._name()
            self.initialisers.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def ints(self, *values: int) -> str:
        """A constant vector of int64."""
        return self.constant(values, np.int64)

    def _name(self) -> str:
        self._names += 1
        return f"g{self._names}"


class Step:
    """One node of the forward pass to go back through.

    Attributes:
        gradient: by its first output.
        inputs, outputs: names in the forward pass as the graph has it, with constants as they are.
    """

    def __init__(
        self, builder: Builder, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str], live: set[str]
    ) -> None:
        self.builder, self.node, self.inputs, self.outputs = builder, node, inputs, outputs
        self.live = [name in live for name in node.input]
        self.gradient = ""

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of an input."""
        return self.builder.shapes[self.node.input[number]]

    def attribute(self, name: str, default: Any = None) -> Any:
        return attribute(self.node, name, default)

    def like(self, gradient: str, number: int = 0) -> str:
        """``gradient`` in the shape of an input."""
        return self.builder.add("Reshape", gradient, self.builder.add("Shape", self.inputs[number]))


Adjoint = Callable[[Step], dict[int, str]]
"""Gradients by the number of the input."""


def adjoint(step: Step) -> dict[int, str]:
    """Gradients by the live inputs of a node.

    Raises:
        NotAvailableError: its operator has no adjoint here.
    """
    kind = step.node.op_type
    if kind not in ADJOINTS:
        raise NotAvailableError(f"The classifier's operator {kind} cannot be differentiated yet: use another observer.")
    return {number: name for number, name in ADJOINTS[kind](step).items() if step.live[number]}


def _unsupported(step: Step, what: str) -> NotAvailableError:
    return NotAvailableError(
        f"The classifier's operator {step.node.op_type} {what} cannot be differentiated yet: use another observer."
    )


# -- convolutions and products ----------------------------------------------------------------------


def _conv(step: Step) -> dict[int, str]:
    if step.live[1] or step.attribute("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or len(step.shape(0)) != 4:
        raise _unsupported(step, "with these options")
    outputs, inputs, *size = step.shape(1)
    groups, dilations = step.attribute("group", 1), step.attribute("dilations", [1, 1])
    b, weight = step.builder, step.inputs[1]
    if groups > 1:
        split = b.ints(groups, outputs // groups, inputs, *size)
        turned = b.add("Transpose", b.add("Reshape", weight, split), perm=[0, 2, 1, 3, 4])
        weight = b.add("Reshape", turned, b.ints(groups * inputs, outputs // groups, *size))
    else:
        weight = b.add("Transpose", weight, perm=[1, 0, 2, 3])
    if max(size) > 1:
        ends = b.ints(-(1 << 40), -(1 << 40))
        weight = b.add("Slice", weight, b.ints(-1, -1), ends, b.ints(2, 3), b.ints(-1, -1))
    extent = [(k - 1) * d for k, d in zip(size, dilations, strict=True)]
    pads = step.attribute("pads", [0, 0, 0, 0])
    stretched = _insert_zeros(step, step.gradient, extent, pads)
    back = [r - p for r, p in zip([*extent, *extent], pads, strict=True)]
    if min(back) < 0:
        raise _unsupported(step, "with padding wider than its kernel")
    return {0: b.add("Conv", stretched, weight, group=groups, dilations=dilations, kernel_shape=size, pads=back)}


def _insert_zeros(step: Step, gradient: str, extent: Sequence[int], pads: Sequence[int]) -> str:
    """The gradient of a strided operator as that of stride 1 would be: zeros where nothing was computed."""
    strides, b = step.attribute("strides", [1, 1]), step.builder
    if max(strides) == 1:
        return gradient
    if strides[0] != strides[1]:
        raise _unsupported(step, "with these strides")
    stride = strides[0]
    zeros = b.add("Mul", gradient, b.constant(0.0))
    wide = b.add("Concat", gradient, *[zeros] * (stride * stride - 1), axis=1)
    wide = b.add("DepthToSpace", wide, blocksize=stride)
    # What stride 1 would give, which is less than a stride shorter.
    missing = b.ints(0, 0, *(pads[i] + pads[i + 2] - extent[i] for i in (0, 1)))
    ends = b.add("Add", b.add("Shape", step.inputs[0]), missing)
    both = b.ints(2), b.ints(4)
    return b.add("Slice", wide, b.ints(0, 0), b.add("Slice", ends, *both), b.ints(2, 3))


def _gemm(step: Step) -> dict[int, str]:
    if step.live[1] or step.attribute("transA", 0) or step.attribute("alpha", 1.0) != 1.0:
        raise _unsupported(step, "with these options")
    return {0: step.builder.add("Gemm", step.gradient, step.inputs[1], transB=1 - step.attribute("transB", 0))}


def _matmul(step: Step) -> dict[int, str]:
    if step.live[1] or len(step.shape(1)) != 2:
        raise _unsupported(step, "of two computed values")
    return {0: step.builder.add("MatMul", step.gradient, step.builder.add("Transpose", step.inputs[1], perm=[1, 0]))}


def _batch_norm(step: Step) -> dict[int, str]:
    b = step.builder
    variance = b.add("Add", step.inputs[4], b.constant(step.attribute("epsilon", 1e-5)))
    gain = b.add("Div", step.inputs[1], b.add("Sqrt", variance))
    shape = b.ints(-1, *[1] * (len(step.shape(0)) - 2))
    return {0: b.add("Mul", step.gradient, b.add("Reshape", gain, shape))}


# -- element by element -----------------------------------------------------------------------------


def _relu(step: Step) -> dict[int, str]:
    return _where(step, step.builder.add("Greater", step.outputs[0], step.builder.constant(0.0)))


def _clip(step: Step) -> dict[int, str]:
    b, inside = step.builder, []
    for kind, number in (("Greater", 1), ("Less", 2)):
        if len(step.inputs) > number and step.inputs[number]:
            inside.append(b.add(kind, step.outputs[0], step.inputs[number]))
    if not inside:
        return {0: step.gradient}
    return _where(step, b.add("And", *inside) if len(inside) == 2 else inside[0])


def _where(step: Step, condition: str) -> dict[int, str]:
    """The gradient where ``condition`` holds; ONNX Runtime's Where takes twice the time of a product."""
    weight = step.builder.add("Cast", condition, to=TensorProto.FLOAT)
    return {0: step.builder.add("Mul", step.gradient, weight)}


def _sigmoid(step: Step) -> dict[int, str]:
    b, y = step.builder, step.outputs[0]
    return {0: b.add("Mul", step.gradient, b.add("Mul", y, b.add("Sub", b.constant(1.0), y)))}


def _tanh(step: Step) -> dict[int, str]:
    b, y = step.builder, step.outputs[0]
    return {0: b.add("Mul", step.gradient, b.add("Sub", b.constant(1.0), b.add("Mul", y, y)))}


def _hard_sigmoid(step: Step) -> dict[int, str]:
    b, y = step.builder, step.outputs[0]
    scaled = b.add("Mul", step.gradient, b.constant(step.attribute("alpha", 0.2)))
    inside = b.add("And", b.add("Greater", y, b.constant(0.0)), b.add("Less", y, b.constant(1.0)))
    return {0: b.add("Where", inside, scaled, b.constant(0.0))}


def _hard_swish(step: Step) -> dict[int, str]:
    b, x = step.builder, step.inputs[0]
    slope = b.add("Add", b.add("Mul", x, b.constant(1 / 3)), b.constant(0.5))
    slope = b.add("Where", b.add("Less", x, b.constant(-3.0)), b.constant(0.0), slope)
    slope = b.add("Where", b.add("Greater", x, b.constant(3.0)), b.constant(1.0), slope)
    return {0: b.add("Mul", step.gradient, slope)}


def _summed(step: Step, gradient: str, number: int) -> str:
    """``gradient`` summed over the axes along which an input was repeated."""
    mine, whole = step.shape(number), step.builder.shapes[step.node.output[0]]
    if len(mine) != len(whole):
        raise _unsupported(step, "of values of different ranks")
    axes = [axis for axis, (a, b) in enumerate(zip(mine, whole, strict=True)) if a == 1 and b > 1]
    return step.builder.add("ReduceSum", gradient, step.builder.ints(*axes), keepdims=1) if axes else gradient


def _sum(step: Step) -> dict[int, str]:
    return {i: _summed(step, step.gradient, i) for i, live in enumerate(step.live) if live}


def _subtract(step: Step) -> dict[int, str]:
    found = _sum(step)
    if 1 in found:
        found[1] = step.builder.add("Neg", found[1])
    return found


def _multiply(step: Step) -> dict[int, str]:
    return {
        i: _summed(step, step.builder.add("Mul", step.gradient, step.inputs[1 - i]), i)
        for i, live in enumerate(step.live)
        if live
    }


def _divide(step: Step) -> dict[int, str]:
    if step.live[1]:
        raise _unsupported(step, "by a computed value")
    return {0: _summed(step, step.builder.add("Div", step.gradient, step.inputs[1]), 0)}


# -- pooling and shapes -----------------------------------------------------------------------------


def _max_pool(step: Step) -> dict[int, str]:
    b, x = step.builder, step.inputs[0]
    options = {a.name: helper.get_attribute_value(a) for a in step.node.attribute}
    _, places = b.add_many(2, "MaxPool", x, **options)
    size = b.add("Size", x)
    flat = b.add("Reshape", size, b.ints(1))
    zeros = b.add("ConstantOfShape", flat, value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
    one = b.ints(-1)
    filled = b.add(
        "ScatterElements",
        zeros,
        b.add("Reshape", places, one),
        b.add("Reshape", step.gradient, one),
        axis=0,
        reduction="add",
    )
    return {0: step.like(filled)}


def _average_pool(step: Step) -> dict[int, str]:
    if step.attribute("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or step.attribute("ceil_mode", 0):
        raise _unsupported(step, "with these options")
    b, size, channels = step.builder, step.attribute("kernel_shape"), step.shape(0)[1]
    pads, strides = step.attribute("pads", [0, 0, 0, 0]), step.attribute("strides", [1, 1])
    kernel = b.add("Expand", b.constant(np.ones((1, 1, *size))), b.ints(channels, 1, 1, 1))
    gradient = step.gradient
    if step.attribute("count_include_pad", 0):
        gradient = b.add("Div", gradient, b.constant(float(np.prod(size))))
    else:  # by as many pixels as there were
        ones = b.add("Add", b.add("Mul", step.inputs[0], b.constant(0.0)), b.constant(1.0))
        options = {"group": channels, "kernel_shape": size, "pads": pads, "strides": strides}
        gradient = b.add("Div", gradient, b.add("Conv", ones, kernel, **options))
    extent = [k - 1 for k in size]
    stretched = _insert_zeros(step, gradient, extent, pads)
    back = [r - p for r, p in zip([*extent, *extent], pads, strict=True)]
    return {0: b.add("Conv", stretched, kernel, group=channels, kernel_shape=size, pads=back)}


def _global_pool(step: Step) -> dict[int, str]:
    b, x = step.builder, step.inputs[0]
    area = b.add("ReduceProd", b.add("Slice", b.add("Shape", x), b.ints(2), b.ints(4)), keepdims=1)
    mean = b.add("Div", step.gradient, b.add("Cast", area, to=TensorProto.FLOAT))
    mean = b.add("Reshape", mean, b.ints(0, 0, 1, 1))
    return {0: b.add("Expand", mean, b.add("Shape", x))}


def _reduce_mean(step: Step) -> dict[int, str]:
    output = step.builder.shapes[step.node.output[0]]
    if len(step.shape(0)) != 4 or output[:2] != step.shape(0)[:2] or max(output[2:], default=1) > 1:
        raise _unsupported(step, "over other axes than height and width")
    return _global_pool(step)


def _reshape(step: Step) -> dict[int, str]:
    return {0: step.like(step.gradient)}


def _concat(step: Step) -> dict[int, str]:
    axis, b, found, start = step.attribute("axis"), step.builder, {}, 0
    axis %= len(step.shape(0))
    if axis != 1 and len(step.shape(0)) == 4:
        raise _unsupported(step, "along another axis than the channels'")
    for number in range(len(step.inputs)):
        end = start + step.shape(number)[axis]
        found[number] = b.add("Slice", step.gradient, b.ints(start), b.ints(end), b.ints(axis))
        start = end
    return found


def _pad(step: Step) -> dict[int, str]:
    if len(step.inputs) > 3 or step.attribute("mode", b"constant") != b"constant":
        raise _unsupported(step, "with these options")
    return {0: step.builder.add("Pad", step.gradient, step.builder.add("Neg", step.inputs[1]))}


def _transpose(step: Step) -> dict[int, str]:
    order = np.argsort(step.attribute("perm")).tolist()
    return {0: step.builder.add("Transpose", step.gradient, perm=order)}


def _same(step: Step) -> dict[int, str]:
    return {0: step.gradient}


ADJOINTS: dict[str, Adjoint] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _divide,
    "Dropout": _same,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _same,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _multiply,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Squeeze": _reshape,
    "Sub": _subtract,
    "Sum": _sum,
    "Tanh": _tanh,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""By the operator's name."""
