"""MATLAB files are read as scipy reads them, and damaged ones are refused."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from helpers.published import meta_mat
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from beholder.data.published.matlab import read_variable
from beholder.errors import BadFileError, BeholderError

DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def written(compressed: bool, **variables: object) -> bytes:
    out = io.BytesIO()
    savemat(out, variables, do_compression=compressed)
    return out.getvalue()


def cell(values: list[Any]) -> np.ndarray:
    result = np.empty((len(values), 1), object)
    result[:, 0] = values
    return result


@given(
    st.booleans(),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 127), min_size=1, max_size=12),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=9),
)
def test_numbers_and_texts(compressed: bool, dtype: str, numbers: list[int], texts: list[str]) -> None:
    array = np.array(numbers, dtype)
    data = written(compressed, unrelated=np.eye(3), numbers=array, texts=cell(texts), text=texts[0])
    found = read_variable(data, "numbers", "file")
    assert found.tolist() == loadmat(io.BytesIO(data))["numbers"].ravel().tolist() == numbers
    assert read_variable(data, "texts", "file") == texts
    assert read_variable(data, "text", "file") == texts[0]


def test_the_devkits_table_is_what_scipy_sees() -> None:
    ours = read_variable(meta_mat(), "synsets", "meta.mat")
    scipys = loadmat(io.BytesIO(meta_mat()), squeeze_me=True)["synsets"]
    assert len(ours) == len(scipys) == 1001
    for row, expected in zip(ours, scipys, strict=True):
        assert tuple(row) == expected.dtype.names
        assert (row["WNID"], row["words"], row["gloss"]) == tuple(expected[f] for f in ("WNID", "words", "gloss"))
        for field in ("ILSVRC2012_ID", "num_children", "wordnet_height", "num_train_images"):
            assert row[field].tolist() == [expected[field]]


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(order + "II", kind, len(content)) + content + bytes(-len(content) % 8)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_text_in_16_bits_as_matlab_writes_it(order: str) -> None:
    endian = "little" if order == "<" else "big"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + (0x0100).to_bytes(2, endian) + (0x4D49).to_bytes(2, endian)
    flags = element(order, 6, struct.pack(order + "II", 4, 0))
    dims = element(order, 5, struct.pack(order + "ii", 1, 5))
    name = struct.pack(order + "I", (1 << 16 | 1)) + b"x\0\0\0"  # within its tag
    text = element(order, 4, "Größe".encode("utf-16-le" if order == "<" else "utf-16-be"))
    assert read_variable(header + element(order, 14, flags + dims + name + text), "x", "file") == "Größe"


def test_what_is_refused() -> None:
    whole = written(False, x=cell(["a", "b"]))
    for data, sentence in (
        (b"", "does not begin as one"),
        (whole[:100], "does not begin as one"),
        (whole[:-8], "truncated"),
        (whole[:124] + b"\x00\x02" + whole[126:], "another version"),
        (written(True, x=cell(["a", "b"]))[:-8], "truncated"),
    ):
        with pytest.raises(BadFileError, match=f"^lists is no MATLAB file that can be read .*{sentence}"):
            read_variable(data, "x", "lists")
    with pytest.raises(BadFileError, match="lists lacks the variable y"):
        read_variable(whole, "y", "lists")


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_an_error_or_harmless(draw: st.DataObject) -> None:
    struct_array = np.array([(1, "one"), (2, "two")], [("number", object), ("name", object)])
    content = bytearray(written(False, files=cell(["a/b.jpg", "c/d.jpg"]), s=struct_array, n=np.arange(3.0)))
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    for name in ("files", "s", "n"):
        try:
            read_variable(bytes(content), name, "file")
        except BeholderError:
            continue
