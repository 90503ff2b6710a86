"""Opening anything, in any mode and state of repair, and saving safely."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from beholder.errors import BadFileError, BadImageError, OutputError
from beholder.files import save_atomically
from beholder.pictures.modes import MAX_PIXELS, MODES, check_size, flatten, normalise
from beholder.reading import load, open_image

RESULT_MODES = {
    **dict.fromkeys(("1", "L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"), "RGB"),
    **dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA"),
}
# Mean absolute error in grey levels that the trip through the mode and back may cost.
MODE_ERRORS = {"P": 25, "PA": 25, "LAB": 3, "HSV": 4, "YCbCr": 3, "La": 3, "RGBa": 3}
ORIENTATION = 0x0112


def grey(image: Image.Image) -> np.ndarray:
    opaque = image.convert("RGB") if image.mode == "RGBA" else image
    return np.asarray(opaque.convert("LA").getchannel(0) if image.mode == "LA" else opaque.convert("L"), float)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", RESULT_MODES)
def test_every_pillow_mode_becomes_one_of_four(mode: str, modes: dict[str, Image.Image], photo: Image.Image) -> None:
    before = modes[mode].tobytes()
    result = normalise(modes[mode])
    assert result.mode == RESULT_MODES[mode]
    assert result.size == photo.size
    assert modes[mode].tobytes() == before
    if mode == "1":  # black and white dots: only their density can be compared
        assert set(np.unique(np.asarray(result))) == {0, 255}
        assert np.abs(grey(result.reduce(20)) - grey(photo.reduce(20))).mean() < 5
        return
    visible = np.asarray(result.getchannel("A")) > 40 if result.mode in ("LA", "RGBA") else True
    error = np.abs(grey(result) - grey(photo))[visible if visible is not True else ...]
    assert error.mean() <= MODE_ERRORS.get(mode, 1)


def test_mode_fixture_covers_the_table(modes: dict[str, Image.Image]) -> None:
    assert set(modes) == set(RESULT_MODES)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    image = Image.frombytes("I;16", (8, 1), values.astype("<u2").tobytes())
    assert np.asarray(normalise(image)).tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("I", [0, 100, 255], [0, 100, 255]),
        ("I", [0, 257, 65535], [0, 1, 255]),
        ("I", [-5, 70000, 514], [0, 255, 2]),
        ("F", [0.0, 0.5, 1.0], [0, 128, 255]),
        ("F", [0.0, 1.4, 254.6], [0, 1, 255]),
        ("F", [float("nan"), float("inf"), -1.0], [0, 255, 0]),
    ],
)
def test_wide_grey_values(mode: str, values: list[float], expected: list[int]) -> None:
    array = np.array([values], dtype=np.int32 if mode == "I" else np.float32)
    assert np.asarray(normalise(Image.fromarray(array, mode))).tolist() == [expected]


@pytest.mark.parametrize(
    ("mode", "transparent", "result"),
    [("L", 7, "LA"), ("RGB", (7, 7, 7), "RGBA"), ("P", 0, "RGBA"), ("I;16", 1799, "LA")],
)
def test_transparent_colours_of_png(tmp_path: Path, mode: str, transparent: object, result: str) -> None:
    colours = np.array([[7, 200]], dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(colours.astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
        image.putpalette([7, 7, 7, 200, 200, 200])
    else:
        image = Image.fromarray(colours).convert(mode)
    image.save(tmp_path / "t.png", transparency=transparent)
    opened = load(tmp_path / "t.png")
    assert opened.mode == result
    assert np.asarray(opened.getchannel("A")).tolist() == [[0, 255]]


def cmyk_profile() -> bytes:
    """A minimal ICC profile (lut8, two points a side) in which C alone decides: none black, full white."""
    grid = bytes(value for k in range(16) for value in (255 if k & 8 else 0, 128, 128))
    identity = struct.pack(">9i", *(65536 if k % 4 == 0 else 0 for k in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(">I4sI4s4s4s", 144 + len(table), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + table


def test_cmyk_is_converted_with_its_profile() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 255, 255, 255]]], dtype=np.uint8), "CMYK")
    image.info["icc_profile"] = cmyk_profile()
    result = normalise(image)
    assert (result.mode, result.info) == ("RGB", {})
    # The opposite of what the inks mean without the profile.
    assert np.abs(np.asarray(result, int) - [[[0] * 3, [255] * 3]]).max() <= 3
    buffer = BytesIO()
    image.resize((16, 16)).save(buffer, "JPEG", quality=95, icc_profile=cmyk_profile())
    opened = open_image(buffer.getvalue())
    assert opened.info == {}
    assert opened.getpixel((0, 8))[0] < 60 < 200 < opened.getpixel((15, 8))[0]


def test_cmyk_without_a_usable_profile(photo: Image.Image) -> None:
    cmyk = photo.convert("CMYK")
    cmyk.info["icc_profile"] = b"no profile at all"
    plain = normalise(cmyk)
    assert plain.mode == "RGB"
    assert "icc_profile" not in plain.info
    assert np.asarray(plain).tolist() == np.asarray(cmyk.convert("RGB")).tolist()


def test_profile_and_exif_are_kept_and_nothing_else(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    photo.info = {"icc_profile": srgb_profile(), "exif": exif.tobytes(), "dpi": (72, 72), "comment": b"x"}
    buffer = BytesIO()
    photo.save(buffer, "PNG", icc_profile=photo.info["icc_profile"], exif=photo.info["exif"])
    opened = open_image(buffer.getvalue())
    assert set(opened.info) == {"icc_profile", "exif"}
    assert opened.info["icc_profile"] == photo.info["icc_profile"]
    assert opened.getexif()[0x010E] == "a picture"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_its_tag_removed(orientation: int) -> None:
    # Four flat quadrants survive JPEG; named by the corner of the upright picture they lie in.
    corners = np.kron(np.array([[20, 90], [160, 240]]), np.ones((16, 24))).astype(np.uint8)
    upright_picture = Image.fromarray(corners)
    stored = {
        1: upright_picture,
        2: upright_picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright_picture.transpose(Image.Transpose.ROTATE_180),
        4: upright_picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright_picture.transpose(Image.Transpose.TRANSPOSE),
        6: upright_picture.transpose(Image.Transpose.ROTATE_90),
        7: upright_picture.transpose(Image.Transpose.TRANSVERSE),
        8: upright_picture.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010E] = "kept"
    buffer = BytesIO()
    stored.save(buffer, "JPEG", quality=95, exif=exif)
    opened = open_image(buffer.getvalue())
    assert opened.size == upright_picture.size
    assert np.abs(np.asarray(opened, int) - corners).max() <= 4
    assert ORIENTATION not in opened.getexif()
    assert opened.getexif()[0x010E] == "kept"


@given(exif=st.binary(max_size=200))
def test_broken_exif_is_no_reason_to_refuse_a_picture(exif: bytes) -> None:
    image = Image.new("RGB", (3, 2), "red")
    image.info["exif"] = b"Exif\x00\x00" + exif
    assert normalise(image).getpixel((0, 0)) == (255, 0, 0)


def test_flatten_composites_on_white() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], dtype=np.uint8))
    image.info["icc_profile"] = b"kept"
    flat = flatten(image)
    assert flat.mode == "RGB"
    assert np.asarray(flat).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]
    assert flat.info == {"icc_profile": b"kept"}
    assert flatten(image.convert("LA")).mode == "L"
    opaque = Image.new("L", (2, 2))
    assert flatten(opaque) is opaque


def test_sources(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    expected = photo.tobytes()
    for source in (tmp_path / "p.png", str(tmp_path / "p.png"), data, BytesIO(data), photo):
        assert open_image(source).tobytes() == expected
    with pytest.raises(BadImageError):
        load(tmp_path / "p\x00.png")


def test_missing_folder_text_and_empty(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am no picture.\n" * 20)
    (tmp_path / "empty.png").write_bytes(b"")
    for name, words in (
        ("nowhere.png", "There is no file"),
        (".", "is a folder"),
        ("text.jpg", "is not an image"),
        ("empty.png", "is empty"),
    ):
        with pytest.raises(BadImageError, match=words) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "gif", "avif", "ppm"])
def test_truncated(photo: Image.Image, tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    photo.save(whole)
    assert load(whole).size == photo.size
    data = whole.read_bytes()
    for size in (1, 20, len(data) // 2):
        cut = tmp_path / f"cut{size}.{suffix}"
        cut.write_bytes(data[:size])
        with pytest.raises(BadImageError):
            load(cut)


@pytest.mark.parametrize("size", [(40_000, 40_000), (14_143, 14_143), (2**31 - 1, 1)])
def test_too_large_is_refused_by_its_header_without_a_warning(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "big.png").write_bytes(png_header(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImageError, match="limit of 200,000,000 pixels") as caught:
            load(tmp_path / "big.png")
    assert str(caught.value).count("\n") == 0


def test_within_the_limit_pillows_warning_does_not_leak() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImageError, match="claims 12000 x 10000 pixels"):
            open_image(png_header(12_000, 10_000)[:60])


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "p.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(BadImageError, match="not an image"):
        load(tmp_path / "p.eps")


@settings(max_examples=40)
@given(
    data=st.binary(max_size=300),
    prefix=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00"]),
)
def test_garbage_raises_only_bad_image_error(data: bytes, prefix: bytes) -> None:
    try:
        image = open_image(prefix + data)
    except BadImageError:
        return
    assert image.mode in MODES


def test_check_size() -> None:
    check_size(1, 1)
    check_size(1, MAX_PIXELS)
    for width, height in ((0, 1), (1, 0), (-3, -3), (1, MAX_PIXELS + 1), (2**31, 2**31)):
        with pytest.raises(BadFileError):
            check_size(width, height)


def test_save_atomically(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    save_atomically(path, b"one")
    assert path.read_bytes() == b"one"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    path.chmod(0o640)
    save_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(OutputError, match="exists already"):
        save_atomically(path, b"three", force=False)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_save_follows_links_and_writes_devices(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    save_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    save_atomically(Path(os.devnull), b"gone")
    assert Path(os.devnull).is_char_device()


def test_save_errors_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "where.png", "There is no folder"),
        (tmp_path / "file" / "below.png", "There is no folder"),
        (tmp_path / ("n" * 300), "cannot be written"),
    ):
        with pytest.raises(OutputError, match=words):
            save_atomically(path, b"data")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        save_atomically(tmp_path / "full", b"data")
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_save_into_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        save_atomically(tmp_path / "out", b"data")


@settings(max_examples=25)
@given(mode=st.sampled_from(["L", "LA", "RGB", "RGBA"]), width=st.integers(1, 40), height=st.integers(1, 40))
def test_normalised_images_are_left_alone(photo: Image.Image, mode: str, width: int, height: int) -> None:
    image = photo.convert(mode).resize((width, height))
    result = normalise(image)
    assert result is not image
    assert (result.mode, result.tobytes()) == (mode, image.tobytes())
