"""Every classifier that Keras can build and train, with ImageNet weights where asked for.

    model = build("mobilenet", classes=120, weights="imagenet")

Networks take preprocessed pixels, float32 (N, S, S, 3), by :func:`spec`'s mean, std and channel order. With
``include_preprocessing`` they take RGB of 0..255. They give probabilities, float32 (N, classes).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from beholder.errors import BadOptionError
from beholder.observers import specs
from beholder.observers.base import ObserverInfo
from beholder.observers.keras import weights as keras_weights
from beholder.observers.keras.backend import head, require_keras

if TYPE_CHECKING:
    import keras

IMAGENET_CLASSES = 1000


def names() -> list[str]:
    """The networks that :func:`build` knows."""
    return list(specs.NETWORKS)


def spec(name: str) -> ObserverInfo:
    """A network's description with its preprocessing; needs no Keras.  BadOptionError for an unknown name."""
    return specs.get(name).info


def build(
    name: str,
    classes: int = IMAGENET_CLASSES,
    weights: Literal["imagenet"] | Path | None = None,
    include_preprocessing: bool = False,
) -> keras.Model:
    """A new Keras model.

    Args:
        name: one of :func:`names`.
        classes: number of classes.
        weights: None for random ones; ``imagenet`` for the published ones, downloaded once; or a file (``.weights.h5``,
            ``.h5`` of any age, ``.keras``).  With another number of classes than those of the weights, all layers but
            the classifier (:func:`~beholder.observers.keras.backend.head`) get them.
        include_preprocessing: let the model take RGB pixels 0..255 and preprocess them itself.

    Raises:
        BadOptionError: the name or the number of classes is impossible.
        NotAvailableError: Keras is not installed, or the weights cannot be fetched.
        BadFileError: the weights are damaged or another network's.
    """
    network = specs.get(name)
    if classes < 2:
        raise BadOptionError(f"A classifier of {classes} classes is not possible: give at least 2.")
    require_keras()

    def random(count: int) -> keras.Model:
        return _random(network, count, include_preprocessing)

    if weights is None:
        return random(classes)
    file = keras_weights.published(network) if weights == "imagenet" else Path(weights)
    model = keras_weights.load(file, network, random)
    return model if model.output_shape[-1] == classes else _with_new_head(model, random(classes))


def load(name: str, file: Path) -> keras.Model:
    """The network ``name`` for whatever number of classes the weights in ``file`` have; raises as :func:`build`."""
    network = specs.get(name)
    require_keras()
    return keras_weights.load(file, network, lambda count: _random(network, count, include_preprocessing=False))


def _random(network: specs.Network, classes: int, include_preprocessing: bool) -> keras.Model:
    module, function = network.builder.split(":")
    builder: Any = getattr(import_module(module), function)
    name = network.info.name
    if not include_preprocessing:
        return builder(weights=None, classes=classes, name=name)
    return builder(weights=None, classes=classes, name=name, input_tensor=_preprocessed(network.info))


def _with_new_head(source: keras.Model, network: keras.Model) -> keras.Model:
    """``network`` with the weights of ``source``, the same network of other classes, in all layers but the head."""
    new_head = head(network)
    for old, new in zip(source.layers, network.layers, strict=True):
        if new is not new_head:
            new.set_weights(old.get_weights())
    return network


def _preprocessed(info: ObserverInfo) -> Any:
    """A symbolic input of RGB pixels 0..255, as ``info`` wants them."""
    keras = require_keras()
    pixels = keras.Input((info.input_size, info.input_size, 3), name="pixels")
    ordered = keras.ops.flip(pixels, axis=-1) if info.channel_order == "BGR" else pixels
    offset = [-m / s for m, s in zip(info.mean, info.std, strict=True)]
    return keras.layers.Rescaling([1 / s for s in info.std], offset, name="preprocessing")(ordered)
