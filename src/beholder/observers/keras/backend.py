"""Keras, imported late and on torch: it takes seconds and is part of the extra ``train``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from beholder.errors import NotAvailableError
from beholder.extras import install_command

if TYPE_CHECKING:
    import keras

VARIABLE = "KERAS_BACKEND"
INSTALL = install_command("train")


def require_keras() -> ModuleType:
    """The module ``keras``, on the torch backend unless ``$KERAS_BACKEND`` names another.

    Raises:
        NotAvailableError: Keras or its backend is not installed, or is set up in a way that we cannot use.
    """
    missing = [name for name in ("keras", "h5py", "onnx") if find_spec(name) is None]
    if missing:
        raise NotAvailableError(f"Keras networks need {missing[0]}: {INSTALL}.")
    if "keras" not in sys.modules:
        if VARIABLE not in os.environ and find_spec("torch") is None:
            raise NotAvailableError(f"Keras networks need torch: {INSTALL}.")
        # Not the backend in ~/.keras/keras.json: Keras itself writes that file, so it is nobody's choice.
        os.environ.setdefault(VARIABLE, "torch")
    backend = os.environ.get(VARIABLE)
    try:
        import keras
    except Exception as error:  # each backend fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NotAvailableError(
            f"Keras cannot run on {VARIABLE}={backend} ({reason[:200]}): unset {VARIABLE} to use torch."
        ) from None
    if keras.config.image_data_format() != "channels_last":
        raise NotAvailableError(
            "Keras is set to channels_first: set image_data_format to channels_last in ~/.keras/keras.json."
        )
    return keras


def head(model: keras.Model) -> keras.Layer:
    """The layer that makes classes of features: the last one with weights."""
    return next(layer for layer in reversed(model.layers) if layer.weights)
