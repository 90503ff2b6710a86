"""Files between two qualities: any decoder reads them, and sizes lie where they should."""

import math

import pytest
from helpers.photos import make_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder import codecs
from beholder.codecs.base import Codec
from beholder.codecs.between import close_in
from beholder.errors import BadOptionError
from beholder.metrics import psnr

FINE = [name for name in codecs.names() if codecs.get(name).unavailable() is None and codecs.get(name).fine]
START = {"rnn": 2, "jpeg": 30, "webp": 40, "bpg": 36, "avif": 40, "jpeg2000": 25, "jxl": 40}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return make_photo(96, 80)


def test_which_codecs_are_fine() -> None:
    assert {"rnn", "jpeg", "webp", "bpg", "avif", "jpeg2000"} <= set(FINE)
    assert not codecs.get("heic").fine


@pytest.mark.parametrize("name", FINE)
def test_sizes_and_pictures_lie_between(name: str, photo: Image.Image) -> None:
    codec = codecs.get(name)
    start = START[name]
    low, high = sorted((len(codec.encode(photo, start)), len(codec.encode(photo, start + 1))))
    files = [codec.encode_between(photo, start + share) for share in (0.3, 0.6, 0.9)]
    assert all(0.9 * low <= len(data) <= 1.03 * high for data in files)
    assert all(codec.decode(data).size == photo.size for data in files)
    worst = min(psnr(photo, codec.decode(codec.encode(photo, quality))) for quality in (start, start + 1))
    assert all(psnr(photo, codec.decode(data)) > worst - 0.5 for data in files)


@pytest.mark.parametrize("name", FINE)
def test_a_whole_quality_is_the_usual_file(name: str, photo: Image.Image) -> None:
    codec, start = codecs.get(name), START[name]
    before = codec.encode(photo, start)
    codec.encode_between(photo, start + 0.5)
    # Nothing of the finer settings stays behind in the encoder.
    assert codec.encode_between(photo, float(start)) == codec.encode(photo, start) == before


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_rnn_scales_its_steps_between_qualities_and_beyond_them(alpha: float, photo: Image.Image) -> None:
    codec = codecs.get("rnn")
    low, high = (len(codec.encode(photo, quality, alpha=alpha)) for quality in (1, 8))
    coarse, fine = (codec.encode_between(photo, quality, alpha=alpha) for quality in (0, 9))
    assert len(coarse) < low < high < len(fine)
    assert psnr(photo, codec.decode(coarse)) < psnr(photo, codec.decode(fine))
    between = codec.encode_between(photo, 2.6, alpha=alpha)
    header = codec.describe(between)
    assert header["qualities"] == 3
    assert 0 < header["step_scale"] < 64
    # A prefix is a file here, too.
    assert codec.decode(between, 2).size == photo.size
    for quality in (-0.1, 13.1, math.inf, math.nan):
        with pytest.raises(BadOptionError, match=r"(outside the scale|is not possible)"):
            codec.encode_between(photo, quality, alpha=alpha)


@given(st.floats(0, 13))
def test_files_of_equal_settings_are_known(quality: float) -> None:
    codec = codecs.get("rnn")
    nearest = min(max(math.floor(quality + 0.5), 1), 12)
    if 8 < quality < 9:  # the residual's first level, with coarser steps
        nearest = 9
    iterations, step_scale = codec.settings_between(quality)  # type: ignore[misc]
    assert iterations == nearest
    assert codec.settings_between(float(nearest)) == (nearest, 0)
    assert (step_scale > 0) - (step_scale < 0) in (0, (nearest > quality) - (nearest < quality))


def test_no_settings_are_tried_twice() -> None:
    tried = []

    def distance(quality: float) -> tuple[bool, float]:
        tried.append(quality)
        return quality >= 0.77, quality - 0.77

    close_in(distance, (0.0, -0.77), (1.0, 0.23), lambda: False, 50, lambda quality: round(8 * quality))
    steps = [round(8 * quality) for quality in tried]
    assert len(set(steps)) == len(steps) <= 7
    assert 6 in steps


def test_other_codecs_end_with_their_scale(photo: Image.Image) -> None:
    with pytest.raises(BadOptionError, match="outside the scale of webp"):
        codecs.get("webp").encode_between(photo, 100.5)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
@pytest.mark.parametrize("name", ["jpeg", "bpg", "avif", "rnn"])
def test_other_modes(name: str, mode: str, photo: Image.Image) -> None:
    codec: Codec = codecs.get(name)
    image = photo.convert(mode)
    decoded = codec.decode(codec.encode_between(image, START[name] + 0.5))
    assert decoded.size == image.size
