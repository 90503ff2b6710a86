"""ONNX Runtime's sessions of a model's graphs, each opened once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.threads import begin
from beholder.errors import BadOptionError
from beholder.forks import keep_in_children
from beholder.limits import stop_after


class Sessions:
    """The graphs in a folder, by name without the suffix.

    Args:
        folder: of a codec model.
        seconds: time that one run may take; None for graphs that are known to end.
    """

    def __init__(self, folder: Path, seconds: float | None = None) -> None:
        self._folder = folder
        self._seconds = seconds
        self._opened: dict[str, Callable[[], Any]] = {}

    def prepare(self, network: str) -> None:
        """Begin to open a graph that will be needed; an error is told by :meth:`run`."""
        if network not in self._opened:
            self._opened[network] = begin(partial(self._open, network))

    def run(self, network: str, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs of a graph, of any shape.

        Raises:
            BadOptionError: it cannot be opened, or does not run.
            MemoryError: there is too little memory.
        """
        if network not in self._opened:
            self._opened[network] = cache(partial(self._open, network))
        session = self._opened[network]()
        options = _run_options() if self._seconds is None else _new_options()
        try:
            feeds = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
            with contextlib.nullcontext() if self._seconds is None else stop_after(self._seconds, options):
                outputs: list[NDArray[Any]] = session.run(None, feeds, options)
        except Exception as error:  # ONNX Runtime raises many kinds
            if "allocate memory" in str(error):
                raise MemoryError from None
            file = self._folder / f"{network}.onnx"
            reason = "comes to no end" if options.terminate else "cannot run"
            raise BadOptionError(f"{file} {reason}: the model is damaged; export it again.") from None
        return outputs

    def _open(self, network: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is told by exceptions
        # A plan of the memory for each size of tile makes one block of it, which fits into no gap that is free:
        # 100 MB more for a picture of 6 MP, and no faster.
        options.enable_mem_pattern = False
        # Networks and NumPy's products take turns: threads that wait busily for the next turn slow the other down.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = self._folder / f"{network}.onnx"
        try:
            return keep_in_children(
                onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            )
        except Exception:  # ONNX Runtime raises many kinds
            raise BadOptionError(
                f"{file} cannot be opened: the model is damaged or lacks a file; export it again."
            ) from None


@cache
def _run_options() -> Any:
    return _new_options()


def _new_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    # A session would keep the memory of its largest tile for good.
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
