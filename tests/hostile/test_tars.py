"""Archives whose headers claim what no archive needs are refused at once; links and devices are no pictures."""

from __future__ import annotations

import gzip
import itertools
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from beholder.data.published.archives import images_in_tar, images_in_tars, members, members_with_data
from beholder.data.published.imagenet import DEVKIT, GROUND_TRUTH, read_ground_truth
from beholder.errors import BadFileError

END = bytes(1024)
MOST_MEMBERS = 1000
"""More than any archive here has: a reader that goes round in circles ends there."""


def binary(size: int) -> bytes:
    """A size in the binary form for large and negative numbers."""
    return (size % (1 << 96) | (1 << 95 if size >= 0 else 0)).to_bytes(12, "big")


def header(name: str, size: bytes | int = 0, kind: bytes = b"0") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd" if kind in b"12" else ""
    block = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def stored(name: str, data: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % 512)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = next(n for n in itertools.count(len(body)) if len(str(n)) + len(body) == n)
    return str(size).encode() + body


def photo() -> bytes:
    out = BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    return out.getvalue()


PHOTO = stored("a.jpg", photo())
DAMAGED = {
    "size of -512": header("b.jpg", binary(-512)),
    "size of -1": header("b.jpg", binary(-1)),
    "size of -512 in decimals": header("b.jpg", b"-0000001000\0"),
    "size of a terabyte": header("b.jpg", binary(1 << 40)) + bytes(512),
    "size beyond all files": header("b.jpg", binary((1 << 94) - 1)),
    "size of -512 in a record": stored("pax", record("size", b"-512"), b"x") + PHOTO,
    "size of -512 for all": stored("pax", record("size", b"-512"), b"g") + PHOTO,
    "long name of a gigabyte": header("././@LongLink", 1 << 30, b"L"),
    "records of a terabyte": header("pax", binary(1 << 40), b"x"),
    "records of -512": header("pax", binary(-512), b"x"),
    "records of 100,000 digits": stored("pax", b"1" * 100_000, b"x") + PHOTO,
    "record of 5,000 digits of bytes": stored("pax", b"9" * 5000 + b" path=a\n", b"x") + PHOTO,
    "long names without an end": stored("././@LongLink", b"b\0", b"L") * 10_000,
    "sparse map of letters": stored("pax", record("GNU.sparse.map", b"a,b"), b"x") + PHOTO,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_claims_of_headers_are_refused(name: str) -> None:
    with pytest.raises(BadFileError, match="get a whole copy") as caught:
        list(itertools.islice(members(BytesIO(PHOTO + DAMAGED[name] + END), "a.tar"), MOST_MEMBERS))
    assert len(str(caught.value)) < 300


def test_a_label_of_negative_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(header("a.cls", binary(-1024)) + END)
    with pytest.raises(BadFileError, match="negative size"):
        list(itertools.islice(members_with_data(path, lambda name: True, 100), MOST_MEMBERS))


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_links_and_devices_are_left_out(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(PHOTO + header("b.jpg", 0, kind) + END)
    assert [name for name, *_ in images_in_tar(path)] == ["a.jpg"]


def test_a_sparse_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    claims = record("GNU.sparse.map", b"0,1") + record("GNU.sparse.size", b"1000000000000")
    path.write_bytes(PHOTO + stored("pax", claims, b"x") + stored("b.jpg", b"x") + END)
    assert [name for name, *_ in images_in_tar(path)] == ["a.jpg"]


def test_paths_out_of_the_archive_are_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(stored("../../b.jpg", b"1") + stored("/etc/c.jpg", b"22") + END)
    assert [(name, size) for name, _, size in images_in_tar(path)] == [("b.jpg", 1), ("c.jpg", 2)]


def test_an_archive_in_an_archive_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(stored("n01440764.tar", PHOTO + DAMAGED["size of -512"] + END) + END)
    with pytest.raises(BadFileError, match="negative size"):
        list(images_in_tars(path))


def test_long_names_and_attributes_are_read() -> None:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "1" * 900}) as tar:
        member = tarfile.TarInfo("é" * 2000 + ".jpg")
        member.pax_headers = {"SCHILY.xattr.user.note": "x" * 60_000}
        tar.addfile(member)
    (found,) = members(BytesIO(out.getvalue()), "a.tar")
    assert found.name == member.name


@pytest.mark.parametrize("name", ["size of -512", "records of a terabyte"])
def test_the_devkit_is_checked_too(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{DEVKIT}.tar.gz").write_bytes(gzip.compress(PHOTO + DAMAGED[name] + END))
    with pytest.raises(BadFileError, match="get a whole copy"):
        read_ground_truth(tmp_path)
    assert GROUND_TRUTH
