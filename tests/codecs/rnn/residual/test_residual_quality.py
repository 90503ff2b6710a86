"""Files of quality 9 to 12 through the codec's public interface."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.photos import in_mode
from PIL import Image

from beholder.codecs.rnn import Rnn, bitstream
from beholder.codecs.rnn.layout import BEST_QUALITY, ITERATIONS
from beholder.codecs.rnn.residual import geometry
from beholder.errors import BadFileError, BadOptionError
from beholder.metrics import psnr

QUALITIES = list(range(ITERATIONS, BEST_QUALITY + 1))


@pytest.fixture(scope="module")
def codec() -> Rnn:
    return Rnn()


@pytest.fixture(scope="module")
def best(codec: Rnn, big_photo: Image.Image) -> bytes:
    return codec.encode(big_photo, BEST_QUALITY)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_every_quality_is_larger_and_better(codec: Rnn, big_photo: Image.Image, alpha: float) -> None:
    files = codec.encode_many(big_photo, QUALITIES, alpha=alpha)
    scores = [psnr(big_photo, codec.decode(data)) for data in files]
    sizes = [len(data) for data in files]
    assert sizes == sorted(set(sizes))
    assert scores == sorted(set(scores))
    assert scores[-1] > 39


def test_files_are_prefixes_of_the_best(codec: Rnn, big_photo: Image.Image, best: bytes) -> None:
    whole = bitstream.read(best)
    for quality in (8, 10):
        own = bitstream.read(codec.encode(big_photo, quality))
        assert own.segments == whole.segments[:quality]
        picture = np.asarray(codec.decode(bitstream.write(own)))
        np.testing.assert_array_equal(picture, np.asarray(codec.decode(best, quality)))
    assert codec.encode_many(big_photo, [12, 9, 10])[2] == codec.encode(big_photo, 10)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 17), (33, 16), (127, 131)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_any_size_and_mode(codec: Rnn, big_photo: Image.Image, size: tuple[int, int], mode: str) -> None:
    image = in_mode(big_photo.crop((0, 0, *size)), mode)
    decoded = codec.decode(codec.encode(image, BEST_QUALITY))
    assert (decoded.mode, decoded.size) == (mode, size)
    error = np.asarray(decoded).astype(float) - np.asarray(image)
    assert np.sqrt(np.mean(error**2)) < 3
    if "A" in mode:
        assert decoded.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_the_base_is_that_of_quality_8_at_every_effort(photo: Image.Image) -> None:
    codec = Rnn(effort=1)
    plain, better = codec.encode(photo, 8), codec.encode(photo, 9)
    assert bitstream.read(better).segments[:8] == bitstream.read(plain).segments
    np.testing.assert_array_equal(np.asarray(codec.decode(better, 8)), np.asarray(codec.decode(plain)))
    assert psnr(photo, codec.decode(better)) > psnr(photo, codec.decode(plain))


def test_sizes_between_qualities_leave_out_none(codec: Rnn, big_photo: Image.Image) -> None:
    places = [8, 8.25, 8.5, 8.75, 9, 9.4, 9.6, 10, 10.5, 11.2, 11.8, 12, 12.6]
    sizes = [len(codec.encode_between(big_photo, place)) for place in places]
    assert sizes == sorted(sizes)
    # The step scale is the residual's: the iterations are those of quality 8.
    between = bitstream.read(codec.encode_between(big_photo, 9.4))
    assert between.step_scale < 0
    assert between.segments[:8] == bitstream.read(codec.encode(big_photo, 8)).segments
    np.testing.assert_array_equal(
        np.asarray(codec.decode(bitstream.write(between), 8)), np.asarray(codec.decode(codec.encode(big_photo, 8)))
    )


def test_tiles_are_coded_one_by_one(codec: Rnn, monkeypatch: pytest.MonkeyPatch, big_photo: Image.Image) -> None:
    whole = psnr(big_photo, codec.decode(codec.encode(big_photo, 10)))
    monkeypatch.setattr(geometry, "TILE", 5)
    assert psnr(big_photo, codec.decode(codec.encode(big_photo, 10))) == pytest.approx(whole)


def test_short_segments_are_refused_before_the_picture_is_decoded(codec: Rnn, best: bytes) -> None:
    stream = bitstream.read(best)
    stream.width, stream.height = 8000, 8000
    stream.segments = [b"\x5a" * 4_000_000] * 8 + [b"\x5a" * 6]
    with pytest.raises(BadFileError, match=r"Segment 9 of this .* too short"):
        codec.decode(bitstream.write(stream))


def test_random_residuals_give_a_picture_or_one_sentence(codec: Rnn, best: bytes) -> None:
    rng = np.random.default_rng(3)
    stream = bitstream.read(best)
    refused = 0
    for size in (0, 3, 100, 3000, 100_000):
        stream.segments[8:] = [rng.integers(0, 256, size, np.uint8).tobytes() for _ in range(4)]
        try:
            assert codec.decode(bitstream.write(stream)).size == (stream.width, stream.height)
        except BadFileError:
            refused += 1
    assert refused >= 3


def test_progress_goes_on_through_the_residual(codec: Rnn, photo: Image.Image) -> None:
    told: list[float] = []
    with codec.watched(lambda done, total: told.append(done / total)):
        codec.decode(codec.encode(photo, 9))
    ends = [number for number, part in enumerate(told) if part == 1]
    assert len(ends) == 2  # one of the encoder, one of the decoder
    assert told[: ends[0] + 1] == sorted(told[: ends[0] + 1])
    assert told[ends[0] + 1 :] == sorted(told[ends[0] + 1 :])


def test_quality_beyond_the_scale(codec: Rnn, photo: Image.Image, best: bytes) -> None:
    with pytest.raises(BadOptionError, match="1 to 12"):
        codec.encode(photo, 13)
    with pytest.raises(BadOptionError, match="qualities 1 to 12"):
        codec.decode(best, 13)
    stream = bitstream.read(best)
    assert codec.describe(best)["qualities"] == codec.describe(best)["complete_qualities"] == 12
    head = bytearray(best)
    place = 5 + 8 + 2 + 2 + 1
    assert head[place] & 15 == 12 == stream.quality
    for impossible in (0, 13, 15):
        head[place] = head[place] & 0xF0 | impossible
        with pytest.raises(BadFileError, match="header"):
            codec.decode(bytes(head))
