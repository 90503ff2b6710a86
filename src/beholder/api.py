"""The functions of the public API: compress, compress_to_target, decompress, evaluate."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder import codecs, observers
from beholder.codecs.base import Codec, check_alpha
from beholder.errors import BadFileError, BadImageError, BadOptionError, TargetMissedWarning
from beholder.evaluation import one_image
from beholder.evaluation.one_image import Evaluation
from beholder.observers import Observer
from beholder.reading import open_image
from beholder.targets.choose import AUTO, Choice, available, choose
from beholder.targets.kinds import Target
from beholder.targets.search import Found

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of an image file, a Pillow image of any mode, or uint8 of shape (H, W[, 1 to 4])."""

MAX_FILE_BYTES = 1 << 30
"""Largest compressed file we read."""


def compress(
    image: ImageSource,
    compression: str = "rnn",
    alpha: float = 0.0,
    quality: int | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    effort: int = 0,
    target: Target | None = None,
) -> bytes:
    """Compress an image to the bytes of a complete file.

    Args:
        image: a path, the bytes of an image file, a Pillow image, or a uint8 array (H, W), (H, W, 1..4).
        compression: a codec's name; ``beholder codecs`` lists them.
        alpha: the observer, 0 (the human eye) to 1 (a machine); for codecs that know one.
        quality: on the codec's own scale; None for its default (``rnn``: 4 of 1..8).
        model: a folder with a trained ``rnn`` codec that ``beholder export`` wrote; None for ours.
        effort: of ``rnn``: 0 is fast, 1 and 2 search for better codes, in slightly larger files (above alpha 0 they
            need torch).
        target: instead of a quality, what the file must reach, such as ``beholder.Bpp(0.25)`` or
            ``beholder.KeepLabel("efficientnet_lite0")``; ``compression`` may then be ``auto``.  Where no file
            reaches it, the nearest is returned with a TargetMissedWarning; :func:`compress_to_target` tells more.

    Raises:
        BadImageError: the image is missing, damaged, too large or no image.
        BadOptionError: an option is outside its range.
        NotAvailableError: the codec is not installed.
    """
    if target is not None:
        if quality is not None:
            raise BadOptionError("A quality and a target are given: the target finds the quality, so leave one out.")
        best = compress_to_target(image, target, compression, alpha, model=model, effort=effort).best
        if not best.reached:
            warnings.warn(missed(best), TargetMissedWarning, stacklevel=2)
        return best.data
    codec = open_codec(compression, model, effort)
    check_options(codec, alpha, quality)
    return codec.encode(_open(image), quality, alpha=alpha)


def compress_to_target(
    image: ImageSource,
    target: Target,
    compression: str = "rnn",
    alpha: float = 0.0,
    *,
    model: str | os.PathLike[str] | None = None,
    effort: int = 0,
) -> Choice:
    """Search for the smallest file that reaches a quality, or the best one within a rate.

    Args:
        image, alpha, model, effort: as for :func:`compress`.
        target: what the file must reach.
        compression: a codec's name, or ``auto`` for the best of all that can run here.

    Returns:
        The best file (``choice.best.data``) with what it reached and how many tries that took.

    Raises:
        BadImageError, BadOptionError, NotAvailableError: as for :func:`compress`.
    """
    contestants = open_contestants(compression, model, effort)
    check_alpha(alpha)
    target.check()
    return choose(contestants, _open(image), target, alpha=alpha)


def missed(found: Found) -> str:
    """The sentence for a target that no file reaches."""
    return f"No {found.codec} file has {found.target.describe()}: the nearest has {found.target.told(found.score)}."


def decompress(
    data: bytes | str | os.PathLike[str],
    quality: int | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
) -> Image.Image:
    """Decompress a file of any codec, which is told by its first bytes.

    Args:
        data: the bytes of the file, or its path.
        quality: decode a progressive file (``.bhd``) only as far as this quality; others ignore it.
        model: a folder with the trained ``rnn`` codec that wrote the file; None for ours.

    Returns:
        An image in mode L, LA, RGB or RGBA; ``info`` holds ``icc_profile`` and ``exif`` where stored.

    Raises:
        BadFileError: the file is missing, damaged, truncated or foreign.
        NotAvailableError: its codec is not installed.
    """
    data = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else read_compressed(data)
    return recognise(data, model).decode(data, quality)


def evaluate(
    image: ImageSource,
    compression: str = "rnn",
    alpha: float = 0.0,
    quality: int | None = None,
    *,
    classifier: str | os.PathLike[str] | Observer = "efficientnet_lite0",
    labels: str | os.PathLike[str] | None = None,
    topk: int = 5,
    protocol: str = "native",
    model: str | os.PathLike[str] | None = None,
    effort: int = 0,
    keep_metadata: bool = False,
) -> Evaluation:
    """Compress an image, decompress it from the bytes, measure and classify both.

    Args:
        image, compression, alpha, quality, model, effort: as for :func:`compress`.
        classifier: an observer, its name (``beholder observers`` lists them), or the path of an ONNX file.
        labels: the label file of such a file, with one class a line.
        topk: number of predictions, 1 to the number of classes.
        keep_metadata: compress and count EXIF data and a colour profile, too; else colours are converted to sRGB.
        protocol: ``native`` (the image as it is) or ``paper`` (see :mod:`beholder.evaluation.protocol`).

    Raises:
        BadImageError, BadOptionError, NotAvailableError: as for :func:`compress`.
        BadFileError: a file of the classifier is missing or damaged.
    """
    codec = open_codec(compression, model, effort)
    check_options(codec, alpha, quality)
    observer = observers.get(classifier, None if labels is None else Path(labels))
    # Cheap checks first: nobody likes to wait for a typo.
    rules = one_image.check(observer, topk, protocol)
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else "image"
    return one_image.evaluate_image(
        _open(image),
        codec,
        observer,
        name=str(name),
        quality=quality,
        alpha=alpha,
        topk=topk,
        protocol=rules,
        keep_metadata=keep_metadata,
    )


def open_codec(name: str, model: str | os.PathLike[str] | None = None, effort: int = 0) -> Codec:
    """The codec called ``name``, with the user's own ``model`` and ``effort`` where they are given.

    Raises:
        BadOptionError: nobody has this name, there is no such effort, or a model or an effort is given for a codec
            other than ``rnn``.
    """
    if model is None and not effort:
        return codecs.get(name)
    if name != "rnn":
        codecs.get(name)
        raise BadOptionError(f"The codec {name} takes no {'effort' if model is None else 'model'}: only rnn does.")
    from beholder.codecs.rnn import Rnn

    return Rnn(model=None if model is None else Path(model), effort=effort)


def open_contestants(name: str, model: str | os.PathLike[str] | None = None, effort: int = 0) -> list[Codec]:
    """The codecs that a target may choose from: all that can run here for ``auto``, else the one called ``name``.

    Raises:
        BadOptionError, NotAvailableError: as :func:`open_codec`.
    """
    if name != AUTO:
        return [open_codec(name, model, effort)]
    return [open_codec("rnn", model, effort) if codec.name == "rnn" else codec for codec in available()]


def recognise(data: bytes, model: str | os.PathLike[str] | None = None) -> Codec:
    """The codec that wrote ``data``; BadFileError if nobody did."""
    codec = codecs.recognise(data)
    return codec if model is None else open_codec(codec.name, model)


def info(data: bytes) -> dict[str, Any]:
    """Codec, width and height in pixels, bytes and bpp of a compressed file, and what its header says beside them.

    Raises:
        BadFileError: the file is damaged or foreign.
        NotAvailableError: its codec is not installed.
    """
    codec = codecs.recognise(data)
    describe = getattr(codec, "describe", None)
    header: dict[str, Any] = {} if describe is None else describe(data)
    if describe is None:
        header["width"], header["height"] = codec.decode(data).size
    width, height = header.pop("width"), header.pop("height")
    bpp = 8 * len(data) / (width * height)
    return {"codec": codec.name, "width": width, "height": height, "bytes": len(data), "bpp": bpp, **header}


def check_options(codec: Codec, alpha: float, quality: int | None) -> None:
    """Raise BadOptionError for a quality or an alpha outside its range, before any work is done."""
    codec.scale.check(codec.name, quality)
    check_alpha(alpha)


def read_compressed(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a compressed file, of at most ``MAX_FILE_BYTES``.

    Raises:
        BadFileError: it is missing, unreadable, empty or too large.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise BadFileError(f"There is no file {name}: check the path.") from None
    except IsADirectoryError:
        raise BadFileError(f"{name} is a folder: give the path of one compressed file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFileError(f"{name} cannot be read ({reason}): check the path.") from None
    if not data:
        raise BadFileError(f"{name} is empty: get the whole file.")
    if len(data) > MAX_FILE_BYTES:
        raise BadFileError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB: it is no compressed image.")
    return data


def _open(image: ImageSource) -> Image.Image:
    if isinstance(image, np.ndarray):
        return open_image(_from_array(image))
    return open_image(image)


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels > 4 or not array.size:
        raise BadImageError(
            f"An array of shape {array.shape} and type {array.dtype} is no image: "
            "give uint8 of shape (height, width, 3)."
        )
    return Image.fromarray(np.ascontiguousarray(array))
