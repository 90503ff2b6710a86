"""EXIF data of ten makers' structure through every format that we write."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pytest
from helpers.makers_exif import MAKER_NOTE, ORIENTATION, makers
from PIL import ExifTags, Image

import beholder
from beholder import codecs
from beholder.pictures import saving
from beholder.pictures.metadata import clean_exif

MAKERS = makers()
EXIF, GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
# JPEG XL and the rest differ in nothing that the EXIF data could touch: one quality, a tiny picture.
NAMES = [name for name in ("jpeg", "webp", "avif", "jpeg2000", "jxl", "heic", "bpg", "rnn")]


def photo_of(maker: str) -> bytes:
    """A JPEG file, 24 x 16 as stored, with the maker's EXIF data."""
    out = BytesIO()
    colours = np.zeros((16, 24, 3), np.uint8)
    colours[:, :12] = 220
    Image.fromarray(colours).save(out, "JPEG", quality=95, exif=MAKERS[maker])
    return out.getvalue()


def facts(image: Image.Image) -> tuple[object, ...]:
    exif = image.getexif()
    return (
        exif.get(0x010F),
        exif.get(ORIENTATION),
        exif.get_ifd(EXIF).get(0x8827),
        len(exif.get_ifd(EXIF).get(MAKER_NOTE) or b""),
        exif.get_ifd(GPS).get(1),
    )


def expected(maker: str) -> tuple[object, ...]:
    exif = Image.Exif()
    exif.load(MAKERS[maker])
    return (
        exif[0x010F],
        None,
        200,
        len(exif.get_ifd(EXIF)[MAKER_NOTE]),
        exif.get_ifd(GPS).get(1),
    )


@pytest.mark.parametrize("maker", MAKERS)
def test_exif_loses_its_orientation_and_nothing_else(maker: str) -> None:
    cleaned = clean_exif(MAKERS[maker])
    assert cleaned is not None
    before, after = Image.Exif(), Image.Exif()
    before.load(MAKERS[maker])
    after.load(cleaned)
    assert set(before) - set(after) == {ORIENTATION}
    for directory in (EXIF, GPS):
        assert before.get_ifd(directory) == after.get_ifd(directory)
    # Maker notes point to places in the block, so all that is not the first directory stays where it was.
    note = before.get_ifd(EXIF)[MAKER_NOTE]
    if len(note) > 4:
        assert cleaned.find(note) == MAKERS[maker].find(note)


@pytest.mark.parametrize("name", NAMES)
def test_every_codec_carries_them(name: str) -> None:
    codec = codecs.get(name)
    if reason := codec.unavailable():
        pytest.skip(reason)
    for maker in MAKERS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = beholder.compress(photo_of(maker), name, quality=codec.scale.lowest)
            image = beholder.decompress(data)
        assert image.size == (16, 24), maker
        assert facts(image) == expected(maker), maker


@pytest.mark.parametrize("suffix", saving.SUFFIXES)
def test_every_picture_format_carries_them_or_says_so(suffix: str) -> None:
    for maker in MAKERS:
        picture = beholder.decompress(photo_of(maker))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            data = saving.picture_bytes(picture, f"x{suffix}")
        with Image.open(BytesIO(data)) as image:
            image.load()
            assert image.size == (16, 24)
            assert image.convert("RGB").getpixel((8, 2)) == picture.convert("RGB").getpixel((8, 2))
            if suffix in (".bmp", ".ppm"):
                assert ["EXIF" in str(one.message) for one in said] == [True], maker
            else:
                assert [str(one.message) for one in said] == [], maker
                assert facts(image)[0] == expected(maker)[0], maker
                assert facts(image)[2:] == expected(maker)[2:], maker
                assert facts(image)[1] in (None, 1)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"garbage" * 9])
def test_unreadable_exif_is_left_out_of_every_format(exif: bytes) -> None:
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = exif
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        results = [beholder.compress(image, name) for name in ("jpeg", "avif", "webp")]
    assert len(said) == (0 if exif in (b"", b"Exif\0\0") else 3)
    assert all(isinstance(one.message, beholder.BeholderWarning) for one in said)
    assert all("exif" not in beholder.decompress(data).info for data in results)


def test_strip_leaves_nothing_of_them() -> None:
    for maker in ("Apple", "Samsung"):
        data = beholder.compress(photo_of(maker), "jpeg", strip=True)
        assert b"Exif" not in data
        assert maker.encode() not in data
        kept = beholder.compress(photo_of(maker), "jpeg")
        assert "exif" in beholder.decompress(kept).info
        assert "exif" not in beholder.decompress(kept, strip=True).info
