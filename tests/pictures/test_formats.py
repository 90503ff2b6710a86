"""Files as cameras, phones and other programs write them: orientation, bit depth, profiles, and what lies beside."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import beholder
from beholder import codecs
from beholder.errors import BadImageError
from beholder.pictures.colour import profile_space, to_srgb
from beholder.reading import open_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# sRGB with the primaries red and blue exchanged in its table of tags.
SWAPPED = SRGB.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def cases() -> Path:
    """The folder with files of users; the test is skipped without it."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("BEHOLDER_DATA", default)).parent / "cases"
    if not (folder / "gray_icc.png").is_file():
        pytest.skip(f"no files of users in {folder}")
    return folder


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(image: Image.Image) -> np.ndarray:
    """The pixels as a program with colour management shows them."""
    return np.asarray(to_srgb(image).convert("RGB"), float)


def error(image: Image.Image, reference: Image.Image) -> float:
    assert image.size == reference.size
    return float(np.abs(shown(image) - shown(reference)).mean())


def from_light(light: np.ndarray) -> np.ndarray:
    """sRGB's samples of linear light, which imagecodecs says that it writes from 9 bits on."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def grey_profile(gamma: float = 1.0) -> bytes:
    """A minimal ICC profile for grey pixels."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    tags = struct.pack(">I4sII4sII", 2, b"kTRC", 156, 16, b"wtpt", 172, len(white))
    header = struct.pack(">I4sI4s4s4s", 172 + len(white), b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + curve + white


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


JXL_HEAD = b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl "


# Orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_once_in_every_format(photo: Image.Image, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "Maker"
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    source = encoded(photo, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}))
    for codec in ("bpg", "jpeg", "rnn"):
        result = beholder.decompress(beholder.compress(source, codec))
        assert error(result, upright) < 14
        assert result.getexif()[0x010F] == "Maker"
        assert ORIENTATION not in result.getexif()


@pytest.mark.parametrize("name", ["jxl", "heic"])
def test_orientation_of_the_container_goes_before_that_of_exif(photo: Image.Image, name: str) -> None:
    codec = codecs.get(name)
    if reason := codec.unavailable():
        pytest.skip(reason)
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "Maker"
    if name == "jxl":
        codestream = codec.encode(photo, 90)
        data = JXL_HEAD + box(b"Exif", bytes(4) + exif.tobytes()[6:]) + box(b"jxlc", codestream)
        wanted = photo  # a codestream says itself how it is turned
    else:
        pillow_heif = pytest.importorskip("pillow_heif")
        out = BytesIO()
        pillow_heif.from_pillow(photo).save(out, quality=90, exif=exif.tobytes())
        data, wanted = out.getvalue(), photo.transpose(Image.Transpose.ROTATE_270)
    result = beholder.decompress(data)
    assert error(result, wanted) < 8
    assert dict(result.getexif()) == {0x010F: "Maker"}


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(photo: Image.Image, value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = open_image(encoded(photo, "PNG", exif=exif))
    assert opened.tobytes() == photo.tobytes()
    assert "exif" not in opened.info


# Bit depths and number formats


@pytest.mark.parametrize("bits", [1, 4, 8, 9, 10, 12, 14, 16])
def test_jpeg_xl_of_any_depth(photo: Image.Image, bits: int) -> None:
    imagecodecs, pyjpegxl = pytest.importorskip("imagecodecs"), pytest.importorskip("pyjpegxl")
    assert pyjpegxl
    samples = np.rint(np.asarray(photo) / 255 * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    data = bytes(imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=bits))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = beholder.decompress(data)
    light = samples / (2**bits - 1)
    wanted = 255 * (light if bits <= 8 else from_light(light))
    assert np.abs(np.asarray(opened) - wanted).max() <= 1


@pytest.mark.parametrize("kind", [np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_jpeg_xl_of_linear_light(photo: Image.Image, mode: str, kind: type) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pyjpegxl")
    image = photo.convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    samples = np.asarray(image) / 255
    stored = (samples * 65_535).astype(kind) if kind is np.uint16 else samples.astype(kind)
    opened = beholder.decompress(bytes(imagecodecs.jpegxl_encode(stored, lossless=True)))
    wanted = from_light(samples)
    if mode.endswith("A"):
        wanted[..., -1] = samples[..., -1]
    assert "icc_profile" not in opened.info
    assert np.abs(np.asarray(opened, float) - 255 * wanted).max() <= 1


def test_tiff_and_pgm_of_any_depth(photo: Image.Image) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    grey = np.asarray(photo.convert("L"))
    deep = grey.astype(np.uint16)
    for data, words in (
        (bytes(imagecodecs.tiff_encode(deep * 16, bitspersample=12)), None),
        (bytes(imagecodecs.tiff_encode(deep * 257)), None),
        (bytes(imagecodecs.tiff_encode(grey.astype(np.uint32) * 0x01010101)), "4,294,967,295 for white"),
        (bytes(imagecodecs.tiff_encode((grey / 255).astype(np.float32))), None),
        (b"P5 %d %d 1023\n" % photo.size + (deep * 4).astype(">u2").tobytes(), None),
    ):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            opened = np.asarray(open_image(data), int)
        assert np.abs(opened - grey).max() <= 1
        assert [words in str(one.message) for one in said] == ([True] if words else [])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_tiff_of_floating_point(photo: Image.Image, kind: type) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    for image in (photo, photo.convert("L")):
        samples = (np.asarray(image) / 255).astype(kind)
        data = bytes(imagecodecs.tiff_encode(samples, photometric="rgb" if image.mode == "RGB" else "minisblack"))
        opened = open_image(data)
        assert opened.mode == image.mode
        assert np.abs(np.asarray(opened, int) - np.asarray(image)).max() <= 1
        for cut in (20, len(data) // 2):
            with pytest.raises(BadImageError):
                open_image(data[:cut])
    huge = bytearray(data)
    width = huge.index(struct.pack("<HHI", 256, 4, 1)) if struct.pack("<HHI", 256, 4, 1) in huge else None
    if width is not None:
        huge[width + 8 : width + 12] = struct.pack("<I", 2**31 - 1)
        with pytest.raises(BadImageError, match=r"limit of|damaged|truncated"):
            open_image(bytes(huge))


# Colour profiles


@pytest.mark.parametrize("lossless", [True, False])
def test_jpeg_xl_with_a_profile(photo: Image.Image, lossless: bool) -> None:
    pyjpegxl = pytest.importorskip("pyjpegxl")
    for image, profile in ((photo, SWAPPED), (photo.convert("L"), grey_profile(1.0))):
        reference = image.copy()
        reference.info["icc_profile"] = profile
        samples = np.asarray(image).reshape(image.height, image.width, -1)
        data = pyjpegxl.encode_from_numpy(samples, lossless=lossless, quality=1.0, icc=profile)
        opened = beholder.decompress(data)
        assert profile_space(opened.info.get("icc_profile")) in (None, "GRAY" if image.mode == "L" else "RGB")
        assert error(opened, reference) < (0.6 if lossless else 6)


def test_profiles_fit_their_pixels(photo: Image.Image) -> None:
    grey = photo.convert("L")
    reference = grey.copy()
    reference.info["icc_profile"] = grey_profile(1.0)
    source = encoded(grey, "PNG", icc_profile=grey_profile(1.0))
    for name in codecs.names():
        codec = codecs.get(name)
        if codec.unavailable() is None:
            result = beholder.decompress(beholder.compress(source, name, quality=codec.scale.default))
            space = profile_space(result.info.get("icc_profile"))
            assert space == ("GRAY" if space and result.mode == "L" else None), name
            assert error(result, reference) < 18, name


@pytest.mark.parametrize(
    ("mode", "profile", "words"),
    [
        ("RGB", grey_profile(), "one of GRAY and does not fit RGB pixels"),
        ("RGB", b"no profile at all" * 9, "cannot be read and is left out"),
        ("L", b"no profile at all" * 9, "cannot be read and is left out"),
        ("CMYK", SRGB, "does not fit CMYK pixels"),
    ],
)
def test_profiles_of_other_pixels_are_left_out_with_a_note(
    photo: Image.Image, mode: str, profile: bytes, words: str
) -> None:
    data = encoded(photo.convert(mode), "TIFF", icc_profile=profile)
    with pytest.warns(beholder.BeholderWarning, match=words):
        opened = open_image(data)
    assert "icc_profile" not in opened.info


def test_grey_pixels_under_an_rgb_profile_are_converted(photo: Image.Image) -> None:
    grey = photo.convert("L")
    opened = open_image(encoded(grey, "PNG", icc_profile=SRGB))
    assert opened.mode == "L"
    assert "icc_profile" not in opened.info
    assert np.abs(np.asarray(opened, int) - np.asarray(grey)).max() <= 1


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".png", ".tif", ".webp", ".jpg"])
def test_colours_survive_formats_without_profiles(photo: Image.Image, suffix: str) -> None:
    from beholder.pictures.saving import picture_bytes

    photo.info["icc_profile"] = SWAPPED
    with Image.open(BytesIO(picture_bytes(photo, f"x{suffix}"))) as saved:
        saved.load()
        assert error(saved, photo) < (4 if suffix == ".jpg" else 0.6)
        assert ("icc_profile" in saved.info) == (suffix not in (".bmp", ".ppm"))


def test_strip_converts_to_srgb(photo: Image.Image) -> None:
    source = encoded(photo, "PNG", icc_profile=SWAPPED)
    reference = photo.copy()
    reference.info["icc_profile"] = SWAPPED
    result = beholder.decompress(beholder.compress(source, "jpeg", quality=95, strip=True))
    assert "icc_profile" not in result.info
    assert error(result, reference) < 4


# What lies beside the picture


def test_png_texts_and_broken_chunks(photo: Image.Image) -> None:
    png = encoded(photo, "PNG")
    bomb = zlib.compress(bytes(3_000_000))
    for chunk, words in (
        (png_chunk(b"zTXt", b"k\0\0" + bomb), "texts that cannot be read"),
        (png_chunk(b"iTXt", b"k\0\1\0\0\0" + bomb), "texts that cannot be read"),
        (png_chunk(b"tEXt", b"a\0b")[:-4] + b"1234", "texts that cannot be read"),
        (png_chunk(b"iCCP", b"name\0\0" + bomb), "colour profile that cannot be read"),
        (png_chunk(b"eXIf", b"garbage"), "EXIF data that cannot be read"),
    ):
        with pytest.warns(beholder.BeholderWarning, match=words):
            assert open_image(png[:33] + chunk + png[33:]).tobytes() == photo.tobytes()


def test_trailers_of_jpeg(photo: Image.Image) -> None:
    jpeg = encoded(photo, "JPEG")
    expected = open_image(jpeg).tobytes()
    for trailer in (bytes(9), b"\x00\x00\x00\x18ftypmp42" + b"\xff\xda" * 500 + bytes(9), jpeg[: len(jpeg) // 2]):
        assert beholder.decompress(jpeg + trailer).tobytes() == expected
        assert open_image(jpeg + trailer).tobytes() == expected
    for cut in (2, 40, len(jpeg) // 2):
        with pytest.raises(BadImageError, match="truncated"):
            open_image(jpeg[:-cut])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_only_the_first_of_several_pictures_is_used(photo: Image.Image, kind: str) -> None:
    negative = Image.fromarray(255 - np.asarray(photo))
    data = encoded(photo, kind, save_all=True, append_images=[negative])
    with pytest.warns(beholder.BeholderWarning, match="only the first is used"):
        opened = open_image(data)
    assert error(opened, photo) < 12
    with Image.open(BytesIO(data)) as image, pytest.warns(beholder.BeholderWarning, match="only the first is used"):
        assert error(open_image(image), photo) < 12


def test_animated_jpeg_xl(photo: Image.Image) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pyjpegxl")
    frames = np.stack([np.asarray(photo), 255 - np.asarray(photo)])
    with pytest.warns(beholder.BeholderWarning, match="only the first is used"):
        assert beholder.decompress(bytes(imagecodecs.jpegxl_encode(frames, lossless=True))).tobytes() == photo.tobytes()


ODD_EXIF = {
    "empty": b"",
    "short": b"\0\0",
    "far offset": b"\xff\xff\xff\xff" + b"II*\0" + bytes(20),
    "garbage": bytes(4) + b"garbage" * 9,
    "no tags": bytes(4) + b"MM\0*\0\0\0\x08\0\0\0\0\0\0",
    "directory beyond the end": bytes(4) + b"MM\0*\xff\xff\xff\xff",
}


@pytest.mark.parametrize("case", ODD_EXIF)
@pytest.mark.filterwarnings("ignore::beholder.BeholderWarning")
def test_odd_exif_items_are_no_reason_to_refuse_a_picture(photo: Image.Image, case: str) -> None:
    codec = codecs.get("jxl")
    if codec.unavailable() is None:
        data = JXL_HEAD + box(b"Exif", ODD_EXIF[case]) + box(b"jxlc", codec.encode(photo, 90))
        assert error(beholder.decompress(data), photo) < 8
    exif = Image.Exif()
    exif[0x010F] = "m" * 80
    for name in ("avif", "heic"):
        codec = codecs.get(name)
        if codec.unavailable() is not None:
            continue
        image = photo.copy()
        image.info["exif"] = exif.tobytes()
        data = codec.encode(image, 90)
        at = data.index(exif.tobytes()[6:])
        start = at - 10 if data[at - 6 : at] == b"Exif\0\0" else at - 4
        item = ODD_EXIF[case].ljust(at + len(exif.tobytes()) - 6 - start, b"\0")
        odd = data[:start] + item[: at + len(exif.tobytes()) - 6 - start] + data[start + len(item) :]
        assert len(odd) == len(data)
        assert error(beholder.decompress(odd), photo) < 8, name


def test_xmp_is_left_out_with_a_note(photo: Image.Image) -> None:
    data = encoded(photo, "JPEG", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    with pytest.warns(beholder.BeholderWarning, match="XMP"):
        open_image(data)


# The files of users


def test_files_of_users(cases: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        adobe = open_image(cases / "adobergb.png")
        plain = open_image(cases / "photo.jpg")
        assert error(beholder.decompress(cases / "jxl_adobergb_lossy.jxl"), adobe) < 3.9
        assert np.abs(np.asarray(beholder.decompress(cases / "jxl_10bit.jxl"), int) - np.asarray(adobe)).mean() < 2
        turned = beholder.decompress(cases / "jxl_orientation6_exif.jxl")
        assert (turned.size, ORIENTATION in turned.getexif()) == ((300, 200), False)
        assert open_image(cases / "motion_photo.jpg").size == plain.size
        assert not said
        assert np.asarray(open_image(cases / "float_overshoot.tif")).mean() > 60
        assert open_image(cases / "png_big_compressed_text.png").size == plain.size
        assert beholder.compress(cases / "exif_unparseable.jpg", "avif")
    assert [str(one.message).rpartition(": ")[2] for one in said] == [
        "0 is taken for black and 1 for white, and what lies beyond is clipped.",
        "they are left out.",
        "EXIF data that cannot be read are left out.",
    ]
