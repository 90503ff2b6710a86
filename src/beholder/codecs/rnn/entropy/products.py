"""Exact products of activations, which are bytes, with integer weights, by ONNX Runtime's 8-bit kernels.

A weight is 64 times one 8-bit integer plus another, both from -63 to 63.  So no kernel saturates: those of x86
processors without VNNI add two products of a byte and a weight in 16 bits, and 2 x 255 x 63 fits.  It takes half as
long as a product of 32-bit floats.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.entropy.rounding import Whole
from beholder.forks import keep_in_children

HIGH = 64
LARGEST = 63
GRAPH = bytes.fromhex(
    "080812003a620a180a01610a0162120179220d4d61744d756c496e74656765721201675a150a016112100a0e0802120a0a0312016d0a031201"
    "6b5a150a016212100a0e0803120a0a0312016b0a0312016e62150a017912100a0e0806120a0a0312016d0a0312016e42040a00100d"
)
"""An ONNX graph of one MatMulInteger: (m, k) uint8, (k, n) int8 -> (m, n) int32."""


class ByteProduct:
    """Products with one matrix of weights.

    Args:
        weight: (k, n) integers; sums of their products with bytes stay below 2^24.
    """

    def __init__(self, weight: NDArray[np.int64]) -> None:
        high = (weight + HIGH // 2) // HIGH
        parts = np.concatenate([high, weight - HIGH * high], 1)
        fits = bool(len(weight)) and int(np.abs(parts).max()) <= LARGEST
        self._count = weight.shape[1]
        self._parts = np.ascontiguousarray(parts, np.int8) if fits else None
        self._whole = np.ascontiguousarray(weight[: 0 if fits else None], np.float32)

    def __call__(self, x: NDArray[np.uint8]) -> Whole:
        """(m, k) bytes -> (m, n) whole numbers as float32."""
        if self._parts is None:
            return np.matmul(x.astype(np.float32), self._whole)
        both = _session().run(None, {"a": x, "b": self._parts})[0].astype(np.float32)
        result: Whole = both[:, : self._count] * np.float32(HIGH)
        result += both[:, self._count :]
        return result


@functools.cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # windows of a picture are shared among threads already
    options.enable_cpu_mem_arena = False
    return keep_in_children(onnxruntime.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"]))
