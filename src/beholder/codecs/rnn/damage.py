"""Models that are damaged, or that strangers made: whatever their files provoke becomes one sentence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.errors import BadFileError, BeholderError

ARRAYS = "entropy.npz"
_LONGEST_REASON = 200


@contextlib.contextmanager
def one_sentence(sentence: str, kind: type[BeholderError] = BadFileError) -> Iterator[None]:
    """Turn every exception of the block but our own into ``kind``; ``{reason}`` in ``sentence`` says what it was.

    NumPy, ONNX, zip, JSON and torch raise dozens of classes for bytes that are not what they expect.
    """
    try:
        yield
    except BeholderError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".")
        reason = f"{text} is missing" if isinstance(error, KeyError) else text or type(error).__name__
        raise kind(sentence.replace("{reason}", reason)) from None


class StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an ``entropy.npz``, each unpacked when it is first asked for: most pictures need half of them."""

    def __init__(self, folder: Path) -> None:
        # In memory: forked processes would share the position in a file.
        self._archive = np.load(BytesIO((folder / ARRAYS).read_bytes()), allow_pickle=False)
        self._unpacked: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._unpacked:
            self._unpacked[name] = self._archive[name]
        return self._unpacked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a model's ``entropy.npz``, of any shape; whatever is wrong with them raises
    (see :func:`one_sentence`)."""
    with np.load(folder / ARRAYS, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_card(folder: Path, identity: bytes) -> dict[str, Any]:
    """``model.json`` of a model whose files have this ``identity``.

    Raises:
        ValueError: it is no JSON object, or names other files than those that lie beside it.
        OSError: it cannot be read.
    """
    card = json.loads((folder / "model.json").read_bytes())
    if not isinstance(card, dict):
        raise ValueError("model.json is no JSON object")
    if card.get("identity", identity.hex()) != identity.hex():
        raise ValueError("its files are not those that were exported together")
    return card
