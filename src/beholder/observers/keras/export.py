"""From a Keras classifier to an ONNX file for inference, and the proof that both give the same answers.

The graph is written layer by layer instead of traced, which works on every Keras backend, with any batch size and
for grouped convolutions: ``pixels`` float32 (N, 3, S, S), preprocessed  ->  ``probabilities`` (N, classes) and
``features`` (N, D), the pooled input of the last layer with weights.  Batch normalisation is folded into the
convolution before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from beholder.errors import BadFileError, NotAvailableError
from beholder.files import save_atomically
from beholder.observers.base import Float32Array, ObserverInfo, preprocess
from beholder.observers.keras.backend import head
from beholder.threads import threads

if TYPE_CHECKING:
    import keras

    from beholder.observers.keras.onnx_graph import Graph, Tensor

TOLERANCE = 1e-4
"""Largest difference of a probability between Keras and ONNX Runtime."""


def to_onnx(model: keras.Model, path: Path, input_size: int, *, int8: bool = False) -> None:
    """Write ``model``, which maps float32 (N, S, S, 3) to (N, classes), to the ONNX file ``path``.

    Args:
        input_size: S.
        int8: store large weights as 8-bit integers and small ones as float16: a quarter of the size, nearly the same
            answers, the same speed.

    Raises:
        NotAvailableError: the model has a layer that we do not know.
        OutputError: the file cannot be written.
    """
    save_atomically(path, to_bytes(model, input_size, int8=int8))


def to_bytes(model: keras.Model, input_size: int, *, int8: bool = False, source: str = "") -> bytes:
    """Bytes that :func:`to_onnx` writes; equal models give equal bytes.  ``source`` is kept in the file.

    Raises:
        NotAvailableError: the model uses a layer more than once.
    """
    # The package onnx is part of the extra "train", as Keras is.
    from beholder.observers.keras.layers import Writer
    from beholder.observers.keras.onnx_graph import Graph

    graph = Graph(int8=int8)
    writer = Writer(graph, _users(model))
    values: dict[int, Tensor] = {}
    last = head(model)
    features = None
    for operation in model.operations:
        if _is_input(operation):
            values[id(operation.output)] = graph.input("pixels", input_size)
            continue
        tensors = _listed(operation.input)
        if any(id(tensor) not in values for tensor in tensors):
            raise NotAvailableError(
                f"Keras layer {operation.name!r} or one before it is used more than once: that cannot be written to "
                "ONNX yet."
            )
        inputs = [values[id(tensor)] for tensor in tensors]
        if operation is last:
            features = _pooled(graph, inputs[0])
        values[id(operation.output)] = writer.convert(operation, inputs)
    answer = "probabilities" if graph.model.graph.node[-1].op_type == "Softmax" else "logits"
    outputs = [(answer, values[id(model.outputs[0])])]
    if features is not None:
        outputs.append(("features", features))
    return graph.finish(outputs, model.name, source)


def verify(
    model: keras.Model, file: Path | bytes, info: ObserverInfo, photos: Sequence[Image.Image] | None = None
) -> float:
    """Compare an ONNX file with the Keras model, each photo alone and all as one batch.

    Args:
        file: its path or its bytes.
        photos: RGB images of the network's input size; None for the samples that ship.

    Returns:
        The largest difference of a probability.

    Raises:
        BadFileError: the model's answers are no numbers.
        NotAvailableError: the difference is above ``TOLERANCE``: the file must not be used.
    """
    import onnxruntime

    batch = preprocess(sample_views(info) if photos is None else photos, info)
    expected = np.asarray(model.predict(batch.transpose(0, 2, 3, 1), batch_size=4, verbose=0), np.float64)
    if not np.isfinite(expected).all():
        raise BadFileError(f"The weights of {info.name} are damaged: its answers are no numbers; get a whole copy.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads()
    content = file if isinstance(file, bytes) else str(file)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(part: Float32Array) -> Any:
        return session.run(None, {session.get_inputs()[0].name: part})[0]

    found = [run(batch), np.concatenate([run(batch[i : i + 1]) for i in range(len(batch))])]
    worst = max(float(np.abs(result - expected).max()) for result in found)
    if not worst <= TOLERANCE:  # NaN is no agreement
        raise NotAvailableError(
            f"{info.name} answers differently in ONNX Runtime than in Keras (by {worst:.2g}): "
            "report this with the versions of both."
        )
    return worst


def sample_views(info: ObserverInfo) -> list[Image.Image]:
    """RGB inputs for a network of ``info`` from the photographs that ship."""
    from beholder import samples
    from beholder.observers.base import view
    from beholder.reading import load

    return [view(load(samples.path(name)), info.input_size) for name in samples.NAMES]


def _users(model: keras.Model) -> dict[int, list[Any]]:
    """Which operations take each tensor; a model's output is taken by None."""
    users: dict[int, list[Any]] = {}
    for operation in model.operations:
        inputs = [] if _is_input(operation) else _listed(operation.input)
        for tensor in inputs:
            users.setdefault(id(tensor), []).append(operation)
    for tensor in model.outputs:
        users.setdefault(id(tensor), []).append(None)
    return users


def _pooled(graph: Graph, source: Tensor) -> Tensor:
    """The mean over an image's area of each channel; vectors as they are."""
    from beholder.observers.keras.onnx_graph import Tensor

    if len(source.shape) == 1:
        return source
    mean = graph.node("GlobalAveragePool", [source.name], "features.pool")
    return Tensor(graph.node("Flatten", [mean], "features.flat"), source.shape[:1])


def _is_input(operation: Any) -> bool:
    return type(operation).__name__ == "InputLayer"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
