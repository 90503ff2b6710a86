"""Open any picture: with Pillow, or with a codec of Beholder's where Pillow does not know the format."""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from beholder import codecs
from beholder.codecs.opening import load_picture, scale_clear_grey, tell_frames
from beholder.errors import BadFileError, BadImageError, BeholderError, NotAvailableError
from beholder.limits import MAX_FILE_BYTES, check_size
from beholder.pictures import arrays
from beholder.pictures.arrays import ArrayLike
from beholder.pictures.bombs import PNG_SIGNATURE, TIFF_MAGICS
from beholder.pictures.modes import normalise
from beholder.pictures.tiff import is_misread, read_tiff

FileSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
"""A file: its path, its bytes, or a binary file object. A file object that can seek is read from its beginning, and
is left open at its position."""
ImageSource = FileSource | Image.Image | ArrayLike
"""A picture: an image file, a Pillow image, or an array or tensor as :mod:`beholder.pictures.arrays` takes it."""

TAKEN = "a path, bytes, a binary file object, a Pillow image, a NumPy array or a torch tensor"
TAKEN_FILE = "a path, bytes or a binary file object"

_HEAD = 64
# Reading EPS would start Ghostscript on a stranger's program.  beholder.pillow may have registered BHD and BPG, but the
# codecs themselves tell better what is wrong with a file.
_REFUSED_FORMATS = frozenset({"EPS", "BHD", "BPG"})


def load(path: Path | str) -> Image.Image:
    """Open the picture at ``path`` upright, in mode L, LA, RGB or RGBA.

    The size in the header is checked before any pixel is decoded.  EXIF orientation is applied and its
    tag removed.  Of an animation the first frame is taken, with a note.

    Raises:
        BadImageError: the file is missing, a folder, unreadable, no image, damaged or too large.
    """
    return open_image(path)


def open_image(source: ImageSource) -> Image.Image:
    """Like :func:`load`, from anything that :data:`ImageSource` names.  ``source`` is not changed.

    The result has mode L, LA, RGB or RGBA.  Arrays are (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels, see
    :func:`beholder.pictures.arrays.picture_of`.  Formats that a codec of Beholder's reads are opened by that codec,
    others by Pillow.

    Raises:
        BadImageError: see :func:`load`; or ``source`` is nothing of the kind.
    """
    if isinstance(source, Image.Image):
        return _from_pillow(source)
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
    if arrays.is_array(source):
        return arrays.picture_of(source)  # type: ignore[arg-type]
    try:
        data, name = read_source(source)  # type: ignore[arg-type]
    except BadFileError as error:
        raise BadImageError(str(error)) from None
    except TypeError:
        raise BadImageError(f"{_describe(source)} is no image: give {TAKEN}.") from None
    return _read(BytesIO(data), name)


def read_file(source: FileSource, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a compressed file, of at most ``limit``, from anything that :data:`FileSource` names.

    Raises:
        BadFileError: the file is missing, unreadable, empty or too large, or ``source`` is nothing of the kind.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        try:
            with open(name, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise BadFileError(f"There is no file {name}: check the path.") from None
        except IsADirectoryError:
            raise BadFileError(f"{name} is a folder: give the path of one compressed file.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadFileError(f"{name} cannot be read ({reason}): check the path.") from None
    else:
        try:
            data, name = read_source(source, limit)
        except TypeError:
            raise BadFileError(f"{_describe(source)} is no compressed file: give {TAKEN_FILE}.") from None
    if not data:
        raise BadFileError(f"{name} is empty: get the whole file.")
    if len(data) > limit:
        raise BadFileError(f"{name} is larger than {limit >> 20} MiB: it is no compressed image.")
    return data


def read_source(source: bytes | bytearray | memoryview | IO[bytes], limit: int = MAX_FILE_BYTES) -> tuple[bytes, str]:
    """Return the bytes of a file in memory or of a file object, at most ``limit`` + 1 of these, and a name for it.

    Raises:
        BadFileError: the file object is closed, fails, or was opened as text.
        TypeError: ``source`` is neither.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "The file"
    read: Any = getattr(source, "read", None)
    if not callable(read):
        raise TypeError(type(source).__name__)
    name = str(getattr(source, "name", "The file"))
    try:
        start = source.tell() if source.seekable() else None
    except (AttributeError, OSError, ValueError):
        start = None
    try:
        if start is not None:
            source.seek(0)
        data = read(limit + 1)
        if start is not None:
            source.seek(start)
    except Exception as error:  # a stranger's object
        raise BadFileError(f"{name} cannot be read ({error}): give an open file.") from None
    if not isinstance(data, bytes | bytearray):
        raise BadFileError(f'{name} gives text instead of bytes: open it with mode "rb".')
    return bytes(data), name


def _from_pillow(image: Image.Image) -> Image.Image:
    try:
        check_size(*image.size)
        result = normalise(_with_clear_grey(image))
        tell_frames(image, "The image")
        return result
    except BadFileError as error:
        raise BadImageError(f"The image cannot be used: {error}") from None
    except BeholderError:
        raise
    except MemoryError:
        raise BadImageError("The image does not fit into memory: use a smaller image.") from None
    except Exception as error:
        raise _damaged("The image", error) from None


def _with_clear_grey(image: Image.Image) -> Image.Image:
    """Return ``image``, or a copy with the right clear grey of a PNG file of 2 or 4 bits that is not loaded yet."""
    raw_mode = image.tile[0].args if isinstance(image, ImageFile) and image.format == "PNG" and image.tile else None
    bits = {"L;2": 2, "L;4": 4}.get(raw_mode) if isinstance(raw_mode, str) else None
    clear = image.info.get("transparency")
    if bits is None or not isinstance(clear, int):
        return image
    copy = image.copy()
    copy.format = image.format
    copy.info["transparency"] = scale_clear_grey(clear, bits)
    return copy


def _read(file: IO[bytes], name: str) -> Image.Image:
    """Open a file that is read from its beginning."""
    head = file.read(_HEAD)
    if not head:
        raise BadImageError(f"{name} is empty: it is not an image.")
    codec = None
    if not head.startswith(PNG_SIGNATURE):  # which no codec here has, and to ask all of them takes its time
        with contextlib.suppress(BadFileError):
            codec = codecs.recognise(head)
    try:
        if codec is not None:
            return codec.decode(head + file.read(MAX_FILE_BYTES))
        if not file.seekable():
            file = BytesIO(head + file.read(MAX_FILE_BYTES))
        if head.startswith(TIFF_MAGICS) and is_misread(file):
            return _read_as_tiff(file, name)
        return normalise(load_picture(file, _formats(head), name), own=True)
    except (BadFileError, NotAvailableError) as error:
        raise BadImageError(f"{name} cannot be opened: {error}") from None
    except UnidentifiedImageError:
        if head.startswith(TIFF_MAGICS):
            return _read_as_tiff(file, name)
        raise BadImageError(f"{name} is not an image in a format that can be read.") from None
    except BeholderError:
        raise
    except MemoryError:
        raise BadImageError(f"{name} does not fit into memory: use a smaller image.") from None
    except Exception as error:  # plugins raise whatever the bytes provoke
        raise _damaged(name, error) from None


def _formats(head: bytes) -> list[str]:
    """Pillow's names of the formats that a file with these first bytes may have."""
    if head.startswith(PNG_SIGNATURE):
        return ["PNG"]
    Image.init()
    return [format for format in Image.ID if format not in _REFUSED_FORMATS]


def _read_as_tiff(file: IO[bytes], name: str) -> Image.Image:
    file.seek(0)
    try:
        return normalise(read_tiff(file.read(MAX_FILE_BYTES), name), own=True)
    except (BadFileError, NotAvailableError) as error:
        raise BadImageError(f"{name} cannot be opened: {error}") from None


def _describe(source: object) -> str:
    return "None" if source is None else f"An object of type {type(source).__name__}"


def _damaged(name: str, error: Exception) -> BadImageError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return BadImageError(f"{name} is damaged or truncated ({detail.rstrip('.')}): get a whole copy.")
