"""Pillow's plugins, opened within our own limit of pixels and in spite of metadata that they stumble over."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import IO

from PIL import Image, UnidentifiedImageError

from beholder.errors import BadFileError, note
from beholder.limits import check_size, max_pixels
from beholder.pictures.bombs import PNG_SIGNATURE, check, check_opened
from beholder.pictures.named_colours import CODES

_PLUGINS = {"AVIF": "AvifImagePlugin", "JPEG2000": "Jpeg2KImagePlugin", "WEBP": "WebPImagePlugin"}
"""Plugins of Pillow's that :func:`PIL.Image.preinit` leaves out, by format."""
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_METADATA = _PNG_TEXTS | {b"eXIf", b"iCCP", b"sPLT", b"tIME"}

_SUBFILE, _COLOUR_MAP, _SUB_IFDS = 254, 320, 330
_REDUCED = 1
_pillows_limit = threading.Lock()


def register(formats: Sequence[str]) -> None:
    """Import Pillow's plugins for ``formats``, and all others only if one of these has no known place."""
    for plugin in {_PLUGINS[format] for format in formats if format in _PLUGINS}:
        with contextlib.suppress(ImportError):
            import_module(f"PIL.{plugin}")
    Image.preinit()
    if not all(format in Image.OPEN for format in formats):
        Image.init()


def load_picture(file: IO[bytes], formats: Sequence[str], name: str) -> Image.Image:
    """Open and load the first frame of ``file``, which can seek, with one of Pillow's plugins, in any mode.

    Args:
        file: a whole file.
        formats: Pillow's names of those that may be tried.
        name: the beginning of the sentences that tell what is left out.

    Raises:
        BadFileError: the picture has too many pixels.
        UnidentifiedImageError: no plugin knows the file.
        Exception: plugins raise whatever the bytes provoke.
    """
    try:
        return _load(file, formats, name)
    except BadFileError:
        raise
    except Exception:
        file.seek(0)
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            raise
        data = PNG_SIGNATURE + file.read()
        for left_out, what in ((_PNG_TEXTS, "texts"), (_PNG_METADATA, "metadata and colour profile")):
            repaired = _without_chunks(data, left_out)
            if repaired == data:
                continue
            try:
                image = _load(BytesIO(repaired), formats, name)
            except Exception:
                continue
            note(f"{name} has {what} that cannot be read: they are left out.")
            return image
        raise


def damaged(name: str, error: Exception) -> BadFileError:
    """Return the sentence for a file that a foreign decoder gave up on."""
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # whose text names an object in memory
        detail = "its header cannot be read"
    return BadFileError(f"The {name} file is damaged or truncated ({detail}).")


def tell_frames(image: Image.Image, name: str) -> None:
    """Note that only one of the pictures in an opened file, of any mode, is used."""
    # The first picture of a Photoshop file is all its layers together.
    if image.format != "PSD" and getattr(image, "is_animated", False):
        which = "the current one" if image.tell() else "the first"
        note(f"{name} holds more than one picture or page: only {which} is used.")
    if image.format in ("ICO", "ICNS") and len(image.info.get("sizes", ())) > 1:
        note(f"{name} holds more than one picture or page: only the largest is used.")


def _load(file: IO[bytes], formats: Sequence[str], name: str) -> Image.Image:
    try:
        return _open(file, formats, name)
    except Image.DecompressionBombError as error:
        # Pillow's limit is one number for the whole process.  Where ours is higher, it is lifted while we look.
        if Image.MAX_IMAGE_PIXELS is None or max_pixels() <= 2 * Image.MAX_IMAGE_PIXELS:
            raise BadFileError(
                f"The picture is above the limit of {max_pixels():,} pixels ({error}): use a smaller one."
            ) from None
        with _pillows_limit:
            theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return _open(file, formats, name)
            finally:
                Image.MAX_IMAGE_PIXELS = theirs


def _open(file: IO[bytes], formats: Sequence[str], name: str) -> Image.Image:
    register(formats)
    check(file)
    file.seek(0)
    with warnings.catch_warnings():
        # Pillow's are for programmers; what is worth saying is noted after the block.
        warnings.simplefilter("ignore")
        image = Image.open(file, formats=list(formats))
        check_opened(file, image.size)
        image.load()
        check_size(*image.size)
    tell_frames(image, name)
    if image.format == "PNG":
        _read_png_colours(file, image, name)
    elif image.format == "BMP":
        _read_bmp_profile(file, image)
    elif image.format == "TIFF":
        _read_tiff_tags(image, name)
    elif image.format in ("JPEG", "MPO"):
        segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
        if not image.info.get("icc_profile") and any(body.startswith(b"ICC_PROFILE\0") for _, body in segments):
            note(f"{name} has a colour profile of which a part is missing: colours are taken for sRGB.")
    return image


def _read_png_colours(file: IO[bytes], image: Image.Image, name: str) -> None:
    """Add the codes of cICP to ``info`` and scale a clear grey; note what Pillow drops or rounds without a word."""
    file.seek(len(PNG_SIGNATURE))
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        size = int.from_bytes(head[:4], "big")
        start = file.tell()
        if head[4:] == b"iCCP" and not image.info.get("icc_profile"):
            note(f"{name} has a colour profile that cannot be read: colours are taken for sRGB.")
        elif head[4:] == b"cICP" and len(codes := file.read(2)) == 2:
            image.info[CODES] = (codes[0], codes[1])
        elif head[4:] == b"IHDR":
            clear, bits = image.info.get("transparency"), file.read(9)[8]
            if isinstance(clear, int) and image.mode == "L" and bits < 8:
                image.info["transparency"] = scale_clear_grey(clear, bits)
            elif isinstance(clear, tuple) and bits == 16:
                note(f"{name} names a clear colour in 16 bits a sample: it is looked for in 8.")
        file.seek(start + size + 4)


def scale_clear_grey(clear: int, bits: int) -> int:
    """Return a PNG file's clear grey of 2 or 4 bits in the 8 bits to which Pillow scales the pixels alone."""
    return clear * 255 // ((1 << bits) - 1)


def _read_bmp_profile(file: IO[bytes], image: Image.Image) -> None:
    """Add the profile that a BITMAPV5HEADER embeds, of which Pillow does not know."""
    file.seek(14)
    header = file.read(124)
    if len(header) == 124 == int.from_bytes(header[:4], "little") and header[56:60] == b"DEBM":
        start, size = (int.from_bytes(header[at : at + 4], "little") for at in (112, 116))
        file.seek(14 + start)
        image.info["icc_profile"] = file.read(min(size, 1 << 24))


def _read_tiff_tags(image: Image.Image, name: str) -> None:
    """Repair a palette that a program wrote in 8 bits instead of 16; note a preview of a raw photograph."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    palette = tags.get(_COLOUR_MAP, ())
    if image.mode == "P" and 0 < max(palette, default=0) < 256:
        image.putpalette(bytes(palette), "RGB;L")
        note(f"{name} has a palette of values up to {max(palette)} of 65,535: they are taken for samples of 8 bits.")
    if tags.get(_SUBFILE, 0) & _REDUCED and _SUB_IFDS in tags:
        note(
            f"{name} begins with a small preview, which alone is used: convert raw photographs to another format first."
        )


def _without_chunks(data: bytes, left_out: frozenset[bytes]) -> bytes:
    """Return a PNG file without some kinds of chunks; what does not look like chunks stays as it is."""
    parts, position = [data[: len(PNG_SIGNATURE)]], len(PNG_SIGNATURE)
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in left_out:
            parts.append(data[position:end])
        position = end
    parts.append(data[position:])
    return b"".join(parts)
