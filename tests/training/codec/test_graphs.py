"""Graphs of the gradients are such as ONNX Runtime computes in its fast layout."""

import onnx
import pytest

from beholder import weights
from beholder.codecs.rnn.onnx_model import GRADIENTS


@pytest.mark.parametrize("name", GRADIENTS)
def test_convolutions_have_stored_biases_or_none(name: str) -> None:
    """The exporter computes zeros from the weights' size: a convolution of such a bias takes half as long again."""
    graph = onnx.load(weights.CODEC / name, load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {node.output[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in stored}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 10
    assert [node.input[2] for node in convolutions if len(node.input) == 3 and node.input[2] not in stored] == []
