"""Conversion of each type of Keras layer to ONNX: the table ``CONVERTERS``.

Keras has images as (N, height, width, channels), the graph as (N, channels, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from beholder.errors import NotAvailableError
from beholder.observers.keras.onnx_graph import Array, Graph, Pads, Tensor


@dataclass
class Writer:
    """A graph in the making."""

    graph: Graph
    users: dict[int, list[Any]]
    """Operations that take each Keras tensor, by its id; None for the model's output."""
    folded: set[int] = field(default_factory=set)
    """Batch normalisations that are part of the convolution before them, by id."""

    def convert(self, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        """Write one layer.

        Raises:
            NotAvailableError: we do not know its type, or what it does with its options.
        """
        converter = CONVERTERS.get(type(layer).__name__)
        if converter is None:
            raise unknown(layer, f"of type {type(layer).__name__}")
        return converter(self, layer, inputs)

    def following(self, layer: Any) -> list[Any]:
        """The operations that take the output of ``layer``."""
        return self.users.get(id(layer.output), [])


Converter = Callable[[Writer, Any, Sequence[Tensor]], Tensor]


def unknown(layer: Any, what: str) -> NotAvailableError:
    """The error for a layer that cannot be written."""
    return NotAvailableError(f"The Keras layer {layer.name!r} {what} cannot be written to ONNX yet: use another.")


# -- convolutions and dense layers ------------------------------------------------------------------


def _conv(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    kernel = np.asarray(layer.kernel).transpose(3, 2, 0, 1)
    return _with_bias(writer, layer, inputs[0], kernel, layer.groups)


def _depthwise(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    kernel = _depthwise_kernel(layer.kernel)
    return _with_bias(writer, layer, inputs[0], kernel, inputs[0].shape[0])


def _separable(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    kernel = _depthwise_kernel(layer.depthwise_kernel)
    depthwise = _convolve(writer, layer, f"{layer.name}.depthwise", inputs[0], kernel, None, inputs[0].shape[0])
    pointwise = np.asarray(layer.pointwise_kernel).transpose(3, 2, 0, 1)
    return _with_bias(writer, layer, depthwise, pointwise, 1, pointwise=True)


def _dense(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (source,), graph, name = inputs, writer.graph, layer.name
    if len(source.shape) != 1:
        raise unknown(layer, f"on a tensor of {len(source.shape) + 1} dimensions")
    kernel, bias = np.asarray(layer.kernel).T, _bias(layer, layer.units)
    names = [source.name, graph.weight(f"{name}.w", kernel), graph.constant(f"{name}.b", bias.astype(np.float32))]
    result = graph.node("Gemm", names, f"{name}.gemm", transB=1)
    return _activate(writer, layer, Tensor(result, (layer.units,)))


def _depthwise_kernel(kernel: Any) -> Array:
    """From (height, width, channels, multiplier) to (channels * multiplier, 1, height, width)."""
    values = np.asarray(kernel)
    return values.transpose(2, 3, 0, 1).reshape(-1, 1, *values.shape[:2])


def _bias(layer: Any, count: int) -> Array:
    return np.zeros(count) if layer.bias is None else np.asarray(layer.bias, np.float64)


def _with_bias(
    writer: Writer, layer: Any, source: Tensor, kernel: Array, groups: int, *, pointwise: bool = False
) -> Tensor:
    """A convolution with its bias, the batch normalisation that follows, and its activation."""
    kernel, bias = kernel.astype(np.float64), _bias(layer, len(kernel))
    following = writer.following(layer)
    is_linear = layer.activation.__name__ == "linear"
    if is_linear and len(following) == 1 and type(following[0]).__name__ == "BatchNormalization":
        gain, shift = _gain_and_shift(following[0])
        kernel, bias = kernel * gain[:, None, None, None], bias * gain + shift
        writer.folded.add(id(following[0]))
    result = _convolve(writer, layer, layer.name, source, kernel, bias, groups, pointwise=pointwise)
    return _activate(writer, layer, result)


def _convolve(
    writer: Writer,
    layer: Any,
    name: str,
    source: Tensor,
    kernel: Array,
    bias: Array | None,
    groups: int,
    *,
    pointwise: bool = False,
) -> Tensor:
    graph = writer.graph
    strides = (1, 1) if pointwise else tuple(layer.strides)
    dilations = (1, 1) if pointwise else tuple(layer.dilation_rate)
    padding = "valid" if pointwise else layer.padding
    size = kernel.shape[2:]
    pads, area = _same(source, size, strides, padding, dilations)
    top, left, bottom, right = (a + b for a, b in zip(pads, source.pads, strict=True))
    names = [source.name, graph.weight(f"{name}.w", kernel)]
    if bias is not None:
        names.append(graph.constant(f"{name}.b", bias.astype(np.float32)))
    result = graph.node(
        "Conv",
        names,
        f"{name}.conv",
        kernel_shape=size,
        strides=strides,
        dilations=dilations,
        pads=(top, left, bottom, right),
        group=groups,
    )
    return Tensor(result, (len(kernel), *area))


def _same(
    source: Tensor,
    size: Sequence[int],
    strides: Sequence[int],
    padding: str,
    dilations: Sequence[int] = (1, 1),
) -> tuple[Pads, tuple[int, int]]:
    """Zeros around ``source`` as TensorFlow's padding ``same`` or ``valid`` adds them, and the output's area."""
    before, after, area = [], [], []
    for length, kernel, stride, dilation in zip(source.shape[1:], size, strides, dilations, strict=True):
        extent = (kernel - 1) * dilation + 1
        if padding == "same":
            count = math.ceil(length / stride)
            total = max((count - 1) * stride + extent - length, 0)
        else:
            count, total = (length - extent) // stride + 1, 0
        before.append(total // 2)
        after.append(total - total // 2)
        area.append(count)
    return (before[0], before[1], after[0], after[1]), (area[0], area[1])


# -- normalisation and activation -------------------------------------------------------------------


def _batch_normalisation(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (source,) = inputs
    if id(layer) in writer.folded:
        return source
    gain, shift = _gain_and_shift(layer)
    return _scale_and_shift(writer, layer.name, source, gain, shift)


def _gain_and_shift(layer: Any) -> tuple[Array, Array]:
    """The inference of a batch normalisation: ``x * gain + shift``."""
    mean, variance = (np.asarray(v, np.float32) for v in (layer.moving_mean, layer.moving_variance))
    gamma = np.ones_like(mean) if layer.gamma is None else np.asarray(layer.gamma, np.float32)
    gain = (gamma / np.sqrt(variance + np.float32(layer.epsilon))).astype(np.float64)
    beta = np.zeros_like(mean) if layer.beta is None else np.asarray(layer.beta, np.float32)
    return gain, beta - mean * gain


def _rescaling(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    channels = inputs[0].shape[0]
    scale, offset = (np.broadcast_to(np.asarray(v, np.float64), channels) for v in (layer.scale, layer.offset))
    return _scale_and_shift(writer, layer.name, inputs[0], scale, offset)


def _scale_and_shift(writer: Writer, name: str, source: Tensor, gain: Array, shift: Array) -> Tensor:
    graph, wide = writer.graph, (-1, *[1] * (len(source.shape) - 1))
    scale = graph.constant(f"{name}.gain", gain.reshape(wide).astype(np.float32))
    offset = graph.constant(f"{name}.shift", shift.reshape(wide).astype(np.float32))
    scaled = graph.node("Mul", [source.name, scale], f"{name}.mul")
    return Tensor(graph.node("Add", [scaled, offset], f"{name}.add"), source.shape)


def _activation(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return _activate(writer, layer, inputs[0])


def _activate(writer: Writer, layer: Any, source: Tensor) -> Tensor:
    """The layer's ``activation``."""
    kind, graph, name = layer.activation.__name__, writer.graph, f"{layer.name}.{layer.activation.__name__}"
    if kind == "linear":
        return source
    if kind == "softmax":
        return _softmax_of(writer, layer, source)
    if kind == "relu6":
        return _clip(writer, name, source, 6.0)
    operators = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if kind not in operators:
        raise unknown(layer, f"with the activation {kind}")
    return Tensor(graph.node(operators[kind], [source.name], name), source.shape)


def _relu(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (source,), name = inputs, f"{layer.name}.relu"
    if layer.negative_slope or layer.threshold:
        raise unknown(layer, "with a slope or a threshold")
    if layer.max_value is not None:
        return _clip(writer, name, source, float(layer.max_value))
    return Tensor(writer.graph.node("Relu", [source.name], name), source.shape)


def _clip(writer: Writer, name: str, source: Tensor, highest: float) -> Tensor:
    graph = writer.graph
    return Tensor(graph.node("Clip", [source.name, graph.scalar(0.0), graph.scalar(highest)], name), source.shape)


def _softmax(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return _softmax_of(writer, layer, inputs[0])


def _softmax_of(writer: Writer, layer: Any, source: Tensor) -> Tensor:
    if len(source.shape) != 1 or getattr(layer, "axis", -1) not in (-1, 1):
        raise unknown(layer, "with a softmax of anything but classes")
    return Tensor(writer.graph.node("Softmax", [source.name], f"{layer.name}.softmax", axis=1), source.shape)


# -- pooling and shapes -----------------------------------------------------------------------------


def _pooling(kind: str) -> Converter:
    def convert(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        size, strides = tuple(layer.pool_size), tuple(layer.strides)
        pads, area = _same(source, size, strides, layer.padding)
        # What is added around the picture is no part of a maximum or a mean, in Keras and in ONNX.
        options = {"kernel_shape": size, "strides": strides, "pads": pads}
        return Tensor(writer.graph.node(kind, [source.name], f"{layer.name}.pool", **options), (source.shape[0], *area))

    return convert


def _global_pooling(kind: str) -> Converter:
    def convert(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        (source,), graph = inputs, writer.graph
        pooled = graph.node(kind, [source.name], f"{layer.name}.pool")
        if layer.keepdims:
            return Tensor(pooled, (source.shape[0], 1, 1))
        return Tensor(graph.node("Flatten", [pooled], f"{layer.name}.flat"), source.shape[:1])

    return convert


def _zero_padding(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (source,) = inputs
    (top, bottom), (left, right) = layer.padding
    pads = (top, left, bottom, right)
    channels, height, width = source.shape
    shape = (channels, height + top + bottom, width + left + right)
    following = writer.following(layer)
    if all(type(user).__name__ in ("Conv2D", "DepthwiseConv2D") for user in following):
        return Tensor(source.name, shape, pads)  # the convolution adds the zeros
    full = writer.graph.constant(f"{layer.name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    names = [source.name, full]
    if any(type(user).__name__ == "MaxPooling2D" for user in following):
        # ONNX Runtime makes zeros before a MaxPool part of the MaxPool, where they never are the maximum.
        names.append(writer.graph.scalar(1e-30))
    return Tensor(writer.graph.node("Pad", names, f"{layer.name}.pad"), shape)


def _flatten(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return _reshaped(writer, layer, inputs[0], (math.prod(inputs[0].shape),))


def _reshape(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    shape = tuple(int(n) for n in layer.output.shape[1:])
    if len(shape) != 1:
        raise unknown(layer, f"to {len(shape) + 1} dimensions")
    return _reshaped(writer, layer, inputs[0], shape)


def _reshaped(writer: Writer, layer: Any, source: Tensor, shape: tuple[int]) -> Tensor:
    """Flattened in Keras' order: channels vary fastest."""
    graph, name = writer.graph, source.name
    if len(source.shape) == 3 and source.shape[1:] != (1, 1):
        name = graph.node("Transpose", [name], f"{layer.name}.nhwc", perm=[0, 2, 3, 1])
    return Tensor(graph.node("Flatten", [name], f"{layer.name}.flat"), shape)


def _add(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    total = inputs[0]
    for number, other in enumerate(inputs[1:]):
        total = Tensor(writer.graph.node("Add", [total.name, other.name], f"{layer.name}.add{number}"), inputs[0].shape)
    return total


def _concatenate(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    if layer.axis not in (-1, len(inputs[0].shape)):
        raise unknown(layer, f"along axis {layer.axis}")
    result = writer.graph.node("Concat", [t.name for t in inputs], f"{layer.name}.concat", axis=1)
    return Tensor(result, (sum(t.shape[0] for t in inputs), *inputs[0].shape[1:]))


def _scaled_sum(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Inception-ResNet's residual: the first input plus a multiple of the second."""
    first, second = inputs
    graph, name = writer.graph, layer.name
    scaled = graph.node("Mul", [second.name, graph.scalar(layer.scale)], f"{name}.mul")
    return Tensor(graph.node("Add", [first.name, scaled], f"{name}.sum"), first.shape)


def _flip(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (source,), graph = inputs, writer.graph
    if layer.axis not in (-1, len(source.shape)):
        raise unknown(layer, f"along axis {layer.axis}")
    order = graph.constant(f"{layer.name}.order", np.arange(source.shape[0])[::-1].astype(np.int64))
    return Tensor(graph.node("Gather", [source.name, order], f"{layer.name}.flip", axis=1), source.shape)


def _same_value(writer: Writer, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0]


CONVERTERS: dict[str, Converter] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling2D": _pooling("AveragePool"),
    "BatchNormalization": _batch_normalisation,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "CustomScaleLayer": _scaled_sum,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same_value,
    "Flatten": _flatten,
    "Flip": _flip,
    "GlobalAveragePooling2D": _global_pooling("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pooling("GlobalMaxPool"),
    "MaxPooling2D": _pooling("MaxPool"),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "SpatialDropout2D": _same_value,
    "ZeroPadding2D": _zero_padding,
}
"""By the name of the layer's class."""
