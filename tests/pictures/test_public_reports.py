"""Files from public bug reports of other programs (docs/log/2026-11-27-ten-situations.md)."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from beholder.errors import BeholderWarning
from beholder.reading import open_image

RAMP = np.tile(np.linspace(20, 230, 64).astype(np.uint8), (48, 1))
COLOURS = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 120)], axis=-1)


def tiff(values: NDArray[Any], photometric: int, separate: bool = False) -> bytes:
    """A plain TIFF file of (H, W), (H, W, C), or with separate planes (C, H, W) samples."""
    planes = len(values) if separate else 1
    height, width = values.shape[-2:] if separate else values.shape[:2]
    samples = planes if separate else values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    each, extra, end = len(data) // planes, b"", 8 + len(data)
    entries = b""
    for tag, kind, numbers in (
        (256, "H", [width]),
        (257, "H", [height]),
        (258, "H", [8 * values.dtype.itemsize] * samples),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", [8 + each * plane for plane in range(planes)]),
        (277, "H", [samples]),
        (278, "H", [height]),
        (279, "I", [each] * planes),
        (284, "H", [2 if separate else 1]),
        (339, "H", [{"u": 1, "i": 2, "f": 3}[values.dtype.kind]] * samples),
    ):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(packed) > 4:
            place = struct.pack("<I", end + len(extra))
            extra += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers)) + place
    directory = struct.pack("<H", 11) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", end + len(extra)) + data + extra + directory


def png(pixels: NDArray[np.uint8], name: bytes = b"", content: bytes = b"") -> bytes:
    """A PNG file, with one more chunk behind its header."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = file.getvalue()
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk * bool(name) + data[33:]


@pytest.mark.parametrize(
    "values",
    [255 - RAMP, 65_535 - RAMP.astype(np.uint16) * 257, (1 - RAMP / 255).astype(np.float32)],
    ids=["8 bits", "16 bits", "float"],
)
def test_zero_is_white_at_any_depth(values: NDArray[Any]) -> None:
    assert np.array_equal(np.asarray(open_image(tiff(values, 0))), RAMP)


def test_planes_of_16_bits_one_behind_the_other() -> None:
    pytest.importorskip("imagecodecs")
    data = tiff(np.moveaxis(COLOURS.astype(np.uint16) * 257, 2, 0), 2, separate=True)
    assert np.array_equal(np.asarray(open_image(data)), COLOURS)
    assert np.array_equal(np.asarray(open_image(io.BytesIO(data))), COLOURS)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_linear_png_becomes_srgb(mode: str) -> None:
    stored = np.rint(255 * (COLOURS / 255) ** 2.2).astype(np.uint8)
    picture = np.asarray(Image.fromarray(stored).convert(mode))
    with pytest.warns(BeholderWarning, match="gamma of 1"):
        found = open_image(png(picture, b"gAMA", struct.pack(">I", 100_000)))
    assert found.mode == mode
    light = np.where(picture / 255 > 0.0031308, 1.055 * (picture / 255) ** (1 / 2.4) - 0.055, 12.92 * picture / 255)
    expected = np.rint(255 * light)
    if mode in ("LA", "RGBA"):
        expected[..., -1] = 255
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [(b"gAMA", struct.pack(">I", 45_455)), (b"gAMA", bytes(4)), (b"cICP", bytes([1, 13, 0, 1]))],
)
def test_the_usual_gamma_and_colours_are_left_alone(name: bytes, content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", BeholderWarning)
        assert np.array_equal(np.asarray(open_image(png(COLOURS, name, content))), COLOURS)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (b"cICP", bytes([9, 18, 0, 1]), "primaries 9, transfer 18"),
        (b"cICP", bytes([9, 16, 0, 1]), "primaries 9, transfer 16"),
        (b"iCCP", b"x\0\0no zlib stream", "profile that cannot be read"),
    ],
)
def test_colours_that_are_not_converted_are_told(name: bytes, content: bytes, sentence: str) -> None:
    with pytest.warns(BeholderWarning, match=sentence):
        assert np.array_equal(np.asarray(open_image(png(COLOURS, name, content))), COLOURS)


def test_grey_pixels_with_the_profile_of_a_colour_picture() -> None:
    from PIL import ImageCms

    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RAMP).save(file, "PNG", icc_profile=profile)
    found = open_image(file.getvalue())
    assert found.mode == "L"
    assert np.array_equal(np.asarray(found), RAMP)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_means_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "PNG", exif=exif)
    assert np.array_equal(np.asarray(open_image(file.getvalue())), COLOURS)


def test_signed_samples_of_16_bits_are_a_guess_that_is_told() -> None:
    with pytest.warns(BeholderWarning, match="0 is taken for black"):
        open_image(tiff(RAMP.astype(np.int16) * 128, 1))
