"""The `rnn` codec through its public interface, with the weights that ship."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import make_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from beholder import weights
from beholder.codecs.rnn import Rnn, bitstream, decoder, onnx_model, tiles
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.metrics import ms_ssim, psnr


@pytest.fixture(scope="module")
def codec() -> Rnn:
    return Rnn()


@pytest.fixture(scope="module")
def full(codec: Rnn, big_photo: Image.Image) -> bytes:
    return codec.encode(big_photo, ITERATIONS)


def test_every_quality_costs_more_and_looks_better(codec: Rnn, big_photo: Image.Image) -> None:
    sizes, scores = [], []
    for quality in range(1, ITERATIONS + 1):
        data = codec.encode(big_photo, quality)
        sizes.append(len(data))
        scores.append(ms_ssim(big_photo, codec.decode(data)))
    assert sizes == sorted(set(sizes))
    assert scores == sorted(scores)
    assert scores[-1] > 0.95


def test_a_prefix_is_a_file_of_lower_quality(codec: Rnn, big_photo: Image.Image, full: bytes) -> None:
    ends = _segment_ends(full)
    for quality in (1, 3, 7):
        prefix = full[: ends[quality - 1]]
        from_prefix = np.asarray(codec.decode(prefix))
        np.testing.assert_array_equal(from_prefix, np.asarray(codec.decode(full, quality)))


def test_without_optimisation_a_prefix_is_what_a_lower_quality_encodes(codec: Rnn, big_photo: Image.Image) -> None:
    full = codec.encode(big_photo, 8, alpha=0.4)
    for quality in (1, 7):
        lower = codec.decode(codec.encode(big_photo, quality, alpha=0.4))
        np.testing.assert_array_equal(np.asarray(codec.decode(full, quality)), np.asarray(lower))


def test_the_same_picture_gives_the_same_bytes(codec: Rnn, big_photo: Image.Image, full: bytes) -> None:
    assert codec.encode(big_photo, ITERATIONS) == full


def test_alpha_steers_and_is_stored(codec: Rnn, big_photo: Image.Image) -> None:
    files = {alpha: codec.encode(big_photo, 2, alpha=alpha) for alpha in (0.0, 0.5, 1.0)}
    assert len({data[20:] for data in files.values()}) == 3
    for alpha, data in files.items():
        assert codec.describe(data)["alpha"] == alpha
    assert len({codec.decode(data).tobytes() for data in files.values()}) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 17), (16, 16), (33, 16), (300, 3)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_any_size_and_mode(codec: Rnn, size: tuple[int, int], mode: str) -> None:
    width, height = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    ramp = (np.arange(width * height * channels) * 7 % 256).astype(np.uint8)
    image = Image.frombytes(mode, size, ramp.tobytes())
    decoded = codec.decode(codec.encode(image, 2))
    assert decoded.mode == mode
    assert decoded.size == size
    if "A" in mode:  # transparency is lossless
        assert decoded.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_metadata_survives(codec: Rnn, photo: Image.Image) -> None:
    image = photo.copy()
    exif = Image.Exif()
    exif[0x010E] = "A photograph"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info.update(icc_profile=profile, exif=exif.tobytes())
    data = codec.encode(image, 1)
    decoded = codec.decode(data)
    assert decoded.info["icc_profile"] == image.info["icc_profile"]
    assert decoded.info["exif"] == image.info["exif"]
    assert codec.describe(data)["chunks"] == {"icc_profile": len(profile), "exif": len(exif.tobytes())}


def test_overhead_of_a_small_photo_is_below_40_bytes(codec: Rnn, photo: Image.Image) -> None:
    data = codec.encode(photo.crop((0, 0, 64, 48)), 4)
    assert len(data) - sum(codec.describe(data)["segments"]) < 40


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_tiles_do_not_show(codec: Rnn, monkeypatch: pytest.MonkeyPatch, big_photo: Image.Image, alpha: float) -> None:
    """Small tiles with the margins that large images use give the pixels of one big tile."""
    stream = bitstream.read(codec.encode(big_photo, 8, alpha=alpha))
    blocks = (-(-stream.height // BLOCK), -(-stream.width // BLOCK))
    whole = decoder.decode(codec.model, stream.segments, *blocks, stream.alpha)
    latent = codec.model.analyse(np.ascontiguousarray(whole.transpose(2, 0, 1)), 0.0)
    monkeypatch.setattr(tiles, "TILE", 4)
    tiled = decoder.decode(codec.model, stream.segments, *blocks, stream.alpha)
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 1
    tiled_latent = codec.model.analyse(np.ascontiguousarray(whole.transpose(2, 0, 1)), 0.0)
    np.testing.assert_allclose(tiled_latent, latent, atol=2e-3)


def test_a_flat_picture_costs_almost_nothing(codec: Rnn) -> None:
    image = Image.new("RGB", (256, 256), (90, 120, 200))
    data = codec.encode(image, 4)
    assert len(data) < 1500
    assert psnr(image, codec.decode(data)) > 30


def test_truncation_names_the_quality_that_is_whole(codec: Rnn, full: bytes) -> None:
    ends = _segment_ends(full)
    cut = full[: ends[2] + 3]
    with pytest.raises(BadFileError, match=r"inside segment 4 of 8.*quality 3"):
        codec.decode(cut)
    assert codec.decode(cut, 3).size == (208, 176)
    with pytest.raises(BadFileError, match="inside segment 4"):
        codec.decode(cut, 4)
    with pytest.raises(BadFileError, match="first segment"):
        codec.decode(full[: ends[0] - 1])


def test_a_flipped_bit_anywhere_is_noticed(codec: Rnn, full: bytes) -> None:
    rng = np.random.default_rng(0)
    for position in {*range(24), *rng.integers(24, len(full), 60).tolist()}:
        damaged = bytearray(full)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(BadFileError):
            codec.decode(bytes(damaged))


def test_a_foreign_model_is_named(codec: Rnn, full: bytes) -> None:
    stream = bitstream.read(full)
    stream.model = bytes(range(8))
    with pytest.raises(BadFileError, match=r"0001020304050607.*--model"):
        codec.decode(bitstream.write(stream))


@pytest.mark.parametrize(("version", "remedy"), [(1, "older beholder"), (3, "update beholder")])
def test_another_version_is_named(codec: Rnn, full: bytes, version: int, remedy: str) -> None:
    with pytest.raises(BadFileError, match=f"version {version}, .*{remedy}"):
        codec.decode(full[:4] + bytes([version]) + full[5:])


def test_model_of_an_older_version_is_one_sentence(tmp_path: Path) -> None:
    """A folder exported before the entropy model had its present layers."""
    folder = tmp_path / "old"
    shutil.copytree(weights.CODEC, folder)
    with np.load(folder / "entropy.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if "gather_before" not in name}
    np.savez_compressed(folder / "entropy.npz", **kept)
    (folder / "model.json").write_text("{}")  # its identity was that of other files
    with pytest.raises(BadOptionError, match=r"another version.*export it again"):
        Rnn(folder).encode(make_photo(32, 32), 1)


@pytest.mark.parametrize("size", [(40000, 40000), (2**31, 1), (0, 5)])
def test_impossible_sizes_are_refused_before_any_work(codec: Rnn, full: bytes, size: tuple[int, int]) -> None:
    stream = bitstream.read(full)
    stream.width, stream.height = size
    with pytest.raises(BadFileError, match="pixels"):
        codec.decode(bitstream.write(stream))


@pytest.mark.parametrize(("quality", "alpha"), [(0, 0.0), (13, 0.0), (4, 2.0), (4, -0.1), (4, float("nan"))])
def test_options_out_of_range(codec: Rnn, photo: Image.Image, quality: int, alpha: float) -> None:
    with pytest.raises(BadOptionError):
        codec.encode(photo, quality, alpha=alpha)


def test_quality_beyond_the_file(codec: Rnn, photo: Image.Image) -> None:
    data = codec.encode(photo, 2)
    with pytest.raises(BadOptionError, match="qualities 1 to 2"):
        codec.decode(data, 3)


@settings(max_examples=60)
@given(garbage=st.binary(max_size=200), seed=st.integers(0, 2**32 - 1))
def test_garbage_never_crashes(codec: Rnn, garbage: bytes, seed: int) -> None:
    """Random segments with right checksums reach the range decoder; only BadFileError may come out."""
    stream = bitstream.Bitstream(codec.model.identity, 20, 36, 0.0, 3, segments=[garbage, garbage[::-1], b""])
    with contextlib.suppress(BadFileError):
        assert codec.decode(bitstream.write(stream)).size == (20, 36)
    with pytest.raises(BadFileError):
        codec.decode(bitstream.MAGIC + garbage)


def test_damaged_opacity_plane(codec: Rnn, photo: Image.Image) -> None:
    stream = bitstream.read(codec.encode(photo, 1))
    buffer = BytesIO()
    Image.new("L", (5, 5)).save(buffer, "PNG")
    for plane in (b"no picture", buffer.getvalue()):
        stream.chunks = {bitstream.PLANE: plane}
        with pytest.raises(BadFileError, match="opacity"):
            codec.decode(bitstream.write(stream))


def test_unknown_chunks_are_skipped(codec: Rnn, photo: Image.Image) -> None:
    data = codec.encode(photo, 1)
    stream = bitstream.read(data)
    stream.chunks = {200: b"from the future"}
    np.testing.assert_array_equal(np.asarray(codec.decode(bitstream.write(stream))), np.asarray(codec.decode(data)))


def test_header_is_what_the_specification_says(codec: Rnn) -> None:
    data = codec.encode(Image.new("RGB", (300, 70)), 1, alpha=0.4)
    assert data[:5] == b"\x8bBHD\x02"
    assert data[5:13] == codec.model.identity
    assert data[13:16] == bytes([300 & 0x7F | 0x80, 300 >> 7, 70])
    assert data[16:18] == bytes([100, 1])
    start = 19 if data[18] < 128 else 20
    checksum, payload = data[start : start + 4], data[start + 4 :]
    length = data[18] & 0x7F | (data[19] << 7 if start == 20 else 0)
    assert length == len(payload)
    assert int.from_bytes(checksum, "little") == zlib.crc32(payload, zlib.crc32(data[:18]))


def test_optimisation_is_told_by_the_header(codec: Rnn, photo: Image.Image) -> None:
    """It changes the human's reconstruction offsets, and both networks' modulation."""
    assert [Rnn(effort=effort).encode(photo, 1)[17] for effort in (0, 1)] == [0x41, 0x41]
    assert [codec.encode(photo, 1, alpha=alpha)[17] for alpha in (0.1, 0.49, 0.5, 1)] == [1, 1, 0x41, 0x41]
    # Pictures too small for MS-SSIM are coded as the analysis gives them, and so are large ones for machines.
    for alpha in (0, 1):
        assert not bitstream.read(codec.encode(photo.crop((0, 0, 48, 64)), 1, alpha=alpha)).optimised
    assert [codec.encode(photo.crop((0, 0, 64, side)), 1, alpha=1)[17] for side in (768, 784)] == [0x41, 1]
    for alpha in (0.0, 1.0):
        stream = bitstream.read(codec.encode(photo, 3, alpha=alpha))
        files = [bitstream.write(replace(stream, optimised=flag)) for flag in (False, True)]
        assert not np.array_equal(*(np.asarray(codec.decode(data)) for data in files))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_step_scale_stands_in_the_header(codec: Rnn, photo: Image.Image, alpha: float) -> None:
    plain, finer = codec.encode(photo, 2, alpha=alpha), codec.encode_between(photo, 2.25, alpha=alpha)
    assert finer[:17] == plain[:17]
    assert finer[17] == plain[17] | 0x80
    stream = bitstream.read(finer)
    assert stream.step_scale == finer[18] - 256 < 0
    for scale in (-128, 0, 127):
        scaled = replace(stream, step_scale=scale)
        assert bitstream.read(bitstream.write(scaled)) == scaled
        assert (np.asarray(codec.decode(bitstream.write(scaled))) != np.asarray(codec.decode(finer))).any()
    # Low frequencies keep their steps.
    steps, scaled = codec.model.steps, codec.model.scaled(64).steps
    ratio = steps.gain(alpha, 7, 2) / scaled.gain(alpha, 7, 2)
    assert np.flatnonzero(ratio.ravel() < 1.5).tolist() == [0, 1, 2, 3, 7, 8]
    np.testing.assert_allclose(np.delete(ratio.ravel(), [0, 1, 2, 3, 7, 8]), 2, rtol=1e-5)


def test_an_optimised_file_keeps_the_steps_of_all_its_iterations(photo: Image.Image) -> None:
    """Its first segments decode with the steps of the number of iterations in its header, cut off or not."""
    codec = Rnn(effort=1)
    data = codec.encode(photo, 4)
    ends = _segment_ends(data)
    scores = []
    for quality in range(1, 5):
        part = np.asarray(codec.decode(data, quality))
        np.testing.assert_array_equal(part, np.asarray(codec.decode(data[: ends[quality - 1]])))
        scores.append(ms_ssim(photo, Image.fromarray(part)))
    assert scores == sorted(scores)
    stream = bitstream.read(data)
    for target in (3, 5):  # a header that tells of another number means other steps
        other = bitstream.write(replace(stream, quality=target, segments=stream.segments[:3]))
        assert (np.asarray(codec.decode(other)) != np.asarray(codec.decode(data, 3))).any()


def test_steps_of_other_channels_are_damage(codec: Rnn, tmp_path: Path) -> None:
    shutil.copytree(codec.model.folder, tmp_path / "model")
    arrays = dict(np.load(codec.model.folder / "entropy.npz"))
    (tmp_path / "model" / "model.json").write_text("{}")
    for name in ("log_ratio", "searched_ratio"):
        wrong = {name: arrays[name][:, :7]}
        np.savez_compressed(tmp_path / "model" / "entropy.npz", **arrays | wrong)
        with pytest.raises(BadOptionError, match="damaged"):
            Rnn(tmp_path / "model").encode(Image.new("RGB", (32, 32)))


def test_a_folder_that_is_no_model(tmp_path: Path, photo: Image.Image) -> None:
    with pytest.raises(NotAvailableError, match="beholder export"):
        Rnn(tmp_path).encode(photo)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(BadOptionError, match=r"lacks analysis\.onnx"):
        Rnn(tmp_path).encode(photo)
    for name in onnx_model.FILES[:-1]:
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(BadOptionError, match="damaged"):
        Rnn(tmp_path).encode(photo)


def _segment_ends(data: bytes) -> list[int]:
    """Where each segment of a file without chunks ends."""
    stream = bitstream.read(data)
    sizes = [len(s) for s in stream.segments]
    heads = [(1 if n < 128 else 2 if n < 1 << 14 else 3) + 4 for n in sizes]
    body = sum(sizes) + sum(heads)
    ends = np.cumsum(np.array(sizes) + np.array(heads)) + len(data) - body
    return [int(e) for e in ends]
