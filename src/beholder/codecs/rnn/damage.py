"""Models that are damaged, or that strangers made: whatever their files provoke becomes one sentence."""

from __future__ import annotations

import contextlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.errors import BadFileError, BeholderError
from beholder.json_text import read_json

ARRAYS = "entropy.npz"
_LONGEST_REASON = 200
_LONGEST_CARD = 1 << 20
_LONGEST_NAME = 100
MOST_BYTES = 256 << 20
"""Bytes that the arrays of one file may take, unpacked; the model that ships has 9 MB of them."""
_MOST_ARRAYS = 10_000
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n", re.DOTALL
)
"""First bytes of an array's file, with its type and its shape."""


@contextlib.contextmanager
def one_sentence(
    sentence: str, kind: type[BeholderError] = BadFileError, but: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn every exception of the block but our own, and those in ``but``, into ``kind``.

    ``{reason}`` in ``sentence`` says what it was.  NumPy, ONNX, zip, JSON and torch raise dozens of classes for bytes
    that are not what they expect.
    """
    try:
        yield
    except BeholderError:
        raise
    except Exception as error:
        if isinstance(error, but):
            raise
        text = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".")
        reason = f"{text} is missing" if isinstance(error, KeyError) else text or type(error).__name__
        raise kind(sentence.replace("{reason}", reason)) from None


class StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an ``entropy.npz``, each unpacked when it is first asked for: most pictures need half of them.

    For a file that is known to be sound.  ``numpy.load`` takes twice as long for arrays as small as these.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / ARRAYS).read_bytes()
        with zipfile.ZipFile(BytesIO(self._file)) as archive:
            self._members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        self._unpacked: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._unpacked:
            self._unpacked[name] = self._unpack(self._members[name])
        return self._unpacked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def _unpack(self, member: zipfile.ZipInfo) -> NDArray[Any]:
        name, extra = struct.unpack_from("<HH", self._file, member.header_offset + 26)
        start = member.header_offset + 30 + name + extra
        data = self._file[start : start + member.compress_size]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompress(data, -zlib.MAX_WBITS, member.file_size)
        head = _HEAD.match(data)
        if head is None:
            array: NDArray[Any] = np.lib.format.read_array(BytesIO(data))
            return array
        shape = [int(side) for side in head[2].split(b",") if side.strip()]
        return np.frombuffer(data, head[1].decode(), offset=head.end()).reshape(shape).copy()


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a model's ``entropy.npz``, of any shape; whatever is wrong with them raises
    (see :func:`one_sentence`)."""
    return unpack_arrays(folder / ARRAYS)


def unpack_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` file, of any shape.

    Raises:
        ValueError: they take more than :data:`MOST_BYTES`, or are no numbers.
        Exception: whatever zip and NumPy raise for bytes that are not what they expect.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS or sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError(f"{path.name} unpacks to more than {MOST_BYTES:,} bytes or {_MOST_ARRAYS:,} arrays")
        for member in members:
            name = member.filename.removesuffix(".npy")
            arrays[name] = np.lib.format.read_array(BytesIO(archive.read(member)), allow_pickle=False)
            if arrays[name].dtype.kind not in "biuf":
                raise ValueError(f"its {name[:_LONGEST_NAME]} are no numbers")
    return arrays


def read_card(folder: Path, identity: bytes) -> dict[str, Any]:
    """``model.json`` of a model whose files have this ``identity``.

    Raises:
        ValueError: it is no JSON object, or names other files than those that lie beside it.
        OSError: it cannot be read.
    """
    card = read_json(folder / "model.json", _LONGEST_CARD, strict=False)
    if not isinstance(card, dict):
        raise ValueError("model.json is no JSON object")
    if card.get("identity", identity.hex()) != identity.hex():
        raise ValueError("its files are not those that were exported together")
    return card
