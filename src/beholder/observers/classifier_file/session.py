"""ONNX Runtime sessions, one for each file in this process.

To open a network takes longer than to run it once. So observers of the same file share its session. Sessions may be
used from several threads.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.forks import keep_in_children
from beholder.observers.classifier_file import structure
from beholder.threads import threads

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_OPEN = 8
"""Number of files that stay open for observers to come; those in use stay open anyway."""

_Key = tuple[Any, ...]
_open: OrderedDict[_Key, Opened] = OrderedDict()
_lock = threading.Lock()


class Opened:
    """An open file; ``structure`` is read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; ONNX Runtime raises a dozen unrelated classes of exceptions."""
        # Imported here because it takes longer than the rest of Beholder together.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is told by exceptions
        options.intra_op_num_threads = threads()
        self.path = path
        self.session: InferenceSession = keep_in_children(
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        )
        self._structure: structure.Structure | None = None

    @property
    def structure(self) -> structure.Structure:
        """Operators and class names; empty if they cannot be read."""
        if self._structure is None:
            self._structure = structure.read(self.path)
        return self._structure


def get(path: Path) -> Opened:
    """The session of the file ``path``, opened anew only if the file has changed since."""
    key = _key(path)
    with _lock:
        found = _open.get(key)
        if found is None:
            found = _open[key] = Opened(path)
            while len(_open) > MOST_OPEN:
                _open.popitem(last=False)
        _open.move_to_end(key)
        return found


def _key(path: Path) -> _Key:
    """Key that tells files and their versions apart; sessions do not survive a fork."""
    real = os.path.realpath(path)
    facts = [os.getpid(), real]
    for name in (real, real + ".data"):  # torch.onnx puts large weights beside the graph
        try:
            status = os.stat(name)
            facts += [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]
        except OSError:
            facts.append(-1)
    return tuple(facts)


def _unlock() -> None:
    global _lock
    _lock = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
