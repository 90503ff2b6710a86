"""TIFF files with samples that Pillow does not know, such as floating point in colour, through imagecodecs."""

from __future__ import annotations

import importlib.util
import warnings
from io import BytesIO
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from beholder.errors import BadFileError, NotAvailableError, note
from beholder.extras import install_command
from beholder.limits import check_claim
from beholder.pictures.arrays import to_8_bits
from beholder.pictures.bombs import check

_BITS, _PLANAR, _SEPARATE = 258, 284, 2
_WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _PROFILE = 256, 257, 262, 277, 34675
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSPECIFIED, _PREMULTIPLIED = 0, 1
_SIGNED = 2
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_tiff(data: bytes, name: str) -> Image.Image:
    """Return the first page of a TIFF file in mode L, LA, RGB or RGBA, with its profile and orientation in ``info``.

    Args:
        data: a file that begins with one of :data:`beholder.pictures.bombs.TIFF_MAGICS`.
        name: the beginning of the sentences that tell what was guessed.

    Raises:
        BadFileError: the file is damaged, too large, or neither grey nor RGB.
        NotAvailableError: imagecodecs is not installed.
    """
    tags = _read_tags(data)
    width, height, samples = (
        int(tags.get(tag, default)) for tag, default in ((_WIDTH, 0), (_HEIGHT, 0), (_SAMPLES, 1))
    )
    check_claim(width, height, len(data))
    if tags.get(_PHOTOMETRIC) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or samples not in _MODES:
        raise BadFileError("The tiff file is neither grey nor RGB: convert it first.")
    if importlib.util.find_spec("imagecodecs") is None:
        raise NotAvailableError(f"TIFF files of this kind need the package imagecodecs: {install_command('jxl')}.")
    import imagecodecs

    try:
        values = np.asarray(imagecodecs.tiff_decode(data, index=0))
    except Exception as error:  # libtiff's failures have a type of their own
        raise BadFileError(f"The tiff file is damaged, or of a kind that cannot be read ({error}).") from None
    if values.shape == (samples, height, width):  # one plane behind the other
        values = np.moveaxis(values, 0, 2)
    if values.size != width * height * samples or values.dtype.kind not in "buif":
        raise BadFileError(
            f"The tiff file holds samples of shape {values.shape} and type {values.dtype}: convert it first."
        )
    bits = tags.get(_BITS, (1,))[0]
    white = float((1 << bits) - 1) if values.dtype.kind == "u" and bits <= 16 else None
    pixels = to_8_bits(values.reshape(height, width, samples), name, white)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels[..., 0] = 255 - pixels[..., 0]
    mode = _MODES[samples]
    extra = tags.get(_EXTRA_SAMPLES, (None,))[0] if mode.endswith("A") else None
    if extra == _UNSPECIFIED:  # anything but opacity
        mode, pixels = mode[:-1], pixels[..., :-1]
    elif extra == _PREMULTIPLIED:
        mode = mode[:-1] + "a"
    image = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).data)
    if isinstance(profile := tags.get(_PROFILE), bytes):
        image.info["icc_profile"] = profile
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = tags.get(ExifTags.Base.Orientation, 1)
    image.info["exif"] = exif.tobytes()
    if len(tags) and tags.next:
        note(f"{name} holds more than one picture or page: only the first is used.")
    return image


def is_misread(file: IO[bytes]) -> bool:
    """Whether Pillow would open a TIFF file and scramble it.

    It does so where samples have more than 8 bits and lie one plane behind the other, and it takes 8 bits with a sign
    for 8 without.

    Raises:
        BadFileError: it is none that a reader should be given.
    """
    check(file)
    try:
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = Image.open(file, formats=("TIFF",)).tag_v2  # type: ignore[attr-defined]
        signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED and max(tags[_BITS]) == 8
        return signed or (tags.get(_PLANAR) == _SEPARATE and len(tags[_BITS]) > 1 and max(tags[_BITS]) > 8)
    except Exception:  # it will be said by whoever opens the file
        return False


def _read_tags(data: bytes) -> Any:
    header = data[: 16 if data[2:3] == b"+" or data[3:4] == b"+" else 8]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # data that end early are read as far as they go
            # Pillow knows BigTIFF by its third byte, which is its fourth in the other byte order.
            known = header if header[3:4] != b"+" else b"II+\0" + header[4:]
            directory = TiffImagePlugin.ImageFileDirectory_v2(known, header[:2])
            file = BytesIO(data)
            file.seek(directory.next)
            directory.load(file)
    except Exception as error:  # Pillow's parser raises whatever the bytes provoke
        raise BadFileError(f"The tiff file is damaged ({error}): get a whole copy.") from None
    return directory
