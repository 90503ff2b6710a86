"""Classifiers in ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from beholder.errors import NotAvailableError
from beholder.observers import labels
from beholder.observers.base import Float32Array, Observer, ObserverInfo, preprocess

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SHIPPED = Path(__file__).parents[1] / "weights" / "observers"
"""The folder of the classifiers that come with Beholder."""

_BATCH = 16  # larger batches are no faster on a CPU and take more memory


class OnnxObserver(Observer):
    """A classifier with one input (n, 3, S, S), preprocessed pixels, and one output (n, 1000), probabilities.

    The file is opened at the first prediction and stays open as long as this object lives.
    """

    def __init__(self, info: ObserverInfo, path: Path) -> None:
        super().__init__(info)
        self.path = path

    def unavailable(self) -> str | None:
        """What is missing, ONNX Runtime or the file, as a sentence; None if neither."""
        if importlib.util.find_spec("onnxruntime") is None:
            return f"{self.info.name} needs ONNX Runtime: pip install onnxruntime."
        if not self.path.is_file():
            return f"The weights of {self.info.name} are missing ({self.path}): install Beholder again."
        return None

    @cached_property
    def _session(self) -> InferenceSession:
        # Imported here because it takes longer than the rest of Beholder together.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise NotAvailableError(
                f"The weights of {self.info.name} cannot be opened ({self.path}): install Beholder again."
            ) from error

    def _run(self, images: Sequence[Image.Image]) -> Float32Array:
        source = self._session.get_inputs()[0].name
        result = np.empty((len(images), labels.COUNT), np.float32)
        for start in range(0, len(images), _BATCH):
            batch = preprocess(images[start : start + _BATCH], self.info)
            result[start : start + _BATCH] = self._session.run(None, {source: batch})[0]
        return result
