"""BPG files that claim more than they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from beholder.codecs.bpg import Bpg, container
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


def test_padded_samples_count() -> None:
    """Eight rows are coded where one is shown."""
    with pytest.raises(BadFileError, match="above the limit"):
        Bpg().decode(claim(Image.new("RGB", (64, 64)), MAX_PIXELS, 1) + bytes(50_000))
