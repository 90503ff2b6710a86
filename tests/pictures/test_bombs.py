"""Small files that would keep a reader busy for long, or take much memory, are refused before they are decoded."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from beholder.errors import BadImageError
from beholder.limits import LARGE, MAX_PIXELS, PIXELS_A_BYTE, check_claim, limit_pixels
from beholder.pictures.bombs import MOST_CHUNKS, MOST_PARTS, PNG_SIGNATURE
from beholder.reading import open_image

resource = pytest.importorskip("resource")
SIDE = 14_000
"""A square of this side is below the limit of pixels."""
MOST_MEMORY = 64 << 20
"""Bytes by which the largest memory of the process may grow while a bomb is refused."""


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))


def saved(format: str, **options: object) -> bytes:
    out = BytesIO()
    photo().save(out, format, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, kind: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    return PNG_SIGNATURE + header + b"".join(chunks) + chunk(b"IEND", b"")


def flat_png(side: int) -> bytes:
    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(1 + side)) for _ in range(side))
    return png(side, side, chunk(b"IDAT", rows + packer.flush()))


def jpeg(progressive: bool) -> bytes:
    data = saved("JPEG", progressive=progressive)
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", SIDE, SIDE) + data[place + 4 :]


def jpeg_with(segment: bytes, count: int) -> bytes:
    data = saved("JPEG")
    return data[:2] + segment * count + data[2:]


def replaced(data: bytes, mark: bytes, skip: int, new: bytes) -> bytes:
    place = data.index(mark) + skip
    return data[:place] + new + data[place + len(new) :]


def tiff() -> bytes:
    """Deflated 64-bit floats in colour, for which Pillow has no reader."""
    packed = zlib.compress(bytes(1000))
    tags = (
        (256, SIDE),
        (257, SIDE),
        (258, 64),
        (259, 8),
        (262, 2),
        (273, 200),
        (277, 3),
        (278, SIDE),
        (279, len(packed)),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags, (339, 3)))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags) + 1) + entries + bytes(4)
    return head.ljust(200, b"\0") + packed


def tiff_parts(count: int, side: int, kind: int = 4, order: str = "<", packing: int = 8) -> bytes:
    """50 x 50 pixels in ``count`` tiles of ``side``, whose offsets lie behind the tags."""
    tags = [(256, 4, 1, 50), (257, 4, 1, 50), (258, 3, 1, 8), (259, 3, 1, packing), (262, 3, 1, 1), (277, 3, 1, 1)]
    tags += [(322, kind, 1, side), (323, kind, 1, side), (324, 4, count, 200)]
    tags += [(325, 4, count, side**2 if count == 1 else 200)]
    entries = b"".join(
        struct.pack(order + "HHI", tag, form, number) + struct.pack(order + "Hxx" if form == 3 else order + "I", value)
        for tag, form, number, value in tags
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + struct.pack(order + "I", 900) * count


def big_tiff_parts(side: int, order: str) -> bytes:
    """BigTIFF with tiles of ``side`` in 64-bit numbers."""
    tags = [
        (256, 50),
        (257, 50),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, side),
        (323, side),
        (324, 200),
        (325, 9),
    ]
    entries = b"".join(struct.pack(order + "HHQQ", tag, 16, 1, value) for tag, value in tags)
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQQ", 8, 0, 16, len(tags))
    return (head + entries + bytes(8)).ljust(400, b"\0")


def icon(picture: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


def animation() -> bytes:
    """WebP: many small frames on a large canvas."""
    frame = saved("WEBP", lossless=True)[12:]
    frames = b"ANMF" + struct.pack("<I", 16 + len(frame)) + bytes(6) + (31).to_bytes(3, "little") * 2 + bytes(4) + frame
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + (SIDE - 1).to_bytes(3, "little") * 2
    body = b"WEBP" + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frames * 100
    return b"RIFF" + struct.pack("<I", len(body)) + body


SQUARE = struct.pack(">II", SIDE, SIDE)
EXIF = b"\xff\xe1\x01\0Exif\0\0" + bytes(248)
BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(SIDE, SIDE, chunk(b"IDAT", zlib.compress(bytes(999)))),
    "png, narrow": lambda: png(1, MAX_PIXELS, chunk(b"IDAT", zlib.compress(bytes(999)))),
    "png, chunks": lambda: png(8, 8, chunk(b"tEXt", b"a\0b") * MOST_CHUNKS),
    "jpeg": lambda: jpeg(progressive=False),
    "jpeg, progressive": lambda: jpeg(progressive=True),
    "jpeg, comments": lambda: jpeg_with(b"\xff\xfe\0\2", 100_000),
    "jpeg, EXIF": lambda: jpeg_with(EXIF, 100),
    "gif": lambda: replaced(saved("GIF"), b"GIF8", 6, struct.pack("<HH", SIDE, SIDE)),
    "avif": lambda: replaced(saved("AVIF"), b"ispe", 8, SQUARE),
    "jp2": lambda: replaced(replaced(saved("JPEG2000"), b"\xff\x51", 6, SQUARE), b"ihdr", 4, SQUARE),
    "webp, animated": animation,
    "tiff": tiff,
    "tiff, tiles": lambda: tiff_parts(1, 32768),
    "tiff, short sides": lambda: tiff_parts(1, 32768, 3, ">"),
    "tiff, parts": lambda: tiff_parts(MOST_PARTS + 1, 16),
    "bigtiff, tiles": lambda: big_tiff_parts(32768, "<"),
    "bigtiff, big-endian tiles": lambda: big_tiff_parts(32768, ">"),
    "ico": lambda: icon(flat_png(20_000)),
    "icns": lambda: b"icns" + struct.pack(">I", 999) + b"ic07" + struct.pack(">I", 991) + flat_png(20_000),
    "pnm": lambda: b"P6 #" + bytes([65]) * 10_000_000,
    "bmp": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(name: str) -> None:
    data = BOMBS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadImageError, match=r"(not opened|larger than|cannot be opened|damaged)") as caught:
        open_image(data)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < MOST_MEMORY
    assert "\n" not in str(caught.value)


def test_who_raises_the_limit_gets_large_flat_pictures() -> None:
    check_claim(LARGE, 1, 1)
    check_claim(MAX_PIXELS, 1, MAX_PIXELS // PIXELS_A_BYTE + 1)
    with limit_pixels(MAX_PIXELS + 1):
        check_claim(MAX_PIXELS, 1, 1)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "TIFF", "JPEG", "BMP"])
def test_large_flat_pictures_that_a_writer_makes_are_read(format: str) -> None:
    out = BytesIO()
    options = (
        {"compression": "tiff_adobe_deflate"} if format == "TIFF" else {"lossless": True} if format == "WEBP" else {}
    )
    Image.new("L", (2000, 1500), 99).save(out, format, **options)
    assert open_image(out.getvalue()).size == (2000, 1500)


@pytest.mark.parametrize("side", [64, 256, 4096])
def test_tiles_larger_than_their_picture_are_read(side: int) -> None:
    data = tiff_parts(1, side, packing=1)[:200] + bytes([99]) * side**2
    assert open_image(data).getpixel((49, 49)) == 99


@pytest.mark.parametrize(
    "header", [b"P5\n# by hand\n32 32\n255\n", b"P5 32 32 255\n", b"P5 #" + b"x" * 60_000 + b"\n32 32 255\n"]
)
def test_comments_of_pnm_files_are_read(header: bytes) -> None:
    assert open_image(header + bytes(70_000)).size == (32, 32)
