"""Writing ONNX files: nodes, constants, and weights in few bytes.

Small weights (``int8=True``): large tensors become 8-bit integers with one scale an output channel, small ones
float16. In the graph they pass through Cast and Mul, which ONNX Runtime folds into float32 constants when it opens
the file. So the network runs as fast as with float32 weights. (It does not fold DequantizeLinear, which costs a tenth
of the speed.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

Array = npt.NDArray[Any]
Pads = tuple[int, int, int, int]

OPSET = 17
IR_VERSION = 8
NO_PADS: Pads = (0, 0, 0, 0)
# Small tensors, the early and depthwise ones among them, would make most of the error of int8 weights but are
# little of the size: they are float16.
INT8_FROM = 1 << 16


@dataclass(frozen=True)
class Tensor:
    """A value in the graph."""

    name: str
    shape: tuple[int, ...]
    """Without the batch; images are (channels, height, width)."""
    pads: Pads = NO_PADS
    """Zeros that the next convolution has to add: top, left, bottom, right; ``shape`` counts them already."""


class Graph:
    """Collects nodes and constants; methods that add something return the tensor or the name it has."""

    def __init__(self, *, int8: bool = False) -> None:
        """``int8`` stores weights small."""
        self.int8 = int8
        # Everything goes right into its place in the file: weights may be large, and each copy counts.
        self.model = onnx.ModelProto(
            ir_version=IR_VERSION, producer_name="beholder", opset_import=[helper.make_opsetid("", OPSET)]
        )
        self.scalars: set[str] = set()

    def input(self, name: str, side: int) -> Tensor:
        """The graph's input (N, 3, side, side)."""
        shape = ["n", 3, side, side]
        self.model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Tensor(name, (3, side, side))

    def constant(self, name: str, value: Array) -> str:
        """Add an initialiser of any shape; its name."""
        tensor = self.model.graph.initializer.add()
        tensor.name = name
        tensor.data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor.dims.extend(value.shape)
        tensor.raw_data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def scalar(self, value: float) -> str:
        """A float32 constant, the same one for equal values."""
        name = f"constant.{value:g}"
        if name not in self.scalars:
            self.scalars.add(name)
            self.constant(name, np.array(value, np.float32))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """An operator with one output."""
        self.model.graph.node.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def weight(self, name: str, value: Array) -> str:
        """Add a weight tensor (outputs, ...), stored small if ``int8`` and used as float32; its name."""
        if not self.int8:
            return self.constant(name, value.astype(np.float32))
        if value.size < INT8_FROM:
            half = self.constant(f"{name}.half", value.astype(np.float16))
            return self.node("Cast", [half], name, to=TensorProto.FLOAT)
        codes, scale = quantise(value)
        cast = self.node("Cast", [self.constant(f"{name}.int8", codes)], f"{name}.cast", to=TensorProto.FLOAT)
        return self.node("Mul", [cast, self.constant(f"{name}.scale", scale)], name)

    def finish(self, outputs: Sequence[tuple[str, Tensor]], name: str, source: str = "") -> bytes:
        """The bytes of the file, with the tensors ``outputs`` under the names given."""
        for label, tensor in outputs:
            self.node("Identity", [tensor.name], label)
            info = helper.make_tensor_value_info(label, TensorProto.FLOAT, ["n", *tensor.shape])
            self.model.graph.output.append(info)
        self.model.graph.name = name
        if source:
            helper.set_model_props(self.model, {"source": source})
        return self.model.SerializeToString(deterministic=True)


def quantise(weight: Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 weights (outputs, ...) and their float32 scales, one for each output, (outputs, 1, ...)."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = (np.maximum(largest, 1e-12) / 127.0).astype(np.float32)
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale
