"""Layer by layer: what is written to ONNX computes what Keras computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.observers import keras_or_skip

from beholder.errors import NotAvailableError
from beholder.observers.keras import backend
from beholder.observers.keras import export as keras_export

Layers = Callable[[Any, Any], Any]
"""From keras.layers and an input to an output."""


def classifier(body: Layers, side: int) -> Any:
    """A model with ``body`` before its last layers, with random weights everywhere."""
    keras = keras_or_skip()
    pixels = keras.Input((side, side, 3))
    x = body(keras.layers, pixels)
    if len(x.shape) == 4:
        x = keras.layers.Flatten()(x)
    model = keras.Model(pixels, keras.layers.Dense(5, activation="softmax")(x))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        values = [rng.uniform(0.1, 0.8, w.shape) * (1 if w.name == "moving_variance" else 0.7) for w in layer.weights]
        signs = [1 if w.name == "moving_variance" else rng.choice([-1, 1], w.shape) for w in layer.weights]
        layer.set_weights([v * s for v, s in zip(values, signs, strict=True)])
    return model


def check(model: Any, side: int, folder: Path) -> Any:
    """Compare Keras and ONNX Runtime for batches of one and three; the session."""
    import onnx
    import onnxruntime

    path = folder / "model.onnx"
    keras_export.to_onnx(model, path, side)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(1).normal(size=(3, side, side, 3)).astype(np.float32)
    expected = np.asarray(model.predict(batch, verbose=0))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    for count in (1, 3):
        found, features = session.run(None, {"pixels": batch[:count].transpose(0, 3, 1, 2)})
        np.testing.assert_allclose(found, expected[:count], atol=2e-6)
        assert features.shape == (count, backend.head(model).input.shape[-1])
    return session


BODIES: dict[str, Layers] = {
    "conv": lambda k, x: k.Conv2D(4, 3, activation="relu")(x),
    "conv without bias": lambda k, x: k.Conv2D(4, (3, 1), use_bias=False, strides=(2, 1))(x),
    "same, stride 2": lambda k, x: k.Conv2D(4, 3, 2, padding="same")(x),
    "same, stride 3, even kernel": lambda k, x: k.Conv2D(4, 4, 3, padding="same")(x),
    "dilated": lambda k, x: k.Conv2D(4, 3, dilation_rate=2, padding="same")(x),
    "grouped": lambda k, x: k.Conv2D(6, 3, groups=3)(x),
    "depthwise": lambda k, x: k.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2)(x),
    "separable": lambda k, x: k.SeparableConv2D(5, 3, padding="same", depth_multiplier=2)(x),
    "separable and normalised": lambda k, x: k.BatchNormalization()(k.SeparableConv2D(5, 3, use_bias=False)(x)),
    "conv and normalised": lambda k, x: k.BatchNormalization(epsilon=0.1)(k.Conv2D(4, 3)(x)),
    "conv, activated, normalised": lambda k, x: k.BatchNormalization()(k.Conv2D(4, 3, activation="relu")(x)),
    "normalised before": lambda k, x: k.Conv2D(4, 3)(k.BatchNormalization(scale=False)(x)),
    "normalised without centre": lambda k, x: k.BatchNormalization(center=False)(k.Conv2D(4, 3)(x)),
    "normalised vector": lambda k, x: k.BatchNormalization()(k.Dense(6)(k.Flatten()(x))),
    "branch of a normalised conv": lambda k, x: _branch(k, k.Conv2D(3, 3, padding="same")(x)),
    "zeros, then conv": lambda k, x: k.Conv2D(4, 3, 2)(k.ZeroPadding2D(((0, 1), (2, 3)))(x)),
    "zeros, then depthwise": lambda k, x: k.DepthwiseConv2D(3, 2)(k.ZeroPadding2D(1)(x)),
    "zeros, then pool": lambda k, x: k.MaxPooling2D(3, 2)(k.ZeroPadding2D(((1, 2), (0, 1)))(x)),
    "max pool, same": lambda k, x: k.MaxPooling2D(3, 2, padding="same")(x),
    "mean pool, same": lambda k, x: k.AveragePooling2D(3, 1, padding="same")(x),
    "mean pool, same, stride 2": lambda k, x: k.AveragePooling2D(2, 2, padding="same")(x),
    "mean pool": lambda k, x: k.AveragePooling2D(2)(x),
    "global mean": lambda k, x: k.GlobalAveragePooling2D()(x),
    "global mean of one pixel": lambda k, x: k.Reshape((3,))(k.GlobalAveragePooling2D(keepdims=True)(x)),
    "global maximum": lambda k, x: k.GlobalMaxPooling2D()(x),
    "relu6": lambda k, x: k.ReLU(6.0)(k.Rescaling(20.0, -1.0)(x)),
    "relu": lambda k, x: k.ReLU()(x),
    "activations": lambda k, x: k.Activation("tanh")(k.Activation("sigmoid")(k.Activation("linear")(x))),
    "relu6 by name": lambda k, x: k.Activation("relu6")(x),
    "sum": lambda k, x: k.Add()([x, k.Conv2D(3, 1)(x), k.ReLU()(x)]),
    "concatenation": lambda k, x: k.Concatenate()([x, k.Conv2D(2, 1)(x)]),
    "rescaling by channel": lambda k, x: k.Rescaling([1.0, 2.0, 3.0], [0.5, 0.0, -0.5])(x),
    "dropout": lambda k, x: k.Dropout(0.5)(k.SpatialDropout2D(0.5)(x)),
    "flatten and dense": lambda k, x: k.Dense(7, activation="relu", use_bias=False)(k.Flatten()(x)),
}


def _branch(k: Any, x: Any) -> Any:
    """The convolution's own output is used, too: normalisation cannot be folded into it."""
    return k.Concatenate()([k.BatchNormalization()(x), x])


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("name", BODIES)
def test_layer(name: str, side: int, tmp_path: Path) -> None:
    check(classifier(BODIES[name], side), side, tmp_path)


def test_flipped_channels(tmp_path: Path) -> None:
    keras = keras_or_skip()
    check(classifier(lambda k, x: keras.ops.flip(x, axis=-1), 4), 4, tmp_path)


def test_logits_are_named_so(tmp_path: Path) -> None:
    keras = keras_or_skip()
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(pixels)))
    session = check(model, 4, tmp_path)
    assert [output.name for output in session.get_outputs()] == ["logits", "features"]


def test_equal_models_give_equal_bytes() -> None:
    model = classifier(BODIES["conv"], 6)
    assert keras_export.to_bytes(model, 6) == keras_export.to_bytes(model, 6)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (lambda k, x: k.LayerNormalization()(x), "of type LayerNormalization"),
        (lambda k, x: k.Activation("gelu")(x), "with the activation gelu"),
        (lambda k, x: k.ReLU(negative_slope=0.1)(x), "with a slope or a threshold"),
        (lambda k, x: k.Concatenate(axis=1)([x, x]), "along axis 1"),
        (lambda k, x: k.Flatten()(k.Dense(2)(x)), "on a tensor of 4 dimensions"),
        (lambda k, x: k.Reshape((3, 4, 4))(x), "to 4 dimensions"),
        (lambda k, x: k.Softmax()(x), "with a softmax of anything but classes"),
    ],
)
def test_what_we_do_not_know_is_told(body: Layers, complaint: str) -> None:
    model = classifier(body, 4)
    with pytest.raises(NotAvailableError, match=rf"The Keras layer '\w+' {complaint} cannot be written to ONNX yet"):
        keras_export.to_bytes(model, 4)


def test_a_layer_used_twice() -> None:
    keras = keras_or_skip()
    relu = keras.layers.ReLU()
    model = classifier(lambda k, x: k.Rescaling(2.0)(relu(k.Rescaling(-1.0)(relu(x)))), 4)
    with pytest.raises(NotAvailableError, match="is used more than once"):
        keras_export.to_bytes(model, 4)


def test_disagreement_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    from beholder.observers.base import ObserverInfo

    info = ObserverInfo("x", "x", 8, 1, None, "x", "x", "x", (0.0,) * 3, (255.0,) * 3)  # type: ignore[arg-type]
    model = classifier(BODIES["conv"], 8)
    photo = [Image.linear_gradient("L").resize((8, 8)).convert("RGB")]
    data = keras_export.to_bytes(model, 8)
    assert keras_export.verify(model, data, info, photo) < 1e-5
    layer = backend.head(model)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.arange(5)])
    with pytest.raises(NotAvailableError, match=r"x answers differently in ONNX Runtime than in Keras \(by 0\.\d+\)"):
        keras_export.verify(model, data, info, photo)
