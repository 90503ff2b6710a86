"""A classifier's distortion and its gradient: an ONNX graph that :mod:`beholder.observers.gradient` wrote."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder import weights
from beholder.codecs.rnn.optimise.views import Floats, View
from beholder.errors import BadFileError
from beholder.forks import keep_in_children
from beholder.limits import stop_after
from beholder.threads import threads

DEFAULT = weights.OBSERVERS / "efficientnet_lite0.gradient.onnx"
"""The gradient graph that ships."""
SECONDS = 600
"""Time that another graph may take for the views of a picture: the one that ships takes 2 seconds."""


class Classifier:
    """Distance of pictures as a classifier sees them.

    Args:
        file: its gradient graph.

    Raises:
        BadFileError: the file cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        import onnxruntime

        self.file = file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is told by exceptions
        options.intra_op_num_threads = threads()
        # Views change their size from round to round, and a plan of the memory would be kept for each size.
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = keep_in_children(
                onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            )
            names = {value.name for value in self._session.get_inputs()}
            told = self._session.get_modelmeta().custom_metadata_map
        except Exception:  # ONNX Runtime raises many kinds
            raise BadFileError(f"{file} cannot be opened: make the gradient graph again.") from None
        if names != {"decoded", "original"}:
            raise BadFileError(f"{file} is no gradient graph: make it with `beholder prepare NAME --gradient`.")
        classifier = file.parent / Path(told.get("classifier", "")).name
        if not classifier.is_file() or hashlib.sha256(classifier.read_bytes()).hexdigest() != told.get("sha256"):
            raise BadFileError(
                f"{file} was made for another {classifier.name}: make it again with `beholder prepare NAME --gradient`."
            )

    def distortion(self, view: View, decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
        """Distortion of a picture (3, H, W) in one view."""
        return float(self._run("distortion", view.show(decoded)[None], view.show(original)[None])[0][0])

    def gradient(self, views: list[View], decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> Floats:
        """Gradient of the mean distortion over ``views`` by the pixels of ``decoded``, (3, H, W)."""
        total = np.zeros(decoded.shape, np.float32)
        for view in views:  # one after the other: together they would take twice the memory
            shown = [view.show(picture)[None] for picture in (decoded, original)]
            view.add_adjoint(self._run("gradient", *shown)[0][0], total)
        total /= np.float32(len(views))
        return total

    def _run(self, output: str, decoded: Floats, original: Floats) -> Any:
        ends = self.file == DEFAULT
        options = _run_options() if ends else _new_options()
        try:
            with contextlib.nullcontext() if ends else stop_after(SECONDS, options):
                return self._session.run([output], {"decoded": decoded, "original": original}, options)
        except Exception as error:  # ONNX Runtime raises many kinds
            if "allocate memory" in str(error):
                raise MemoryError from None
            reason = " ".join(str(error).split())[:150]
            raise BadFileError(f"{self.file} cannot run ({reason}): make the gradient graph again.") from None


@functools.lru_cache(maxsize=2)
def load(file: Path) -> Classifier:
    """The classifier of a gradient graph, opened once."""
    return Classifier(file)


@functools.cache
def _run_options() -> Any:
    return _new_options()


def _new_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
