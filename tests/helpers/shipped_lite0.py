"""The classifier that ships, in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from beholder import weights


def load_shipped(net: Any) -> None:
    """Give the published network the rounded weights of the file that ships."""
    graph = onnx.load(str(weights.OBSERVERS / "efficientnet_lite0.onnx")).graph
    values = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Cast", "Mul") and node.input[0] in values:
            factor = values[node.input[1]] if node.op_type == "Mul" else np.float32(1)
            values[node.output[0]] = values[node.input[0]] * factor
    parts = [getattr(b, f"_{n}_conv", None) for b in net._blocks for n in ("expand", "depthwise", "project")]
    layers = [net._conv_stem, *(part for part in parts if part is not None), net._conv_head, net._fc]
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    for layer, node in zip(layers, nodes, strict=True):
        for parameter, name in zip((layer.weight, layer.bias), node.input[1:], strict=True):
            parameter.data = torch.from_numpy(values[name])
