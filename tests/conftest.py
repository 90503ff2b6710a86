"""Fixtures for all tests: a photograph made of numbers, and the optional sample data."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

# Workers beside each other get one processor each, and so do the programs that they start: torch's threads spin while
# they wait for a processor, which made a training run of 15 CPU seconds one of 83.  Tests of threads set the number.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from helpers.photos import PILLOW_MODES, in_mode, make_photo
from hypothesis import HealthCheck, settings
from PIL import Image

# A busy machine must not fail a test; and files of a fixture are made anew by the tests that damage them.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("steady")

# Few of the objects that torch and Keras make are in cycles: a collection every 700 objects is a twentieth of all time.
gc.set_threshold(50_000, 20, 100)

# Jobs in the background ignore SIGINT, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep what the imports of all tests made out of garbage collection, which goes over half a million objects."""
    gc.collect()
    gc.freeze()


SHARED_DATA_VARIABLE = "BEHOLDER_DATA"


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
