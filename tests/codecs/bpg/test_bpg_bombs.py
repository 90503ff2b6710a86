"""BPG files that claim more than they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.codecs.bpg import Bpg, container
from beholder.codecs.bpg import codec as bpg_codec
from beholder.codecs.bpg.pictures import decode_picture
from beholder.errors import BadFileError
from beholder.limits import MAX_PIXELS


def claim(image: Image.Image, width: int, height: int) -> bytes:
    """The file of an image whose header claims another size."""
    header, picture = container.read_file(Bpg().encode(image, 30))
    return container.write_file(replace(header, width=width, height=height), picture)


@pytest.mark.parametrize("chroma", ["444", "420"])
def test_picture_data_that_end_before_the_picture(chroma: str) -> None:
    """One slice of the size that was coded, in a picture ten times as tall."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    header, picture = container.read_file(Bpg(chroma=chroma).encode(noise, 30))
    with pytest.raises(BadFileError, match="end before the picture does"):
        Bpg().decode(container.write_file(replace(header, height=640), picture))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("colour", ["black", "blue", "lime", "white"])
def test_dark_and_bright_corners_are_no_damage(mode: str, colour: str) -> None:
    image = Image.new("RGB", (70, 50), colour).convert(mode)
    assert np.abs(np.asarray(Bpg().decode(Bpg().encode(image, 40))).astype(int) - np.asarray(image)).max() <= 12


@pytest.mark.parametrize("chroma", ["444", "420"])
def test_a_large_picture_is_refused_by_its_upper_rows(chroma: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding all of it would take 4 bytes a pixel, with nothing to show."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 1024, 3), np.uint8))
    header, picture = container.read_file(Bpg(chroma=chroma).encode(noise, 10))
    heights = []

    def spy(*arguments: Any) -> Any:
        heights.append(arguments[2])
        return decode_picture(*arguments)

    monkeypatch.setattr(bpg_codec, "decode_picture", spy)
    with pytest.raises(BadFileError, match="end before the picture does"):
        Bpg().decode(container.write_file(replace(header, height=16_000), picture))
    assert heights == [1000]


def test_large_pictures_whose_upper_rows_are_there_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 96, 3), np.uint8))
    data = Bpg().encode(noise, 20)
    whole = np.asarray(Bpg().decode(data))
    monkeypatch.setattr(bpg_codec, "_LARGE", 100)
    np.testing.assert_array_equal(whole, np.asarray(Bpg().decode(data)))


def test_padded_samples_count() -> None:
    """Eight rows are coded where one is shown."""
    with pytest.raises(BadFileError, match="above the limit"):
        Bpg().decode(claim(Image.new("RGB", (64, 64)), MAX_PIXELS, 1) + bytes(50_000))


def test_units_and_extensions_are_counted() -> None:
    header, picture = container.read_file(Bpg().encode(Image.new("RGB", (64, 64)), 30))
    with pytest.raises(BadFileError, match="more units"):
        Bpg().decode(container.write_file(header, picture + b"\0\0\1\x50\1\xc0\x80" * 30_000))
    data = container.write_file(replace(header, extensions=dict.fromkeys(range(3, 2000), b"")), picture)
    with pytest.raises(BadFileError, match="more metadata"):
        Bpg().decode(data)
