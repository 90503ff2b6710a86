"""Where gradient graphs lie, ``NAME.gradient.onnx`` beside ``NAME.onnx``, and how they get there."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from beholder import observers
from beholder.errors import NotAvailableError
from beholder.extras import install_command
from beholder.files import save_atomically
from beholder.observers.base import Observer
from beholder.observers.onnx_observer import OnnxObserver


def gradient_file(classifier: Path) -> Path:
    """Path of the gradient graph of the classifier in this ONNX file."""
    return classifier.with_suffix(".gradient.onnx")


def find(observer: str | os.PathLike[str] | Observer) -> Path:
    """The gradient graph of an observer.

    Args:
        observer: as :func:`beholder.observers.get` takes it.

    Raises:
        BadOptionError, BadFileError: as :func:`beholder.observers.get`.
        NotAvailableError: the graph is not there; the sentence says how to make it.
    """
    found = observers.get(observer)
    file = gradient_file(_classifier(found))
    if not file.is_file():
        told = os.fspath(observer) if isinstance(observer, str | os.PathLike) else found.info.name
        raise NotAvailableError(
            f"The gradient of {told}, which optimising for it needs, is not there: run `beholder prepare {told} "
            f"--gradient` ({install_command('train')})."
        )
    return file


def make(observer: Observer) -> Path:
    """Write the gradient graph of an observer that is ready; its path.

    Raises:
        NotAvailableError: it is not ready, the package onnx is missing, or an operator has no gradient here.
        BadFileError: the classifier's file cannot be read, or is nothing that can be differentiated.
        OutputError: the graph cannot be written.
    """
    classifier = _classifier(observer)
    reason = observer.unavailable()
    if reason is not None:
        raise NotAvailableError(reason)
    if find_spec("onnx") is None:
        raise NotAvailableError(f"Gradient graphs need onnx: {install_command('train')}.")
    from beholder.observers.gradient.build import build

    file = gradient_file(classifier)
    save_atomically(file, build(classifier, observer.info))
    return file


def _classifier(observer: Observer) -> Path:
    if not isinstance(observer, OnnxObserver):
        raise NotAvailableError(
            f"{observer.info.name} is no ONNX file, so it has no gradient here: optimise for another observer."
        )
    return observer.path
