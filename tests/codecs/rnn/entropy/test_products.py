"""`products`: exact on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.codecs.rnn.entropy.products import GRAPH, HIGH, LARGEST, ByteProduct

MOST = HIGH * LARGEST + HIGH // 2 - 1


def expected(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x.astype(np.int64) @ weight


@pytest.mark.parametrize("most", [1, 31, 32, 255, 4000, 5000])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 33, 5), (300, 864, 96)])
def test_products_are_exact(most: int, shape: tuple[int, int, int]) -> None:
    rows, inputs, outputs = shape
    rng = np.random.default_rng(most)
    x = rng.integers(0, 256, (rows, inputs)).astype(np.uint8)
    weight = rng.integers(-most, most + 1, (inputs, outputs)) * (rng.random((inputs, outputs)) < 1 / 64)
    assert np.array_equal(ByteProduct(weight)(x), expected(x, weight))


@pytest.mark.parametrize("weight", [MOST, -HIGH * LARGEST - HIGH // 2, 32, -33, LARGEST, MOST + 1, 30000])
def test_nothing_saturates(weight: int) -> None:
    """Pairs of the largest products, which 16 bits must hold."""
    x = np.full((40, 16), 255, np.uint8)
    weights = np.full((16, 3), weight)
    weights[::2, 1] *= -1
    assert np.array_equal(ByteProduct(weights)(x), expected(x, weights))


def test_no_rows_and_no_inputs() -> None:
    assert ByteProduct(np.zeros((9, 4), np.int64))(np.zeros((0, 9), np.uint8)).shape == (0, 4)
    assert not ByteProduct(np.zeros((0, 4), np.int64))(np.zeros((5, 0), np.uint8)).any()


def test_the_graph_is_one_product() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(GRAPH)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]
