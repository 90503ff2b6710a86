"""The network of a job: built, given its first weights, and told which of its layers may learn."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from beholder.errors import BadFileError, BadOptionError
from beholder.observers.keras import backend
from beholder.observers.keras import zoo as keras_zoo
from beholder.training.classifier import state
from beholder.training.classifier.settings import ClassifierJob

EVERYTHING, HEAD = "all", "head"


def build(job: ClassifierJob, classes: int) -> Any:
    """A job's Keras model at its first step: pixels (N, S, S, 3), preprocessed, to probabilities (N, classes).

    Raises:
        BadOptionError: the network, its input size or a layer's name is impossible.
        BadFileError: the file of pretrained weights does not fit.
        NotAvailableError: weights cannot be fetched.
    """
    model = _pretrained(job, classes)
    names = job.settings.fresh_layers
    if names and job.pretrained is not None:
        fresh = keras_zoo.build(job.classifier, classes)
        chosen = _matching(model, names)
        for layer, new in zip(model.layers, fresh.layers, strict=True):
            if layer in chosen:
                layer.set_weights(new.get_weights())
    select(model, job.train_layers)
    return model


def _pretrained(job: ClassifierJob, classes: int) -> Any:
    if job.pretrained is None or job.resume:
        return keras_zoo.build(job.classifier, classes)
    if job.pretrained == "imagenet":
        return keras_zoo.build(job.classifier, classes, "imagenet")
    path = Path(job.pretrained)
    if not path.is_file():
        raise BadFileError(f"There is no file of weights {path}: give imagenet or a file.")
    if path.suffix != ".pt":
        return keras_zoo.build(job.classifier, classes, path)
    found = state.read(path)
    if found["terms"]["classifier"] != job.classifier:
        raise BadFileError(f"{path} holds weights of {found['terms']['classifier']}, not of {job.classifier}.")
    old = keras_zoo.build(job.classifier, len(found["classes"]))
    state.put(old.weights, found["weights"], path)
    model = keras_zoo.build(job.classifier, classes)
    same_head = len(found["classes"]) == classes
    for layer, new in zip(old.layers, model.layers, strict=True):
        if same_head or layer is not backend.head(old):
            new.set_weights(layer.get_weights())
    return model


def select(model: Any, layers: str) -> None:
    """Let only some layers of ``model`` learn; the others keep weights and moving averages.

    Args:
        layers: ``all``; ``head`` (the layer that makes classes of features); or, separated by commas, beginnings of
            names of layers, or ``NAME+`` for a layer and all after it.

    Raises:
        BadOptionError: nothing has such a name, or none of the layers has weights.
    """
    if layers == EVERYTHING:
        return
    chosen = _matching(model, [name.strip() for name in layers.split(",") if name.strip()])
    for layer in model.layers:
        layer.trainable = layer in chosen
    if not model.trainable_weights:
        raise BadOptionError(f"The layers {layers} have no weights that could learn: choose others, head or all.")


def _matching(model: Any, patterns: Iterable[str]) -> list[Any]:
    names = layer_names(model)
    chosen = []
    for pattern in patterns:
        if pattern == HEAD:
            found = [backend.head(model)]
        elif pattern.endswith("+") and pattern[:-1] in names:
            found = model.layers[names.index(pattern[:-1]) :]
        else:
            found = [layer for layer, name in zip(model.layers, names, strict=True) if name.startswith(pattern)]
        if not found:
            close = difflib.get_close_matches(pattern.rstrip("+"), names, 3, cutoff=0.5)
            advice = (
                f"did you mean {' or '.join(close)}?" if close else f"they are called like {', '.join(names[1:4])}."
            )
            raise BadOptionError(f"{model.name} has no layer whose name begins with {pattern!r}: {advice}")
        chosen += found
    return chosen


def layer_names(model: Any) -> list[str]:
    """The names of a model's layers, as they are in the first model of a process.

    Keras numbers layers that were not given a name through all models of a process: conv2d_94 may be the first one.
    """
    kinds: dict[str, list[tuple[int, int]]] = {}
    names = [str(layer.name) for layer in model.layers]
    for place, layer in enumerate(model.layers):
        # Keras' own rule: SeparableConv2D, separable_conv2d.
        kind = re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        match = re.fullmatch(rf"{kind}(?:_(\d+))?", names[place])
        if match:
            kinds.setdefault(kind, []).append((int(match[1] or 0), place))
    for kind, numbered in kinds.items():
        for number, (_, place) in enumerate(sorted(numbered)):
            names[place] = f"{kind}_{number}" if number else kind
    return names


def logits(model: Any) -> Any:
    """The model's output before the softmax, for a loss that does not lose digits.

    The last layer of ``model`` loses its softmax for good if it has one of its own.

    Raises:
        BadOptionError: the model does not end with a softmax.
    """
    import keras

    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        return last.input
    if getattr(last, "activation", None) is not keras.activations.softmax:
        raise BadOptionError(f"{model.name} does not end with a softmax: it cannot be trained here.")
    if isinstance(last, keras.layers.Activation):
        return last.input
    last.activation = keras.activations.linear
    return model.outputs[0]


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build networks that compute as ``policy`` says: float32, mixed_bfloat16 or mixed_float16."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
