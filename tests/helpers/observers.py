"""What the tests of observers share: an empty cache, Keras, networks with weights that let the signal through."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SMALL_VGG = 64
RED_GREEN_BLUE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
"""For :func:`make_onnx`: a classifier of three colours."""


def empty_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in ``folder`` in place of the user's, and no weights that other programs downloaded."""
    monkeypatch.setenv("BEHOLDER_CACHE", str(folder / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    return folder / "cache"


def keras_or_skip() -> Any:
    """Keras on torch; the test is skipped where the extra ``train`` is not installed."""
    for needed in ("keras", "torch", "onnx", "h5py"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is needed to build networks")
    if os.environ.get("KERAS_BACKEND", "torch") != "torch":
        pytest.skip("KERAS_BACKEND is not torch")
    from beholder.observers.keras.backend import require_keras

    return require_keras()


def noise(side: int, seed: int) -> Image.Image:
    """Smooth colourful noise, which classifiers do not all answer alike."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def enliven(keras: Any, model: Any, batch: np.ndarray, largest: float = 20) -> None:
    """Give ``model`` random weights with which every layer matters and ``batch`` gets clear, different answers."""
    rng = np.random.default_rng(0)
    layers = [layer for layer in model.layers if layer.weights]
    for layer in layers:
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        layer.set_weights([_values(rng, weight, depthwise) for weight in layer.weights])
    head = layers[-1]
    kernel, bias = head.get_weights()
    width = int(np.prod(kernel.shape[:-1]))
    features = np.asarray(keras.Model(model.inputs, head.input).predict(batch, verbose=0)).reshape(-1, width)
    # Logits that differ by about 3 from picture to picture: neither all alike nor one that takes it all.  But where
    # features hardly differ, no logits much above ``largest``: the rounding of Keras and of others would show.
    mean, spread, length = features.mean(axis=0), np.linalg.norm(features.std(axis=0)), np.linalg.norm(features[0])
    kernel = rng.standard_normal((width, len(bias)), np.float32) * np.float32(min(3 / spread, largest / length))
    head.set_weights([kernel.reshape(*head.kernel.shape), -mean @ kernel])


def _values(rng: np.random.Generator, weight: Any, depthwise: bool) -> np.ndarray:
    shape = tuple(weight.shape)
    if weight.name.endswith("kernel"):
        fan_in = np.prod(shape[:2] if depthwise or weight.name.startswith("depthwise") else shape[:-1])
        return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
    if weight.name in ("gamma", "moving_variance"):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def small_vgg16(**options: Any) -> Any:
    """VGG-16 for pictures of 64 x 64: all its layers, but an eighth of its weights."""
    return keras_or_skip().applications.VGG16(input_shape=(SMALL_VGG, SMALL_VGG, 3), **options)


def small_vgg19(**options: Any) -> Any:
    """VGG-19 for pictures of 64 x 64."""
    return keras_or_skip().applications.VGG19(input_shape=(SMALL_VGG, SMALL_VGG, 3), **options)


def save_legacy(model: Any, path: Path) -> None:
    """Write weights as Keras 1 and 2 did: the layout of the published ``*_tf_dim_ordering_tf_kernels.h5``."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.1.6"
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name, data=weight)


def make_onnx(
    path: Path,
    matrix: Sequence[Sequence[float]],
    *,
    side: int | str = 8,
    batch: int | str = "n",
    channels_last: bool = False,
    softmax: bool = False,
    half: bool = False,
    features: bool = False,
) -> Path:
    """Write a tiny classifier: the mean colour of the picture times a (classes, 3) matrix."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    shape = [batch, side, side, 3] if channels_last else [batch, 3, side, side]
    weight = np.asarray(matrix, np.float16 if half else np.float32)
    axes = [1, 2] if channels_last else [2, 3]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["features"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["features", "w"], ["y"], transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["y"], ["z"], axis=1))
    outputs = [helper.make_tensor_value_info("z" if softmax else "y", kind, [batch, len(weight)])]
    if features:
        outputs.append(helper.make_tensor_value_info("features", kind, [batch, 3]))
    constants = [onnx.numpy_helper.from_array(weight, "w")]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
