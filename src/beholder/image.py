"""Images in and files out: open any picture Pillow reads, upright, in one of four 8-bit modes.

Everything past this module sees only ``L``, ``LA``, ``RGB`` and ``RGBA``, 8 bits a sample, with at most
two entries in ``image.info``: ``icc_profile`` and ``exif`` (bytes).  :func:`normalise` maps

========================  ======  ===================================================================
Pillow mode               result  how
========================  ======  ===================================================================
``1``                     L       0 and 255
``L``                     L       as it is; LA if the file names a transparent grey (PNG ``tRNS``)
``LA``, ``La``            LA      ``La`` (premultiplied) is divided by its alpha
``P``                     RGB     through its palette; RGBA if the palette or file has transparency
``PA``                    RGBA    through its palette
``RGB``                   RGB     as it is; RGBA if the file names a transparent colour
``RGBA``, ``RGBa``        RGBA    ``RGBa`` (premultiplied) is divided by its alpha
``RGBX``                  RGB     the fourth byte is padding and is dropped
``CMYK``                  RGB     through its ICC profile to sRGB where it has one, else Pillow's plain
                                  ``255 - min(255, ink + black)``; the CMYK profile is dropped
``YCbCr``, ``HSV``        RGB     Pillow's conversion
``LAB``                   RGB     CIE L*a*b* (D50) to sRGB with LittleCMS
``I;16`` and variants     L       0..65535 divided by 257, rounded; LA with a transparent grey
``I``, ``F``              L       by the largest value: up to 255 as it is (``F`` up to 1.0: times 255),
                                  above it as 16 bits, divided by 257; rounded, clipped to 0..255, NaN = 0
========================  ======  ===================================================================
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import warnings
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from beholder.errors import BadFileError, BadImageError, BeholderError, NotAvailableError, OutputError

MODES = frozenset({"L", "LA", "RGB", "RGBA"})
"""The modes that every other module has to deal with."""
MAX_PIXELS = 178_956_970
"""Largest width x height we open or decode (512 MiB as RGB; also where Pillow refuses)."""

Source = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image

_KEPT_INFO = ("icc_profile", "exif")
_ORIENTATION_TAG = 0x0112
_HEAD = 64
# Reading EPS would start Ghostscript on a stranger's program.  beholder.pillow may have registered BHD and BPG, but the
# codecs themselves tell better what is wrong with a file.
_REFUSED_FORMATS = frozenset({"EPS", "BHD", "BPG"})
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


def normalise(image: Image.Image) -> Image.Image:
    """Return ``image`` in mode L, LA, RGB or RGBA by the table of this module, as a new image.

    ``info`` keeps only ``icc_profile`` (unless the colours were converted with it) and ``exif``.
    Pixels are not turned: see :func:`upright`.

    Raises:
        BadImageError: the mode is unknown.
    """
    mode = image.mode
    keep: tuple[str, ...] = _KEPT_INFO
    if mode.startswith("I;16") or mode in ("I", "F"):
        result = _deep_grey(image)
    elif mode == "CMYK":
        keep = ("exif",)
        result = _cmyk_to_rgb(image)
    elif mode == "LAB":
        keep = ("exif",)
        result = _colour_convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    else:
        target = _target_mode(image)
        result = image.copy() if target == mode else _convert(image, target)
    result.info = {key: image.info[key] for key in keep if isinstance(image.info.get(key), bytes)}
    return result


def upright(image: Image.Image) -> Image.Image:
    """Turn and mirror ``image`` as its EXIF orientation says and remove that tag from ``info["exif"]``.

    EXIF data that cannot be parsed is dropped.
    """
    try:
        exif = image.getexif()
        if _ORIENTATION_TAG not in exif:
            return image
        transpose = _UPRIGHT.get(exif[_ORIENTATION_TAG])
        del exif[_ORIENTATION_TAG]
        remaining = exif.tobytes() if len(exif) and "exif" in image.info else None
    except Exception:  # Pillow's parser raises whatever the bytes provoke
        transpose = remaining = None
    result = image.copy() if transpose is None else image.transpose(transpose)
    result.info = {key: value for key, value in image.info.items() if key != "exif"}
    if remaining is not None:
        result.info["exif"] = remaining
    return result


def flatten(image: Image.Image) -> Image.Image:
    """Return ``image`` without transparency: LA and RGBA are composited on white to L and RGB.

    L and RGB come back as they are; any other mode is :func:`normalise`-d first.
    """
    if image.mode not in MODES:
        image = normalise(image)
    if image.mode in ("L", "RGB"):
        return image
    opaque = image.mode[:-1]
    result = Image.new(opaque, image.size, "white")
    result.paste(_convert(image, opaque), mask=image.getchannel("A"))
    result.info = dict(image.info)
    return result


def check_size(width: int, height: int) -> None:
    """Raise BadFileError unless 1 <= width x height <= MAX_PIXELS with both sides positive."""
    if width < 1 or height < 1:
        raise BadFileError(f"The file claims an image of {width} x {height} pixels: it is damaged.")
    if width * height > MAX_PIXELS:
        raise BadFileError(
            f"An image of {width} x {height} pixels is above the limit of {MAX_PIXELS:,} pixels: use a smaller one."
        )


def save_atomically(path: Path | str, data: bytes, *, force: bool = True) -> None:
    """Write ``data`` to ``path`` so that the file is either whole or untouched.

    The bytes go to a temporary name in the same folder, which is then renamed.  An existing file keeps
    its permissions, a symbolic link stays one.  Devices and pipes are written directly.

    Raises:
        OutputError: the folder is missing or not writable, ``path`` is a folder, the disk is full, or
            ``path`` exists and ``force`` is false.
    """
    shown = path
    try:
        path = Path(os.path.realpath(path))
        if path.is_dir():
            raise OutputError(f"{shown} is a folder: give the name of a file.")
        if path.exists():
            if not path.is_file():
                path.write_bytes(data)
                return
            if not force:
                raise OutputError(f"{shown} exists already: choose another name or allow overwriting.")
        elif not path.parent.is_dir():
            raise OutputError(f"There is no folder {Path(shown).parent}: create it or choose another.")
        _replace(path, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{shown} cannot be written ({reason}): choose another place.") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".beholder-{secrets.token_hex(8)}.tmp")
    try:
        # Not tempfile: it would leave mode 0600 instead of what the user's umask asks for.
        with open(temporary, "xb") as file:
            file.write(data)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    from beholder import codecs

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


def _target_mode(image: Image.Image) -> str:
    mode = image.mode
    if mode in ("1", "L"):
        return "LA" if "transparency" in image.info else "L"
    if mode in ("LA", "La"):
        return "LA"
    if mode in ("P", "RGB"):
        return "RGBA" if image.has_transparency_data else "RGB"
    if mode in ("PA", "RGBA", "RGBa"):
        return "RGBA"
    if mode in ("RGBX", "YCbCr", "HSV"):
        return "RGB"
    raise BadImageError(f"Pillow mode {mode} is unknown: convert the image to RGB first.")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    return image.convert("RGBA").convert(mode) if image.mode == "PA" else image.convert(mode)


def _deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        scale = 1 / 257
    else:
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=65535.0, neginf=0.0)
        largest = values.max(initial=0.0)
        scale = 1 / 257 if largest > 255 else 255.0 if image.mode == "F" and largest <= 1 else 1.0
    grey = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16") and isinstance(transparent, int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([grey, alpha], axis=-1), "LA")
    return Image.fromarray(grey, "L")


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return _colour_convert(image, ImageCms.ImageCmsProfile(BytesIO(profile)))
    return image.convert("RGB")


def _colour_convert(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if result is None:
        raise ImageCms.PyCMSError("LittleCMS returned no image")
    return result
