"""Short files that claim large pictures are refused at once, and nothing is allocated for them."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from pathlib import Path

import constriction
import numpy as np
import pytest
from PIL import Image

from beholder.codecs.rnn import Rnn, bitstream
from beholder.codecs.rnn.bitstream import Bitstream
from beholder.codecs.rnn.entropy.tables import table_sizes
from beholder.codecs.rnn.layout import BLOCK
from beholder.errors import BadFileError
from beholder.limits import MAX_PIXELS, check_size


def claim(codec: Rnn, width: int, height: int, segment: bytes, iterations: int = 1) -> bytes:
    """A file with right checksums whose header claims any size."""
    return bitstream.write(
        Bitstream(codec.model.identity, width, height, 0.0, iterations, segments=[segment] * iterations)
    )


def refuse(codec: Rnn, data: bytes, match: str, most: int) -> None:
    """Assert that decoding raises BadFileError and allocates at most so many bytes."""
    codec.model.entropy  # noqa: B018 - loaded before memory is counted
    tracemalloc.start()
    try:
        with pytest.raises(BadFileError, match=match):
            codec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("width", "height"), [(13376, 13376), (11_184_800, 16), (16, 11_184_800), (8000, 8000)])
@pytest.mark.parametrize("iterations", [1, 8])
def test_short_file_is_refused_before_anything_is_allocated(width: int, height: int, iterations: int) -> None:
    codec = Rnn()
    refuse(codec, claim(codec, width, height, b"\x5a" * 6, iterations), "Segment 1 .* too short", 1 << 20)


def test_later_segments_are_checked_before_the_first_is_decoded() -> None:
    codec = Rnn()
    stream = Bitstream(codec.model.identity, 13376, 13376, 0.0, 2, segments=[bytes(5000), b"\x5a" * 6])
    refuse(codec, bitstream.write(stream), "Segment 2 .* too short", 1 << 20)


def test_codes_that_end_early_are_refused() -> None:
    """Long enough for the bound, and the beginning of true codes."""
    codec = Rnn()
    stream = bitstream.read(codec.encode(Image.new("L", (1600, 1600), 128), 1))
    cut = stream.segments[0][: len(stream.segments[0]) // 4]
    codec.model.entropy.check_length(cut, 0, 1600 * 1600 // BLOCK**2)
    with pytest.raises(BadFileError, match=r"Segment 1 .* too short"):
        codec.decode(claim(codec, 1600, 1600, cut))


def test_bytes_that_are_no_codes_are_refused_early() -> None:
    codec = Rnn()
    segment = np.random.default_rng(0).integers(0, 256, 700, np.uint8).tobytes()
    refuse(codec, claim(codec, 4096, 4096, segment), "damaged", 200 << 20)


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS, 1), (1, MAX_PIXELS), (13_000_000, 1), (17, 6_300_000)])
def test_padded_pixels_count(width: int, height: int) -> None:
    check_size(width, height)
    codec = Rnn()
    refuse(codec, claim(codec, width, height, bytes(1000)), "coded as .* above the limit", 1 << 20)


def test_encoder_counts_padded_pixels() -> None:
    with pytest.raises(BadFileError, match="above the limit"):
        Rnn().encode(Image.new("L", (13_000_000, 1)), 1)


def test_bound_holds_for_the_likeliest_symbol_of_every_table() -> None:
    """The range coder spends no less on a code than the bound says, whatever the table."""
    model = Rnn().model.entropy
    arrays = Rnn().model.arrays
    parts = np.split(arrays["tables"], np.cumsum(table_sizes(arrays["reach"].astype(np.int64)))[:-1])
    count = 1 << 17
    for kind, least in enumerate(model._least_bits):
        tables = np.arange(1024 * kind, 1024 * (kind + 1))
        likeliest = max(tables, key=lambda table: parts[table].max())
        symbols = np.full(count, parts[likeliest].argmax(), np.int32)
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(symbols, model._models[likeliest])
        assert 0 < least * count <= 32 * len(encoder.get_compressed())
        # Nor does a table exist that costs less.
        assert max(parts[table].max() for table in tables) / (1 << 16) <= 2**-least


@pytest.mark.parametrize("quality", [2, 4, 8])
@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (37, 200, 10), (255, 0, 0)])
def test_flat_pictures_pass(colour: tuple[int, int, int], quality: int) -> None:
    """They cost .01 to 5 bits a block and iteration, far above the bound; the learned step leaves them alone."""
    codec = Rnn()
    data = codec.encode(Image.new("RGB", (480, 160), colour), quality)
    positions = 480 * 160 // BLOCK**2
    for t, segment in enumerate(bitstream.read(data).segments):
        assert codec.model.entropy.least_bits(t, positions) <= 8 * len(segment)
    assert len(data) < 700
    assert np.abs(np.asarray(codec.decode(data)).astype(int) - colour).max() <= {2: 18, 4: 13, 8: 6}[quality]


@pytest.mark.parametrize("tag", [bitstream.EXIF, 77])
def test_no_room_is_made_for_a_chunk_that_is_not_there(tag: int, tmp_path: Path) -> None:
    """A file object would make room for all of the 32 GiB."""
    codec = Rnn()
    stream = Bitstream(codec.model.identity, 64, 64, 0.0, 1, chunks={tag: b"x"}, segments=[b"x"])
    data = bitstream.write(stream)
    place = data.index(bytes([tag, 1]), 13)
    path = tmp_path / "chunk.bhd"
    path.write_bytes(data[: place + 1] + b"\xff\xff\xff\xff\x7f" + data[place + 2 :])
    with path.open("rb") as file, pytest.raises(BadFileError, match="ends inside its header"):
        bitstream.read_header(file)


def test_opacity_of_many_chunks_is_refused() -> None:
    codec = Rnn()
    out = BytesIO()
    Image.new("L", (16, 16)).save(out, "PNG")
    plane = out.getvalue()
    stream = bitstream.read(codec.encode(Image.new("RGB", (16, 16)), 1))
    stream.chunks[bitstream.PLANE] = plane[:33] + b"\0\0\0\0tEXt\0\0\0\0" * 30_000 + plane[33:]
    with pytest.raises(BadFileError, match="opacity"):
        codec.decode(bitstream.write(stream))
