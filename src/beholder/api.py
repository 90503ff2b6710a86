"""The functions of the public API: compress, compress_to_target, decompress, evaluate_image."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar

from PIL import Image

from beholder import codecs
from beholder.codecs.base import Codec, check_alpha
from beholder.errors import BadOptionError, TargetMissedWarning
from beholder.limits import limit_pixels
from beholder.pictures.modes import strip_metadata
from beholder.reading import FileSource, ImageSource, open_image, read_file

if TYPE_CHECKING:
    # Functions import what they alone need: it takes longer than a small picture.
    from beholder.evaluation.one_image import Evaluation
    from beholder.observers import Observer
    from beholder.targets import Target
    from beholder.targets.choose import Choice
    from beholder.targets.search import Found

Folder = str | os.PathLike[str]
P = ParamSpec("P")
R = TypeVar("R")


def _accepts_compression(function: Callable[P, R]) -> Callable[P, R]:
    """Let the keyword ``compression`` stand for ``codec``."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        if "compression" in options:
            if "codec" in options:
                raise BadOptionError("The keywords codec and compression mean the same: give codec alone.")
            options["codec"] = options.pop("compression")
        return function(*args, **options)

    return call


@_accepts_compression
def compress(
    image: ImageSource,
    codec: str = "rnn",
    alpha: float = 0.0,
    quality: SupportsIndex | None = None,
    *,
    model: Folder | None = None,
    effort: int = 0,
    human: str | None = None,
    observer: str | os.PathLike[str] | None = None,
    target: Target | None = None,
    strip: bool = False,
    max_pixels: int | None = None,
) -> bytes:
    """Compress an image to the bytes of a complete file.

    What a picture or a codec cannot carry along (further frames, XMP metadata, a profile, ...), what was guessed, and
    an option that has no effect are told by a :class:`beholder.BeholderWarning`.

    Args:
        image: a path; the bytes of an image file (``bytes``, ``bytearray``, ``memoryview``); a binary file object; a
            Pillow image of any mode; a NumPy array or torch tensor (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels,
            of bool, uint8, uint16 (0..65,535), or floating point (0..1).  It is not changed.
        codec: its name, in any case; ``beholder codecs`` lists them.
        alpha: the observer, 0 (human) to 1 (machine); for codecs that know one.
        quality: on the codec's own scale, a Python or NumPy integer; None for its default (``rnn``: 4 of 1..12).
        model: a folder with a trained ``rnn`` codec that ``beholder export`` wrote; None for ours.
        effort: of ``rnn``: 0 is fast, 1 to 3 optimise the codes for the observer in ever more rounds.
        human: what ``rnn`` makes codes for at alpha 0: ``ms-ssim``, ``ssimulacra2``, ``psnr`` (effort 1 to 3
            only) or ``blend`` of the first two (the default).
        observer: classifier that effort 1 to 3 of ``rnn`` serve above alpha 0, a name or an ONNX file of which
            ``beholder prepare NAME --gradient`` made the gradient; None for ``efficientnet_lite0``.
        target: instead of a quality, what the file must reach, such as ``beholder.Bpp(0.25)`` or
            ``beholder.KeepLabel("efficientnet_lite0")``; ``codec`` may then be ``auto``.  Where no file
            reaches it, the nearest is returned with a TargetMissedWarning; :func:`compress_to_target` tells more.
        strip: leave out EXIF data, GPS position included, and convert colours to sRGB instead of keeping a profile.
        max_pixels: the largest width x height to open; None for 200 million.

    Raises:
        BadImageError: the image is missing, damaged, too large or no image.
        BadOptionError: an option is outside its range.
        NotAvailableError: the codec is not installed.
    """
    if target is not None:
        if quality is not None:
            raise BadOptionError("A quality and a target are given: the target finds the quality, so leave one out.")
        best = compress_to_target(
            image,
            target,
            codec,
            alpha,
            model=model,
            effort=effort,
            human=human,
            observer=observer,
            strip=strip,
            max_pixels=max_pixels,
        ).best
        if not best.reached:
            warnings.warn(missed(best), TargetMissedWarning, stacklevel=2)
        return best.data
    chosen = codecs.open_codec(codec, model, effort, human, _gradient(observer))
    codecs.check_options(chosen, alpha, quality)
    with limit_pixels(max_pixels):
        return chosen.encode(open_picture(image, strip=strip), quality, alpha=alpha)


def open_picture(image: ImageSource, *, strip: bool = False) -> Image.Image:
    """Open a picture to compress, without its metadata if ``strip`` is true.

    Raises:
        BadImageError: as :func:`compress`.
    """
    picture = open_image(image)
    return strip_metadata(picture) if strip else picture


@_accepts_compression
def compress_to_target(
    image: ImageSource,
    target: Target,
    codec: str = "rnn",
    alpha: float = 0.0,
    *,
    model: Folder | None = None,
    effort: int = 0,
    human: str | None = None,
    observer: str | os.PathLike[str] | None = None,
    strip: bool = False,
    max_pixels: int | None = None,
) -> Choice:
    """Search for the smallest file that reaches a quality, or the best one within a rate.

    Args:
        image, alpha, model, effort, human, observer, strip, max_pixels: as for :func:`compress`.
        target: what the file must reach.
        codec: its name, or ``auto`` for the best of all that can run here.

    Returns:
        The best file (``choice.best.data``) with what it reached and how many tries that took.

    Raises:
        BadImageError, BadOptionError, NotAvailableError: as for :func:`compress`.
    """
    from beholder.targets.choose import choose

    contestants = open_contestants(codec, model, effort, human, observer)
    check_alpha(alpha)
    codecs.tell_useless(contestants, alpha)
    target.check()
    with limit_pixels(max_pixels):
        return choose(contestants, open_picture(image, strip=strip), target, alpha=alpha)


def missed(found: Found) -> str:
    """The sentence for a target that no file reaches."""
    return f"No {found.codec} file has {found.target.describe()}: the nearest has {found.target.told(found.score)}."


def decompress(
    data: FileSource,
    quality: SupportsIndex | None = None,
    *,
    model: Folder | None = None,
    strip: bool = False,
    max_pixels: int | None = None,
) -> Image.Image:
    """Decompress a file of any codec, which is told by its first bytes.

    Args:
        data: the bytes of the file (``bytes``, ``bytearray``, ``memoryview``), its path, or a binary file object.
        quality: decode a progressive file (``.bhd``) only as far as this quality; others ignore it, with a note.
        model: a folder with the trained ``rnn`` codec that wrote the file; None for ours.
        strip: leave out EXIF data, and convert colours to sRGB instead of keeping a profile.
        max_pixels: the largest width x height to decode; None for 200 million.

    Returns:
        An upright image in mode L, LA, RGB or RGBA; ``info`` holds ``icc_profile`` and ``exif`` where stored.

    Raises:
        BadFileError: the file is missing, damaged, truncated, foreign or too large.
        NotAvailableError: its codec is not installed.
    """
    with limit_pixels(max_pixels):
        whole = read_file(data)
        picture = recognise(whole, model).decode(whole, quality)
    return strip_metadata(picture) if strip else picture


@_accepts_compression
def evaluate_image(
    image: ImageSource,
    codec: str = "rnn",
    alpha: float = 0.0,
    quality: SupportsIndex | None = None,
    *,
    classifier: str | os.PathLike[str] | Observer = "efficientnet_lite0",
    labels: str | os.PathLike[str] | None = None,
    topk: int = 5,
    protocol: str = "native",
    model: Folder | None = None,
    effort: int = 0,
    human: str | None = None,
    keep_metadata: bool = False,
    max_pixels: int | None = None,
) -> Evaluation:
    """Compress an image, decompress it from the bytes, measure and classify both.

    Args:
        image, codec, alpha, quality, model, effort, human, max_pixels: as for :func:`compress`.
        classifier: an observer, its name (``beholder observers`` lists them), or the path of an ONNX file.
        labels: the label file of such a file, with one class a line.
        topk: number of predictions, 1 to the number of classes.
        keep_metadata: compress and count EXIF data and a colour profile, too; else colours are converted to sRGB.
        protocol: ``native`` (the image as it is) or ``paper`` (see :mod:`beholder.evaluation.protocol`).

    Raises:
        BadImageError, BadOptionError, NotAvailableError: as for :func:`compress`.
        BadFileError: a file of the classifier is missing or damaged.
    """
    from beholder import observers
    from beholder.evaluation import one_image

    chosen = codecs.open_codec(codec, model, effort, human)
    codecs.check_options(chosen, alpha, quality)
    observer = observers.get(classifier, None if labels is None else Path(labels))
    # Cheap checks first: nobody likes to wait for a typo.
    rules = one_image.check(observer, topk, protocol, keep_metadata)
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else "image"
    with limit_pixels(max_pixels):
        return one_image.evaluate_image(
            open_image(image),
            chosen,
            observer,
            name=str(name),
            quality=chosen.scale.check(chosen.name, quality),
            alpha=alpha,
            topk=topk,
            protocol=rules,
            keep_metadata=keep_metadata,
        )


def open_contestants(
    name: str,
    model: str | os.PathLike[str] | None = None,
    effort: int = 0,
    human: str | None = None,
    observer: str | os.PathLike[str] | None = None,
) -> list[Codec]:
    """The codecs that a target may choose from: all that can run here for ``auto``, else the one called ``name``.

    Raises:
        BadOptionError, NotAvailableError: as :func:`beholder.codecs.open_codec`.
    """
    gradient = _gradient(observer)
    if name != codecs.AUTO:
        return [codecs.open_codec(name, model, effort, human, gradient)]
    from beholder.targets.choose import available

    own = codecs.open_codec("rnn", model, effort, human, gradient)
    return [own if codec.name == "rnn" else codec for codec in available()]


def _gradient(observer: str | os.PathLike[str] | None) -> Path | None:
    """The gradient graph of the observer that files are optimised for."""
    if observer is None:
        return None
    from beholder.observers.gradient import files

    return files.find(observer)


def recognise(data: bytes, model: str | os.PathLike[str] | None = None) -> Codec:
    """The codec that wrote ``data``; BadFileError if nobody did."""
    codec = codecs.recognise(data)
    return codec if model is None else codecs.open_codec(codec.name, model)


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
