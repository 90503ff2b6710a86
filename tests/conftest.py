"""Fixtures for all tests: a photograph made of numbers, and the optional sample data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from made_photos import make_photo
from PIL import Image

# A busy machine must not fail a test; and files of a fixture are made anew by the tests that damage them.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("steady")

# Jobs in the background ignore SIGINT, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA_VARIABLE = "BEHOLDER_DATA"
PILLOW_MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I", "I;16", "I;16L", "I;16B", "I;16N", "F"),
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with kodak/, imagenet/ and kodak_reference.json; the test is skipped without it."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get(SHARED_DATA_VARIABLE, default))
    if not (folder / "kodak_reference.json").is_file():
        pytest.skip(f"no sample data in {folder}: point {SHARED_DATA_VARIABLE} to it")
    return folder


@pytest.fixture
def photo() -> Image.Image:
    """160 x 120 RGB with what photographs have: 1/f texture, correlated colours, soft light, hard edges."""
    return make_photo(160, 120)


@pytest.fixture(scope="session")
def big_photo() -> Image.Image:
    """The same kind of picture, 208 x 176: large enough for five-scale MS-SSIM."""
    return make_photo(208, 176)


@pytest.fixture
def modes(photo: Image.Image) -> dict[str, Image.Image]:
    """A picture in every Pillow mode, by the mode's name."""
    return {mode: in_mode(photo, mode) for mode in PILLOW_MODES}


def in_mode(photo: Image.Image, mode: str) -> Image.Image:
    """``photo`` in any Pillow mode; modes with transparency get a gradient of it, I;16 all 16 bits."""
    gradient = Image.linear_gradient("L").resize(photo.size)
    if mode in ("LA", "RGBA", "La", "RGBa"):
        image = photo.convert(mode.upper())
        image.putalpha(gradient)
        return image.convert(mode)
    if mode == "PA":
        image = photo.convert("P").convert("PA")
        image.putalpha(gradient)
        return image
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        deep = (np.asarray(photo.convert("L")).astype(np.uint16) * 257).astype(order)
        return Image.frombytes(mode, photo.size, deep.tobytes())
    return photo.convert(mode)
