"""Observers: pretrained image classifiers that judge what a compressed image still shows.

To add one, write a file with a function that returns an :class:`Observer` and add its line to ``_REGISTRY``.
"""

from __future__ import annotations

from importlib import import_module

from beholder.errors import BadOptionError
from beholder.observers.base import Observer, ObserverInfo, Prediction

__all__ = ["Observer", "ObserverInfo", "Prediction", "get", "infos", "names"]

# name -> "module:function", imported when asked for
_REGISTRY = {
    "efficientnet_lite0": "beholder.observers.efficientnet_lite:lite0",
}


def names() -> list[str]:
    """The names of all observers, the default first."""
    return list(_REGISTRY)


def get(name: str) -> Observer:
    """A new observer; keep it, since it holds its opened network.

    Raises:
        BadOptionError: nobody has this name; the message lists the known ones.
    """
    if name not in _REGISTRY:
        raise BadOptionError(f"There is no classifier {name!r}: choose one of {', '.join(names())}.")
    module, function = _REGISTRY[name].split(":")
    observer = getattr(import_module(module), function)()
    assert isinstance(observer, Observer)
    return observer


def infos() -> list[ObserverInfo]:
    """The descriptions of all observers, in the order of :func:`names`."""
    return [get(name).info for name in names()]
