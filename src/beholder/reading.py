"""Open any picture: with Pillow, or with a codec of Beholder's where Pillow does not know the format."""

from __future__ import annotations

import contextlib
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from beholder import codecs
from beholder.errors import BadFileError, BadImageError, BeholderError, NotAvailableError
from beholder.image import MAX_PIXELS, check_size, normalise, upright

Source = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image

_HEAD = 64
# Reading EPS would start Ghostscript on a stranger's program.  beholder.pillow may have registered BHD and BPG, but the
# codecs themselves tell better what is wrong with a file.
_REFUSED_FORMATS = frozenset({"EPS", "BHD", "BPG"})


def load(path: Path | str) -> Image.Image:
    """Open the picture at ``path`` upright, in mode L, LA, RGB or RGBA.

    The size in the header is checked before any pixel is decoded.  EXIF orientation is applied and its
    tag removed.  Of an animation the first frame is taken.

    Raises:
        BadImageError: the file is missing, a folder, unreadable, no image, damaged or too large.
    """
    return open_image(path)


def open_image(source: Source) -> Image.Image:
    """Like :func:`load`, from a path, the bytes of a file, a binary file object or a Pillow image.

    Formats that Pillow does not know are tried with Beholder's own codecs.

    Raises:
        BadImageError: see :func:`load`.
    """
    if isinstance(source, Image.Image):
        return _finish(source, "The image")
    if isinstance(source, bytes):
        return _read(BytesIO(source), "The image")
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        try:
            with open(name, "rb") as file:
                return _read(file, str(name))
        except FileNotFoundError:
            raise BadImageError(f"There is no file {name}: check the path.") from None
        except IsADirectoryError:
            raise BadImageError(f"{name} is a folder: give the path of one image.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadImageError(f"{name} cannot be read ({reason}): check the path.") from None
    return _read(source, str(getattr(source, "name", "The image")))


def _read(file: IO[bytes], name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns at half of MAX_PIXELS; we have our own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.init()
            opened = Image.open(file, formats=[f for f in Image.ID if f not in _REFUSED_FORMATS])
    except Image.DecompressionBombError:
        raise BadImageError(f"{name} is above the limit of {MAX_PIXELS:,} pixels: use a smaller image.") from None
    except UnidentifiedImageError:
        return _read_with_codecs(file, name)
    except Exception as error:  # plugins raise whatever the bytes provoke
        raise _damaged(name, error) from None
    with opened:
        return _finish(opened, name)


def _finish(image: Image.Image, name: str) -> Image.Image:
    try:
        check_size(*image.size)
    except BadFileError as error:
        raise BadImageError(f"{name} cannot be used: {error}") from None
    try:
        image.load()
        return normalise(upright(image))
    except BeholderError:
        raise
    except MemoryError:
        raise BadImageError(f"{name} does not fit into memory: use a smaller image.") from None
    except Exception as error:
        raise _damaged(name, error) from None


def _read_with_codecs(file: IO[bytes], name: str) -> Image.Image:
    with contextlib.suppress(OSError, ValueError):
        file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise BadImageError(f"{name} is empty: it is not an image.")
    try:
        codec = codecs.recognise(head)
    except BadFileError:
        raise BadImageError(f"{name} is not an image in a format that can be read.") from None
    try:
        return normalise(codec.decode(head + file.read()))
    except (BadFileError, NotAvailableError) as error:
        raise BadImageError(f"{name} cannot be opened: {error}") from None


def _damaged(name: str, error: Exception) -> BadImageError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return BadImageError(f"{name} is damaged or truncated ({detail.rstrip('.')}): get a whole copy.")
