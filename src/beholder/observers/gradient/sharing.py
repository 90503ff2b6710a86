"""Weights that a graph finds in another ONNX file of the same folder instead of holding them itself."""

from __future__ import annotations

import onnx
from onnx.external_data_helper import set_external_data

SHARED_FROM = 64
"""Bytes from which a tensor is shared."""


def share(model: onnx.ModelProto, name: str, data: bytes) -> onnx.ModelProto:
    """Take out of ``model`` the weights that lie in the file ``name`` of content ``data``; returns ``model``."""
    for tensor in model.graph.initializer:
        # Shapes have to lie in the graph itself.
        large = len(tensor.raw_data) >= SHARED_FROM and tensor.data_type != onnx.TensorProto.INT64
        place = data.find(tensor.raw_data) if large else -1
        if place >= 0:
            set_external_data(tensor, name, place, len(tensor.raw_data))
            tensor.ClearField("raw_data")
    return model
