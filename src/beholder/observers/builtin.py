"""The observers that every Beholder knows: those that ship, and those that ``beholder prepare`` makes."""

from __future__ import annotations

from importlib.util import find_spec

from beholder import weights
from beholder.errors import BadFileError
from beholder.observers import custom, specs, store
from beholder.observers.keras.backend import INSTALL
from beholder.observers.onnx_observer import OnnxObserver


class Unprepared(OnnxObserver):
    """A network whose weights are not here yet, or not whole."""

    def unavailable(self) -> str:
        """The command that prepares it."""
        return self._remedy


def get(name: str) -> OnnxObserver:
    """The built-in observer ``name``, a key of ``specs.NETWORKS``."""
    network = specs.get(name)
    if network.shipped:
        return OnnxObserver(network.info, weights.OBSERVERS / f"{name}.onnx")
    folder, command = store.folder(name), f"`beholder prepare {name}`"
    if not (folder / store.SIDECAR).is_file():
        first = "" if find_spec("keras") and find_spec("torch") else f"{INSTALL}, then "
        return Unprepared(
            network.info, folder / store.MODEL, remedy=f"{name} is not prepared yet: {first}run {command}."
        )
    try:
        return custom.installed(name)
    except BadFileError:
        again = f"What was prepared of {name} is damaged ({folder}): run `beholder prepare {name} --force`."
        return Unprepared(network.info, folder / store.MODEL, remedy=again)
