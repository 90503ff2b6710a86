"""Where the commands' input comes from and their output goes: files, or ``-`` for the shell's streams."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.errors import BadOptionError, OutputError

if TYPE_CHECKING:
    from PIL import Image

STREAM = "-"

_PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
}
_OPAQUE = ("JPEG", "BMP", "PPM")
_LONGEST_SIDE = {"WEBP": 16_383, "JPEG": 65_500}


def read_stdin() -> bytes:
    """All bytes of standard input."""
    return sys.stdin.buffer.read()


def default_output(source: str, suffix: str) -> str:
    """``source`` with another suffix; standard output for standard input."""
    if source == STREAM:
        return STREAM
    path = Path(source)
    return str(path.parent / (path.stem + suffix))


def with_suffix(name: str, suffix: str) -> str:
    """``name`` with ``suffix`` in the place of the suffix of an image; ``-`` stays."""
    if name == STREAM:
        return STREAM
    from beholder import codecs

    known = {codecs.get(codec).suffix for codec in codecs.names()} | set(_PICTURES)
    path = Path(name)
    return str(path.with_suffix(suffix) if path.suffix.lower() in known else path.parent / (path.name + suffix))


def check_output(output: str, source: str, force: bool) -> None:
    """Refuse before any work what cannot or must not be written.

    Raises:
        OutputError: ``output`` exists (without ``force``), is the input itself, a folder, has no folder to lie in,
            or is a terminal.
    """
    if output == STREAM:
        if sys.stdout.isatty():
            raise OutputError("A terminal cannot show a compressed file: name a file with -o, or use a pipe.")
        return
    path = Path(output)
    try:
        if source != STREAM and path.exists() and path.samefile(source):
            raise OutputError(f"{output} is the input itself: name another file with -o.")
        if path.is_dir():
            raise OutputError(f"{output} is a folder: give the name of a file.")
        if path.exists():
            if not force:
                raise OutputError(f"{output} exists already: name another file with -o, or overwrite it with --force.")
        elif not path.parent.is_dir():
            raise OutputError(f"There is no folder {path.parent}: create it or choose another.")
        elif not os.access(path.parent, os.W_OK):
            raise OutputError(f"{output} cannot be written (the folder is read-only): choose another place.")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{output} cannot be written ({reason}): choose another place.") from None


def write(output: str, data: bytes, *, force: bool) -> None:
    """Write ``data`` to a file, wholly or not at all, or to standard output."""
    if output == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from beholder.files import save_atomically

    save_atomically(output, data, force=force)


def check_picture_suffix(output: str) -> None:
    """Raise BadOptionError unless we write pictures with this suffix."""
    suffix = Path(output).suffix.lower()
    if output != STREAM and suffix not in _PICTURES:
        raise BadOptionError(
            f"Pictures with the suffix {suffix or '(none)'} are not written: choose one of {', '.join(_PICTURES)}."
        )


def picture_bytes(image: Image.Image, output: str) -> bytes:
    """``image`` in the format that the suffix of ``output`` asks for (PNG for standard output).

    Transparency is composited on white where the format has none; ICC profile and EXIF data are kept where
    it has room.

    Raises:
        OutputError: the format cannot hold an image of this size.
    """
    from beholder.image import flatten

    kind, options = _PICTURES[".png" if output == STREAM else Path(output).suffix.lower()]
    limit = _LONGEST_SIDE.get(kind)
    if limit and max(image.size) > limit:
        raise OutputError(
            f"{output} cannot hold {image.width} x {image.height} pixels, since {kind} ends at {limit:,} a side: "
            "choose .png."
        )
    if kind in _OPAQUE:
        image = flatten(image)
    metadata = {key: image.info[key] for key in ("icc_profile", "exif") if image.info.get(key)}
    out = BytesIO()
    try:
        image.save(out, kind, **options, **metadata)
    except (OSError, ValueError) as error:  # such as EXIF data longer than a JPEG segment
        raise OutputError(f"{output} cannot be written ({error}): choose .png.") from None
    return out.getvalue()


def check_folder(path: Path) -> None:
    """Refuse before any work a folder for results that cannot be one."""
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is no folder: choose another.")


def make_folder(path: Path) -> None:
    """Create ``path`` with its parents; OutputError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"The folder {path} cannot be created ({reason}): choose another.") from None
