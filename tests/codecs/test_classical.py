"""JPEG, WebP, AVIF, JPEG 2000, JPEG XL and HEIC: files that other decoders read, and no other failures."""

from __future__ import annotations

import struct
from importlib.metadata import EntryPoint
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from beholder import codecs
from beholder.codecs.base import Codec
from beholder.errors import BadFileError, BadImageError, BadOptionError, NotAvailableError
from beholder.extras import install_command
from beholder.metrics import psnr
from beholder.pictures.colour import to_srgb
from beholder.pictures.modes import MODES, flatten

NAMES = ("jpeg", "webp", "avif", "jpeg2000", "jxl", "heic")
KEEPS_GREY = {"jpeg", "avif", "jpeg2000", "jxl", "heic"}
STORES_PROFILE = {"jpeg", "webp", "avif", "heic", "jpeg2000"}
SIGNATURES = {
    "jpeg": b"\xff\xd8\xff\xe0",
    "webp": b"RIFF\x40\x00\x00\x00WEBPVP8 ",
    "avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1avif",
    "jpeg2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "jxl": b"\xff\x0a",
    "heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
}
quick = settings(max_examples=25)


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    """Each classical codec that can run here."""
    found = codecs.get(request.param)
    reason = found.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return found


def test_quality_buys_fidelity_with_bytes(codec: Codec, photo: Image.Image) -> None:
    low, high = codec.scale.lowest, codec.scale.highest
    files = [codec.encode(photo, quality) for quality in (low, 25, 50, 75, high)]
    fidelities = [psnr(photo, codec.decode(file)) for file in files]
    sizes = [len(file) for file in files]
    assert sizes == sorted(set(sizes))
    assert fidelities == sorted(set(fidelities))
    assert fidelities[-1] > 33
    assert sizes[0] < photo.width * photo.height / 4


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 1), (1, 40), (63, 65)])
@pytest.mark.parametrize("mode", sorted(MODES))
def test_any_mode_and_size(codec: Codec, photo: Image.Image, mode: str, size: tuple[int, int]) -> None:
    image = photo.resize(size).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    decoded = codec.decode(codec.encode(image, 90))
    assert decoded.size == size
    assert decoded.mode in MODES
    if mode == "L" and codec.name in KEEPS_GREY:
        assert decoded.mode == "L"
    assert ("A" in decoded.mode) == ("A" in mode and mode in codec.modes)
    assert np.abs(_rgb(flatten(decoded)) - _rgb(flatten(image))).mean() < 14


def test_pillow_reads_what_we_write(codec: Codec, photo: Image.Image) -> None:
    if codec.name in ("jxl", "heic"):
        pytest.skip("Pillow itself does not read this format")
    data = codec.encode(photo, 60)
    with Image.open(BytesIO(data)) as other:
        assert other.size == photo.size
        assert np.array_equal(np.asarray(other.convert("RGB")), np.asarray(codec.decode(data)))


def test_chroma_is_subsampled_in_jpeg(photo: Image.Image) -> None:
    data = codecs.get("jpeg").encode(photo)
    frame = data.index(b"\xff\xc0") + 10
    # Sampling factors of Y, Cb and Cr in the frame header: 4:2:0.
    assert [data[frame + 3 * k + 1] for k in range(3)] == [0x22, 0x11, 0x11]


def test_profile_and_exif(codec: Codec, photo: Image.Image) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "described"
    photo.info = {"icc_profile": profile, "exif": exif.tobytes()}
    decoded = codec.decode(codec.encode(photo))
    assert decoded.info.get("icc_profile") == (profile if codec.name in STORES_PROFILE else None)
    assert decoded.getexif().get(0x010E) == "described"


def test_colours_are_those_of_the_profile(codec: Codec) -> None:
    image = Image.new("RGB", (40, 30), (120, 60, 200))
    # sRGB with the primaries red and blue exchanged in its table of tags.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    image.info["icc_profile"] = swapped
    decoded = codec.decode(codec.encode(image, 95))
    assert ("icc_profile" in decoded.info) == (codec.name in STORES_PROFILE)
    assert np.abs(_rgb(to_srgb(decoded)) - np.array([200, 60, 120])).mean() < 4


def test_oversized_exif_does_not_stop_jpeg(photo: Image.Image) -> None:
    photo.info["exif"] = b"Exif\x00\x00" + bytes(100_000)
    assert "exif" not in codecs.get("jpeg").decode(codecs.get("jpeg").encode(photo)).info


def test_noise_at_full_quality_fits_the_encoders_buffers(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    decoded = codec.decode(codec.encode(Image.fromarray(noise), codec.scale.highest))
    assert decoded.size == (70, 90)


def test_orientation_in_a_foreign_file_is_applied(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    photo.save(buffer, "JPEG", exif=exif)
    decoded = codecs.get("jpeg").decode(buffer.getvalue())
    assert decoded.size == (photo.height, photo.width)
    assert 0x0112 not in decoded.getexif()


def test_truncated_files_are_refused(codec: Codec, photo: Image.Image) -> None:
    data = codec.encode(photo, 70)
    for size in (0, 1, 13, 40, len(data) // 3, 2 * len(data) // 3, len(data) - 2):
        with pytest.raises(BadFileError):
            codec.decode(data[:size])


@quick
@given(tail=st.binary(max_size=200))
def test_garbage_behind_a_signature(codec: Codec, tail: bytes) -> None:
    for data in (tail, SIGNATURES[codec.name] + tail):
        try:
            image = codec.decode(data)
        except BadFileError:
            continue
        assert image.mode in MODES


@quick
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes(codec: Codec, photo: Image.Image, changes: list[tuple[int, int]]) -> None:
    data = bytearray(codec.encode(photo.resize((48, 36)), 40))
    for position, value in changes:
        # Mostly in the headers, where the damage is worst.
        data[position % (len(data) if position % 3 == 0 else min(len(data), 400))] = value
    try:
        image = codec.decode(bytes(data))
    except BadFileError:
        return
    assert image.mode in MODES


@pytest.mark.parametrize("name", ["jpeg", "webp", "jpeg2000", "jxl"])
def test_huge_sizes_are_refused_by_the_header(name: str, photo: Image.Image) -> None:
    codec = codecs.get(name)
    if codec.unavailable():
        pytest.skip(str(codec.unavailable()))
    data = bytearray(codec.encode(photo))
    if name == "jpeg":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    elif name == "webp":
        data[26:30] = struct.pack("<HH", 16_383, 16_383)
    elif name == "jpeg2000":
        header = data.index(b"ihdr")
        data[header + 4 : header + 12] = struct.pack(">II", 2**30, 2**30)
    else:
        # SizeHeader, low bit first: not small, 30-bit height 2**30, ratio 1 (square).
        bits = 0 | 3 << 1 | (2**30 - 1) << 3 | 1 << 33
        data[2:8] = bits.to_bytes(6, "little")
    with pytest.raises(BadFileError, match=r"limit of 200,000,000"):
        codec.decode(bytes(data))


def test_a_jpeg_with_thousands_of_scans_is_refused(photo: Image.Image) -> None:
    data = codecs.get("jpeg").encode(photo)
    scan = data.index(b"\xff\xda")
    with pytest.raises(BadFileError, match="more scans"):
        codecs.get("jpeg").decode(data[:scan] + data[scan : scan + 14] * 500 + data[scan:])


@pytest.mark.parametrize(("name", "side"), [("jpeg", 65_501), ("webp", 16_384)])
def test_sides_that_do_not_fit(name: str, side: int) -> None:
    with pytest.raises(BadImageError, match="does not fit"):
        codecs.get(name).encode(Image.new("L", (side, 1)))


@pytest.mark.parametrize("quality", [-1, 101, 3.5, "80", True])
def test_bad_quality(codec: Codec, photo: Image.Image, quality: object) -> None:
    with pytest.raises(BadOptionError):
        codec.encode(photo, quality)  # type: ignore[arg-type]


def test_encoding_does_not_change_the_image(codec: Codec, photo: Image.Image) -> None:
    before, info = photo.tobytes(), dict(photo.info)
    first = codec.encode(photo, 50)
    assert codec.encode(photo, 50) == first
    assert (photo.tobytes(), photo.info) == (before, info)


def test_registry_knows_its_own_files(codec: Codec, photo: Image.Image) -> None:
    data = codec.encode(photo)
    assert codecs.recognise(data) is codec
    assert codecs.recognise(data[:64]) is codec
    assert codecs.get(codec.name) is codec
    assert codec.name in codecs.names()
    assert codec.suffix.startswith(".")


def test_registry_errors() -> None:
    with pytest.raises(BadOptionError, match="choose one of rnn, jpeg, webp, bpg"):
        codecs.get("gif")
    for data in (b"", b"GIF89a", b"%PDF-1.7", bytes(64), b"\xff\xd9\xff"):
        with pytest.raises(BadFileError):
            codecs.recognise(data)


def test_other_packages_add_codecs(monkeypatch: pytest.MonkeyPatch, photo: Image.Image) -> None:
    points = [
        EntryPoint("zzz", "beholder.codecs.jpeg:Jpeg", codecs.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no_such_module:Codec", codecs.ENTRY_POINT_GROUP),
        EntryPoint("jpeg", "no_such_module:Jpeg", codecs.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert codecs.names()[-2:] == ["broken", "zzz"]
    assert codecs.get("zzz").encode(photo).startswith(b"\xff\xd8")
    assert codecs.get("jpeg").name == "jpeg"
    with pytest.raises(NotAvailableError, match="cannot be loaded"):
        codecs.get("broken")
    with pytest.raises(BadFileError):
        codecs.recognise(b"nothing of the kind")


@pytest.mark.parametrize(("name", "extra"), [("jxl", install_command("jxl")), ("heic", install_command("heic"))])
def test_missing_packages_are_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    codec = codecs.get(name)
    assert extra in str(codec.unavailable())
    with pytest.raises(NotAvailableError, match="pip install"):
        codec.decode(b"")
    with pytest.raises(NotAvailableError, match="pip install"):
        codec.encode(Image.new("RGB", (4, 4)))


def _rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(float)
