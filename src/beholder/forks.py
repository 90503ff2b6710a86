"""ONNX Runtime's sessions in forked processes.

Destroying a session waits for its threads, and a forked child has none of its parent's threads: it would wait for ever.
So a child keeps all sessions that it inherits until it ends.
"""

from __future__ import annotations

import os
import weakref
from typing import TypeVar

T = TypeVar("T")

_open: weakref.WeakSet[object] = weakref.WeakSet()
_inherited: list[object] = []


def keep_in_children(session: T) -> T:
    """The session, which forked children of this process never destroy."""
    _open.add(session)
    return session


def _inherit() -> None:
    _inherited.extend(_open)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inherit)
