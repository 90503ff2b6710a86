"""Files of arrays that are bombs, claim more than they hold, or hold what are no numbers."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.codecs.rnn import damage
from beholder.codecs.rnn.damage import MOST_BYTES, one_sentence, unpack_arrays
from beholder.errors import BadFileError

resource = pytest.importorskip("resource")
MEBIBYTE = bytes(1 << 20)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


def shaped(shape: str, kind: str = "<i4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}") + bytes(64)


def saved(array: Any) -> bytes:
    out = BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


BAD = {
    "a terabyte": shaped("(137438953472,)", "<f8"),
    "more than a file can hold": shaped("(1099511627776, 1099511627776)"),
    "a negative side": shaped("(-1,)"),
    "two negative sides": shaped("(-2, -2)"),
    "a side in floating point": shaped("(1e9,)"),
    "an expression": shaped("(9**9,)"),
    "70 sides": shaped(f"({'1, ' * 70})"),
    "texts of no length": shaped("(9999999999,)", "|S0"),
    "texts": saved(np.array(["a", "b"])),
    "dates": saved(np.array(["2020-01-01"], "M8[D]")),
    "complex numbers": saved(np.array([1j])),
    "records": saved(np.zeros(3, [("a", "i4"), ("b", "f8")])),
    "objects": saved(np.array([print, {}], object)),
    "nesting": header("(" * 4000 + ")" * 4000),
    "a header of a gigabyte": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30) + bytes(64),
    "nothing": b"",
    "words": b"hello",
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_are_none(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", good=saved(np.arange(3)), bad=BAD[name])
    with pytest.raises(BadFileError) as caught, one_sentence("It is damaged ({reason})."):
        unpack_arrays(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("data", [b"", b"x" * 1000, saved(np.arange(3)), saved(np.array([print], object))])
def test_files_that_are_no_archives(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(BadFileError, match="not a zip file"), one_sentence("It is damaged ({reason})."):
        unpack_arrays(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open("a.npy", "w") as member:
        member.write(shaped(f"({MOST_BYTES},)", "|i1"))
        for _ in range(MOST_BYTES >> 20):
            member.write(MEBIBYTE)
    assert path.stat().st_size < 2 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpack_arrays(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


def test_an_archive_of_too_many_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "_MOST_ARRAYS", 2)
    path = archive(tmp_path / "a.npz", a=saved(np.arange(3)), b=saved(np.arange(3)))
    assert list(unpack_arrays(path)) == ["a", "b"]
    archive(path, a=b"", b=b"", c=b"")
    with pytest.raises(ValueError, match="arrays"):
        unpack_arrays(path)


def test_any_order_of_axes_and_bytes_is_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.int32).reshape(2, 3)
    path = archive(tmp_path / "a.npz", a=saved(np.asfortranarray(values)), b=saved(values.astype(">i4")))
    for array in unpack_arrays(path).values():
        np.testing.assert_array_equal(array, values)
