"""Making a classifier ready: weights fetched or given, written as an ONNX graph, checked against Keras, installed.

Needs Keras, torch and onnx (the extra ``train``).  What comes out runs with the core install alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from beholder.errors import BadFileError, BadOptionError
from beholder.observers import labels, specs, store
from beholder.observers.base import ObserverInfo
from beholder.observers.keras import download
from beholder.observers.keras import export as keras_export
from beholder.observers.keras import zoo as keras_zoo
from beholder.observers.keras.backend import require_keras


@dataclass(frozen=True)
class Prepared:
    """Result of :func:`prepare`."""

    info: ObserverInfo
    folder: Path
    difference: float
    """Largest difference of a probability between ONNX Runtime and Keras on the sample photographs."""


def check(name: str) -> specs.Network:
    """The network called ``name``; BadOptionError if it is unknown or needs no preparation."""
    network = specs.NETWORKS.get(name)
    can = [known for known, other in specs.NETWORKS.items() if not other.shipped]
    if network is None:
        raise BadOptionError(f"There is no observer {name!r} to prepare: choose one of {', '.join(can)}.")
    if network.shipped:
        raise BadOptionError(f"{name} ships with Beholder and needs no preparation: choose one of {', '.join(can)}.")
    return network


def prepare(name: str, weights: Path | None = None, *, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """Install the built-in observer ``name``, in place of one that is there.

    Args:
        weights: a file of Keras weights (``.weights.h5``, ``.h5`` of any age, ``.keras``) of this network for
            ImageNet's 1000 classes; None to download the published ones.
        say: called with a sentence at the beginning of each step.

    Raises:
        BadOptionError: nobody has this name, or it ships with Beholder.
        NotAvailableError: Keras is missing, the weights cannot be downloaded, or ONNX Runtime and Keras disagree.
        BadFileError: the weights are damaged, another network's, or for other classes.
        OutputError: the cache cannot be written.
    """
    network = check(name)
    require_keras()
    say(f"Getting the weights of {name} ...")
    file = download.fetch(network.weights) if weights is None else weights
    model = keras_zoo.load(name, file)
    classes = int(model.output_shape[-1])
    if classes != labels.COUNT:
        raise BadFileError(
            f"{file} tells {classes} classes apart, not ImageNet's {labels.COUNT}: {name} stands for those."
        )
    info = network.info
    if weights is not None and not download.is_published(file, network.weights):
        title = f"{info.title}, weights of {file.name}"
        info = replace(info, title=title, top1=None, licence="not stated", source=str(file))
    say("Writing the ONNX graph and comparing it with Keras ...")
    # Graphs may be large: they are written once, to where they stay.
    with store.room() as room:
        path = room / store.MODEL
        keras_export.to_onnx(model, path, info.input_size)
        difference = keras_export.verify(model, path, info)
        installed = store.install(name, path, info, labels.imagenet(), force=True, move=True)
    return Prepared(info, installed, difference)
