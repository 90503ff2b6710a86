"""ONNX Runtime's sessions of a model's graphs, each opened once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK
from beholder.errors import BadOptionError
from beholder.forks import keep_in_children
from beholder.limits import stop_after
from beholder.threads import begin, threads

COLUMNS = 16
LEAST_COLUMNS = 5
"""A thread gets this many times ``COLUMNS``."""


class Sessions:
    """The graphs in a folder, by name without the suffix.

    Args:
        folder: of a codec model.
        seconds: time that one run may take; None for graphs that are known to end.
    """

    def __init__(self, folder: Path, seconds: float | None = None) -> None:
        self._folder = folder
        self._seconds = seconds
        self._opened: dict[tuple[str, int], Callable[[], Any]] = {}

    def prepare(self, network: str, positions: int) -> None:
        """Begin to open a graph that will be needed for so many positions of the latent.

        An error is told by :meth:`run`."""
        key = (network, threads_for(positions))
        if key not in self._opened:
            self._opened[key] = begin(partial(self._open, *key))

    def run(self, network: str, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs of a graph, of any shape.

        Raises:
            BadOptionError: it cannot be opened, or does not run.
            MemoryError: there is too little memory.
        """
        key = (network, threads_for(_positions(inputs)))
        if key not in self._opened:
            self._opened[key] = cache(partial(self._open, *key))
        session = self._opened[key]()
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

    def _open(self, network: str, count: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is told by exceptions
        options.intra_op_num_threads = count
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


def threads_for(positions: int) -> int:
    """Threads that share so many positions of the latent.

    ONNX Runtime shares columns of products in sixteens.  Where a thread has 64 or fewer, sums are split in another way,
    and results would depend on the number of threads (docs/bhd-format.md).
    """
    return max(1, min(threads(), -(-positions // COLUMNS) // LEAST_COLUMNS))


def _positions(inputs: Mapping[str, NDArray[Any]]) -> int:
    """Positions of the latent in a graph's inputs, the smallest of which are at its resolution, or pictures."""
    maps = [value for value in inputs.values() if value.ndim == 4]
    return min((value[0, 0].size // (BLOCK**2 if value.shape[1] == 3 else 1) for value in maps), default=1)


@cache
def _run_options() -> Any:
    return _new_options()


def _new_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    # A session would keep the memory of its largest tile for good.
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
