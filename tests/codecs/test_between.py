"""Files between two qualities: any decoder reads them, and sizes lie where they should."""

import pytest
from helpers.photos import make_photo
from PIL import Image

from beholder import codecs
from beholder.codecs.base import Codec
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


def test_rnn_begins_with_the_segments_of_the_lower_quality(photo: Image.Image) -> None:
    codec = codecs.get("rnn")
    between = codec.encode_between(photo, 2.6, alpha=1)
    assert codec.decode(between, 2).tobytes() == codec.decode(codec.encode(photo, 2, alpha=1)).tobytes()
    for alpha in (0.0, 1.0):
        between = codec.encode_between(photo, 2.6, alpha=alpha)
        assert len(codec.encode(photo, 2, alpha=alpha)) < len(between) < len(codec.encode(photo, 3, alpha=alpha))
    sizes = [len(codec.encode_between(photo, 2 + share)) for share in (0.25, 0.5, 0.75, 1)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
@pytest.mark.parametrize("name", ["jpeg", "bpg", "avif", "rnn"])
def test_other_modes(name: str, mode: str, photo: Image.Image) -> None:
    codec: Codec = codecs.get(name)
    image = photo.convert(mode)
    decoded = codec.decode(codec.encode_between(image, START[name] + 0.5))
    assert decoded.size == image.size
