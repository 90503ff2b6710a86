"""The residual of qualities 9 to 12 in the decoder for browsers, under Node: Python's integers, pixels and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import in_mode, make_photo
from helpers.web.node_decoder import NODE, NodeDecoder
from PIL import Image

import beholder
from beholder.codecs.rnn import Rnn, bitstream
from beholder.codecs.rnn.layout import BEST_QUALITY, ITERATIONS, RESIDUAL_LEVELS
from beholder.codecs.rnn.residual import geometry, layer
from beholder.codecs.rnn.residual.coder import LARGEST, Encoder
from beholder.errors import BadFileError

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node.js is not installed"),
    pytest.mark.xdist_group("node"),  # one process, for its decoder
]


def store(folder: Path, files: dict[str, bytes]) -> list[Path]:
    paths = [folder / f"{name}.bhd" for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    return paths


def of_quality(whole: bytes, quality: int) -> bytes:
    """The first segments of a file under a header of their own."""
    stream = bitstream.read(whole)
    return bitstream.write(replace(stream, quality=quality, segments=stream.segments[:quality]))


@pytest.mark.parametrize("mode", ["golden", "L", "LA", "RGB", "RGBA"])
def test_every_quality(decoder: NodeDecoder, tmp_path: Path, mode: str) -> None:
    if mode == "golden":
        whole = (GOLDEN / "coffee-q12-alpha0-effort0.bhd").read_bytes()
    else:
        whole = beholder.compress(in_mode(make_photo(61, 43), mode), quality=BEST_QUALITY)
    files = {str(quality): of_quality(whole, quality) for quality in range(ITERATIONS, BEST_QUALITY + 1)}
    base, *results = decoder.decode(*store(tmp_path, files))
    for data, result in zip(list(files.values())[1:], results, strict=True):
        decoder.check(data, result)
        stream = bitstream.read(data)
        # The residual adds the same whole numbers everywhere: on the browser's own base it gives the browser's pixels.
        picture = Image.fromarray(base["pixels"][:, :, :3]).convert("L" if stream.grey else "RGB")
        layer.apply(stream.segments[ITERATIONS:], picture, decoder.codes_of(data)[0].astype(np.int16))
        assert np.array_equal(result["pixels"][:, :, :3], np.asarray(picture.convert("RGB")))


def test_sizes_scales_and_tiles(decoder: NodeDecoder, tmp_path: Path) -> None:
    files = {
        f"{w}x{h}": beholder.compress(make_photo(w, h), quality=12) for w, h in ((1, 1), (1, 40), (17, 15), (127, 9))
    }
    files["two tiles wide"] = beholder.compress(make_photo(1024 + 11, 19), quality=10)
    files["two tiles high"] = beholder.compress(make_photo(19, 1024 + 5).convert("L"), quality=11)
    for place in (8.4, 9.4, 12.6):
        files[str(place)] = Rnn().encode_between(make_photo(45, 50), place)
    results = dict(zip(files, decoder.decode(*store(tmp_path, files)), strict=True))
    for name, result in results.items():
        decoder.check(files[name], result)
    assert {bitstream.read(data).step_scale for data in files.values()} > {0}


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_codes_of_any_size(decoder: NodeDecoder, tmp_path: Path, levels: int) -> None:
    """Codes that no picture has: escapes, and coefficients beyond the limit."""
    stream = bitstream.read(beholder.compress(make_photo(70, 50), quality=8))
    activity = decoder.codes_of(bitstream.write(stream))[0].astype(np.int16)
    rng = np.random.default_rng(levels)
    codes = rng.laplace(size=(3, geometry.COEFFICIENTS, 7, 9)) * rng.choice([0.3, 3, 100, 6000], (3, 1, 7, 9))
    largest = (LARGEST + 1 >> RESIDUAL_LEVELS - levels) - 1
    encoder = Encoder(levels)
    encoder.add(
        codes.clip(-largest, largest).astype(np.int16), geometry.activities(activity, next(geometry.tiles(7, 9)))
    )
    quality, segments = ITERATIONS + levels, stream.segments + encoder.segments()
    files = {
        f"step scale {scale}": bitstream.write(replace(stream, quality=quality, step_scale=scale, segments=segments))
        for scale in (-128, 0, 127)
    }
    for data, result in zip(files.values(), decoder.decode(*store(tmp_path, files)), strict=True):
        decoder.check(data, result)
        assert np.abs(result["residual"]).max() == largest


def test_prefixes(decoder: NodeDecoder, tmp_path: Path) -> None:
    whole = beholder.compress(make_photo(90, 70), quality=BEST_QUALITY)
    stream = bitstream.read(whole)
    ends = [len(bitstream.write(replace(stream, segments=stream.segments[:count]))) for count in (8, 9, 11)]
    cuts = [*ends, ends[0] + 20, ends[1] + 20, len(whole) - 1]
    files = {f"cut at {cut}": whole[:cut] for cut in cuts}
    results = decoder.decode(*store(tmp_path, files))
    assert [result["segments"] for result in results] == [8, 9, 11, 8, 9, 11]
    for data, result in zip(files.values(), results, strict=True):
        decoder.check(data, result)


def test_damaged_segments_are_refused_where_python_refuses_them(decoder: NodeDecoder, tmp_path: Path) -> None:
    stream = bitstream.read(beholder.compress(make_photo(96, 80), quality=BEST_QUALITY))
    rng = np.random.default_rng(3)
    files = {}
    # Right checksums over wrong codes: random ones, and true ones that end early.
    for number, size in enumerate((0, 3, 60, 300, 1000, 3000, 9000, 100_000)):
        garbage = [rng.integers(0, 256, size, np.uint8).tobytes() for _ in range(4)]
        files[f"random {number}"] = bitstream.write(replace(stream, segments=stream.segments[:8] + garbage))
        ends = [segment[: size // 4 * 4 + 4] for segment in stream.segments[8:]]
        files[f"early {number}"] = bitstream.write(replace(stream, segments=stream.segments[:8] + ends))
    files["large"] = bitstream.write(
        replace(stream, width=8000, height=8000, segments=[b"Z" * 4_000_000] * 8 + [b"Z" * 6])
    )
    broken = bytearray(bitstream.write(stream))
    broken[-2] ^= 8
    files["checksum"] = bytes(broken)
    refused = 0
    for (name, data), result in zip(files.items(), decoder.decode(*store(tmp_path, files)), strict=True):
        try:
            beholder.decompress(data)
        except BadFileError:
            refused += 1
            assert result["name"] == "BhdError", name
        else:
            decoder.check(data, result)
    assert 6 <= refused < len(files)
