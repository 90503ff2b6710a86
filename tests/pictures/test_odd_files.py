"""Files of rare kinds, each made so that the right pixels are known; Pillow misreads many of them without a word."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import beholder
from beholder.errors import BadImageError, BeholderWarning
from beholder.pictures.colour import to_srgb
from beholder.pictures.named_colours import make_profile
from beholder.reading import open_image

P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# sRGB with the primaries red and blue exchanged in its table of tags.
SWAPPED = SRGB.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
JXL_HEAD = b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl "
USUAL, LINEAR = (b"gAMA", struct.pack(">I", 45_455)), (b"gAMA", struct.pack(">I", 100_000))
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = range(4)


def pack(samples: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """(H, N) samples of so many bits, packed high bit first, each row from a whole byte on: (H, bytes)."""
    each = np.unpackbits(samples.astype(">u2").view(np.uint8).reshape(len(samples), -1, 2), axis=2)
    return np.packbits(each[..., 16 - bits :].reshape(len(samples), -1), axis=1)


def tiff(
    rows: NDArray[np.generic],
    photometric: int,
    width: int,
    *,
    bits: int,
    samples: int = 1,
    order: str = "<",
    **more: object,
) -> bytes:
    """A TIFF file of packed rows (H, ...), with further tags by number as t338=[1]; ``big`` makes it a BigTIFF."""
    big = bool(more.pop("big", False))
    number, room, start = ("Q", 8, 16) if big else ("I", 4, 8)
    data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    tags: dict[int, tuple[str, list[int] | bytes]] = {
        256: ("I", [width]),
        257: ("I", [len(rows)]),
        258: ("H", [bits] * samples),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: (number, [start]),
        277: ("H", [samples]),
        278: ("I", [len(rows)]),
        279: (number, [len(data)]),
    }
    tags |= {int(name[1:]): ("H", value) for name, value in more.items()}  # type: ignore[misc]
    entries, extra, end = b"", b"", start + len(data)
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = numbers if isinstance(numbers, bytes) else struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(packed) > room:
            place = struct.pack(order + number, end + len(extra))
            extra += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(room, b"\0")
        entries += struct.pack(order + "HH" + number, tag, {"H": 3, "I": 4, "Q": 16}[kind], len(numbers)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    directory = struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(room)
    return head + struct.pack(order + number, end + len(extra)) + data + extra + directory


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: NDArray[np.generic], width: int, bits: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of packed rows, with chunks behind its header."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def in_colours(photo: Image.Image, corners: tuple[float, ...], exponent: float) -> Image.Image:
    """The samples that show ``photo`` in other colours, by way of LittleCMS."""
    profile = ImageCms.ImageCmsProfile(BytesIO(make_profile(corners, exponent)))
    found = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), profile)
    assert found is not None
    return found


def grey_of(photo: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(photo.convert("L"))


def error(source: bytes, wanted: NDArray[np.generic] | Image.Image) -> float:
    """Mean error of an opened file, in sRGB."""
    shown = np.asarray(to_srgb(open_image(source)), float)
    assert shown.shape == np.asarray(wanted).shape
    return float(np.abs(shown - np.asarray(wanted, float)).mean())


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB])
def test_tiff_of_packed_samples(photo: Image.Image, bits: int, photometric: int) -> None:
    pytest.importorskip("imagecodecs")
    shape = 3 if photometric == RGB else 1
    pixels = np.asarray(photo if photometric == RGB else photo.convert("L"), int)
    samples = np.rint(pixels / 255 * (2**bits - 1)).astype(int)
    rows = pack(samples.reshape(len(samples), -1), bits)
    data = tiff(rows, photometric, photo.width, bits=bits, samples=shape, order=">")
    wanted = samples * 255 / (2**bits - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert error(data, 255 - wanted if photometric == WHITE_IS_ZERO else wanted) < 0.6


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_in_both_byte_orders_and_sizes(photo: Image.Image, kind: str, order: str, big: bool) -> None:
    pytest.importorskip("imagecodecs")
    samples = np.asarray(photo) * np.float64({"u1": 1, "u2": 257, "f4": 1 / 255}[kind])
    number = np.dtype(kind)
    more = {"t339": [3] * 3} if kind == "f4" else {}
    data = tiff(
        samples.astype(number), RGB, photo.width, bits=8 * number.itemsize, samples=3, order=order, big=big, **more
    )
    assert error(data, photo) < 0.1


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("meaning", [0, 1, 2])
def test_the_fourth_sample_of_tiff(photo: Image.Image, kind: str, meaning: int) -> None:
    """0 is anything but opacity, 1 is opacity by which colours are multiplied already, 2 is opacity."""
    pytest.importorskip("imagecodecs")
    opacity = np.asarray(Image.linear_gradient("L").resize(photo.size), float)[..., None] / 255
    colours = np.asarray(photo, float) / 255
    stored = np.concatenate([colours * (opacity if meaning == 1 else 1), opacity], 2)
    scale, number = {"u1": 255, "u2": 65_535, "f4": 1}[kind], np.dtype(kind)
    samples = np.rint(stored * scale) if kind != "f4" else stored
    more = {"t338": [meaning], "t339": [3 if kind == "f4" else 1] * 4}
    data = tiff(samples.astype(number), RGB, photo.width, bits=8 * number.itemsize, samples=4, **more)
    opened = open_image(data)
    assert opened.mode == ("RGBA" if meaning else "RGB")
    found = np.asarray(opened, float)
    visible = opacity[..., 0] > 0.5  # multiplied colours lose precision where little is seen
    assert np.abs(found[..., :3][visible] - 255 * colours[visible]).max() <= 2
    if meaning:
        assert np.abs(found[..., 3:] - 255 * opacity).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_signed_samples_of_tiff_are_a_guess_that_is_told(photo: Image.Image, bits: int, samples: int) -> None:
    pytest.importorskip("imagecodecs")
    most = 2 ** (bits - 1) - 1
    pixels = np.asarray(photo if samples == 3 else photo.convert("L"), float)
    signed = np.rint(pixels / 255 * most).astype(f"i{bits // 8}")
    data = tiff(
        signed, RGB if samples == 3 else BLACK_IS_ZERO, photo.width, bits=bits, samples=samples, t339=[2] * samples
    )
    with pytest.warns(BeholderWarning, match=f"0 is taken for black and {most:,} for white"):
        assert error(data, pixels) < 1.1


def test_a_palette_of_8_bits_where_16_belong(photo: Image.Image) -> None:
    few = photo.quantize(256)
    colours = np.zeros((256, 3), int)
    listed = np.array(few.getpalette()).reshape(-1, 3)
    colours[: len(listed)] = listed
    wanted = colours[np.asarray(few)]
    right = tiff(np.asarray(few), PALETTE, photo.width, bits=8, t320=(257 * colours.T).ravel().tolist())
    wrong = tiff(np.asarray(few), PALETTE, photo.width, bits=8, t320=colours.T.ravel().tolist())
    assert error(right, wanted) == 0
    with pytest.warns(BeholderWarning, match="palette of values up to"):
        assert error(wrong, wanted) == 0


def test_a_preview_before_a_raw_photograph_is_told(photo: Image.Image) -> None:
    """Raw photographs (DNG, NEF, ARW) are TIFF files whose first picture is a small preview."""
    raw = tiff(np.asarray(photo), RGB, photo.width, bits=8, samples=3, t254=[1], t330=[8])
    with pytest.warns(BeholderWarning, match="begins with a small preview"):
        open_image(raw)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_clear_grey_of_png(photo: Image.Image, bits: int) -> None:
    most = 2**bits - 1
    grey = np.rint(grey_of(photo) / 255 * most).astype(int)
    clear = int(np.median(grey))
    data = png(pack(grey, bits), photo.width, bits, 0, (b"tRNS", struct.pack(">H", clear)))
    sources: list[bytes | Image.Image] = [data]
    with Image.open(BytesIO(data)) as opened:
        if bits > 1:  # Pillow's own pictures, before their samples are read
            sources.append(opened)
        for source in sources:
            found = np.asarray(open_image(source))
            assert np.array_equal(found[..., 1] == 0, grey == clear)
            assert np.abs(found[..., 0] - grey * 255 / most).max() <= 1


def test_a_clear_colour_of_16_bits_is_told(photo: Image.Image) -> None:
    deep = (np.asarray(photo).astype(int) * 257).astype(">u2")
    with pytest.warns(BeholderWarning, match="clear colour in 16 bits"):
        open_image(png(deep, photo.width, 16, 2, (b"tRNS", struct.pack(">HHH", *deep[5, 5]))))


def cicp(*codes: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes([*codes, 0, 1])


def chrm(corners: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in corners[6:] + corners[:6]))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_that_png_names(photo: Image.Image, mode: str) -> None:
    profile = (b"iCCP", b"x\0\0" + zlib.compress(SWAPPED))
    for corners, exponent, chunks in (
        (P3, 0.0, [cicp(12, 13)]),
        (P3, 1.0, [cicp(12, 8)]),
        (P3, 0.0, [cicp(12, 13), profile]),  # the codes go first
        (ADOBE, 2.2, [USUAL, chrm(ADOBE)]),
        (P3, 1.0, [LINEAR, chrm(P3)]),
    ):
        stored = in_colours(photo, corners, exponent).convert(mode)
        rows = np.asarray(stored).reshape(photo.height, -1)
        data = png(rows, photo.width, 8, 2 if mode == "RGB" else 6, *chunks)
        assert error(data, photo.convert(mode)) < (3 if exponent == 1 else 1.1), chunks


def test_colours_that_are_srgb_in_other_words(photo: Image.Image) -> None:
    srgb = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.329)
    for chunks in (
        [cicp(1, 13)],
        [cicp(2, 2)],
        [USUAL, chrm(srgb)],
        [USUAL, (b"cHRM", bytes(32))],
        [(b"sRGB", b"\0"), LINEAR, chrm(ADOBE)],
        [(b"gAMA", bytes(4))],
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opened = open_image(png(np.asarray(photo).reshape(photo.height, -1), photo.width, 8, 2, *chunks))
        assert opened.tobytes() == photo.tobytes()
        assert "icc_profile" not in opened.info


def test_colours_that_avif_names(photo: Image.Image) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    stored = np.asarray(in_colours(photo, P3, 0.0))
    options = {"level": 100, "pixelformat": "444"}
    assert error(bytes(imagecodecs.avif_encode(stored, primaries=12, transfer=13, matrix=6, **options)), photo) < 1.1
    plain = bytes(imagecodecs.avif_encode(np.asarray(photo), primaries=1, transfer=1, matrix=1, **options))
    assert "icc_profile" not in open_image(plain).info
    hdr = bytes(imagecodecs.avif_encode(np.asarray(photo), primaries=9, transfer=16, matrix=9, **options))
    with pytest.warns(BeholderWarning, match="primaries 9, transfer 16"):
        open_image(hdr)
    for cut in range(0, 300, 7):  # damaged boxes say nothing, or Pillow refuses them
        damaged = plain[:cut] + b"\xff" + plain[cut + 1 :]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(BadImageError):
                assert open_image(damaged).size


def test_colours_that_heic_names(photo: Image.Image) -> None:
    heif = pytest.importorskip("pillow_heif")
    stored, out = in_colours(photo, P3, 0.0), BytesIO()
    options = {"quality": -1, "chroma": 444, "color_primaries": 12}
    heif.encode("RGB", photo.size, stored.tobytes(), out, transfer_characteristics=13, **options)
    assert error(out.getvalue(), photo) < 1.1
    hdr = BytesIO()
    heif.encode("RGB", photo.size, stored.tobytes(), hdr, transfer_characteristics=16, **options)
    with pytest.warns(BeholderWarning, match="transfer 16"):
        open_image(hdr.getvalue())


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def test_boxes_around_jpeg_xl(photo: Image.Image) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pyjpegxl")
    stream = bytes(imagecodecs.jpegxl_encode(np.asarray(photo), lossless=True))
    parts = [stream[:3], stream[3:9], stream[9:]]
    numbers = [0, 1, 0x8000_0002]
    for data in (
        stream + b"garbage" * 9,
        JXL_HEAD + box(b"jxlc", stream) + b"garbage~" * 9,
        JXL_HEAD + b"".join(box(b"jxlp", struct.pack(">I", n) + part) for n, part in zip(numbers, parts, strict=True)),
        JXL_HEAD + struct.pack(">I", 0) + b"jxlc" + stream,
    ):
        assert open_image(data).tobytes() == photo.tobytes()
    with pytest.raises(BadImageError, match="a box is longer"):
        open_image(JXL_HEAD + b"garbage~" * 9)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_white_of_deep_jpeg_2000_stays_white(mode: str, bits: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    ramp = np.tile(np.linspace(0, 2**bits - 1, 64).round().astype(np.uint16), (48, 1))
    samples = ramp if mode == "L" else np.stack([ramp] * len(mode), -1)
    options = {"bitspersample": bits, "codecformat": "jp2", "level": 0, "reversible": True, "mct": False}
    opened = open_image(bytes(imagecodecs.jpeg2k_encode(samples, **options)))
    assert opened.mode == mode
    assert np.abs(np.asarray(opened) - samples * (255 / (2**bits - 1))).max() <= 1


def test_xmp_and_iptc_of_any_format_are_told(photo: Image.Image) -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    jpeg = encoded(photo, "JPEG")
    resource = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 10) + b"\x1c\x02\x05\0\x05Title"
    iptc = jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(resource) + 2) + resource + jpeg[2:]
    jp2 = encoded(photo, "JPEG2000")
    start = jp2.index(b"jp2c") - 4
    sources = {
        "IPTC": [iptc],
        "XMP": [
            *(encoded(photo, kind, xmp=packet) for kind in ("JPEG", "WEBP", "AVIF")),
            jp2[:start] + box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet) + jp2[start:],
        ],
    }
    if beholder.codecs.get("jxl").unavailable() is None:
        sources["XMP"].append(JXL_HEAD + box(b"xml ", packet) + box(b"jxlc", beholder.compress(photo, "jxl")))
    for name, files in sources.items():
        for data in files:
            with pytest.warns(BeholderWarning, match=f"{name} metadata are left out"):
                open_image(data)


def test_a_profile_of_which_a_part_is_missing_is_told(photo: Image.Image) -> None:
    jpeg = encoded(photo, "JPEG")
    segment = b"ICC_PROFILE\0\x01\x02" + SWAPPED[:200]
    broken = jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    with pytest.warns(BeholderWarning, match="profile of which a part is missing"):
        assert open_image(broken).tobytes() == open_image(jpeg).tobytes()


def test_the_profile_in_a_bmp_file(photo: Image.Image) -> None:
    width, height = photo.size
    pixels = np.asarray(photo)[::-1].tobytes()  # blue and red lie exchanged there, as in the profile
    fields = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    header = fields + bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 0, 124 + len(pixels), len(SWAPPED), 0)
    whole = 14 + len(header) + len(pixels) + len(SWAPPED)
    data = b"BM" + struct.pack("<IHHI", whole, 0, 0, 14 + len(header)) + header + pixels + SWAPPED
    assert error(data, photo) < 0.6


@pytest.mark.parametrize("kind", ["ICO", "ICNS"])
def test_the_largest_of_several_icons_is_used(photo: Image.Image, kind: str) -> None:
    square = photo.resize((128, 128))
    data = encoded(square, kind)
    with pytest.warns(BeholderWarning, match="only the largest is used"):
        assert open_image(data).width >= 128


def test_exif_data_with_their_prefix_twice(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    content = encoded(photo, "PNG")
    data = content[:33] + chunk(b"eXIf", exif.tobytes()) + content[33:]
    opened = open_image(data)
    assert opened.size == (photo.height, photo.width)
    assert dict(opened.getexif()) == {0x010F: "Maker"}


def test_words_for_files_that_cannot_be_read(photo: Image.Image) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = bytes(imagecodecs.jpeg8_encode(grey_of(photo).astype(np.uint16) * 16, bitspersample=12))
    with pytest.raises(BadImageError, match="has 12 bits a sample"):
        open_image(deep)
    avif = encoded(photo, "AVIF")
    with pytest.raises(BadImageError, match=r"truncated \(its header cannot be read\)"):
        open_image(avif[:-300])
