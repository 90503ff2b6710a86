"""The work behind the page's requests: a file's bytes and options in, figures and pictures for JSON out."""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from beholder import __version__, api, codecs, observers
from beholder.codecs.base import Codec
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.evaluation.metadata import strip_metadata
from beholder.evaluation.one_image import evaluate_image
from beholder.metrics import ms_ssim, psnr
from beholder.observers import Observer
from beholder.pictures.comparable import comparable
from beholder.reading import open_image
from beholder.targets import Bpp, KeepLabel, MaxBytes, MsSsim, Psnr, Target

TOPK = 5
CURVE_FRACTIONS = (0.04, 0.09, 0.15, 0.22, 0.3, 0.42, 0.56, 0.7, 0.84)
"""Places on a codec's quality scale that the curve asks for, from the worst quality (0) to the best (1)."""
CURVE_BPP = 1.6
"""A codec's curve ends with the first file of at least so many bits a pixel: beyond it all codecs look alike."""
TARGETS: dict[str, tuple[Callable[[Any], Target], type, str]] = {
    "bpp": (Bpp, float, "bits a pixel at most"),
    "max-bytes": (MaxBytes, int, "bytes at most"),
    "ms-ssim": (MsSsim, float, "MS-SSIM at least"),
    "psnr": (Psnr, float, "PSNR in dB at least"),
    "keep-label": (KeepLabel, str, "same label, seen by"),
}
"""Kinds of target: how they are made, the type of their value, and a few words."""


@dataclass(frozen=True)
class Choice:
    """Request of a visitor.

    Args:
        codec, alpha, quality, effort: as for :func:`beholder.compress`.
        target: a key of TARGETS, or "" for a quality.
        value: the target's value, as text.
    """

    codec: str = "rnn"
    alpha: float = 0.0
    quality: int | None = None
    effort: int = 0
    target: str = ""
    value: str = ""

    @classmethod
    def read(cls, query: dict[str, str]) -> Choice:
        """Parse the query of a request; raise BadOptionError for an unknown key or a value of another type."""
        kinds = {"codec": str, "alpha": float, "quality": int, "effort": int, "target": str, "value": str}
        query = {"codec" if key == "compression" else key: text for key, text in query.items()}
        unknown = sorted(set(query) - set(kinds))
        if unknown:
            raise BadOptionError(f"There is no option {unknown[0][:40]!r}: choose from {', '.join(kinds)}.")
        return cls(**{key: parse(key, text, kinds[key]) for key, text in query.items() if text})


def parse(name: str, text: str, kind: Any) -> Any:
    """``text`` as ``kind``; raise BadOptionError where it is none."""
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise BadOptionError(f"The {name} {text[:40]!r} is no number: give {what}.") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise BadOptionError(f"The {name} {text[:40]!r} is not finite: give a number.")
    return value


def options() -> dict[str, Any]:
    """The choices of the page: codecs that can run here, ready observers, targets."""
    return {
        "version": __version__,
        "codecs": [
            {
                "name": codec.name,
                "title": codec.title,
                "suffix": codec.suffix,
                "scale": asdict(codec.scale),
                "takes_alpha": codec.takes_alpha,
                "progressive": codec.progressive,
            }
            for codec in available_codecs()
        ],
        "observers": [{"name": o.info.name, "title": o.info.title} for o in ready_observers()],
        "targets": [{"name": name, "text": text} for name, (_, _, text) in TARGETS.items()],
    }


def look(data: bytes, quality: int | None = None) -> dict[str, Any]:
    """Decode a photo or a compressed file.

    Args:
        data: the bytes of the file.
        quality: of a progressive file, the quality to decode.

    Returns:
        ``codec`` (or Pillow's name of the format), sides in pixels, ``bytes``, ``bpp``, for ``.bhd`` the ``header``,
        and the ``picture`` as a PNG in base64.

    Raises:
        BadFileError, BadImageError: the file is damaged, foreign or too large.
        BadOptionError: the file holds no such quality.
    """
    header: dict[str, Any] = {}
    try:
        codec: Codec | None = codecs.recognise(data)
    except BadFileError:
        codec = None
    if codec is not None and codec.progressive:
        describe: Callable[[bytes], dict[str, Any]] | None = getattr(codec, "describe", None)
        header = describe(data) if describe is not None else {}
        # A file that was cut off is shown as far as it goes.
        complete = header.get("complete_qualities")
        image = codec.decode(data, quality if quality is not None else complete or None)
    else:
        image = open_image(data)
    return {
        "codec": codec.name if codec is not None else "",
        "width": image.width,
        "height": image.height,
        "bytes": len(data),
        "bpp": 8 * len(data) / (image.width * image.height),
        "header": header,
        "picture": to_text(to_png(image)),
    }


def evaluate(data: bytes, choice: Choice) -> dict[str, Any]:
    """Compress a photo, decompress it, measure, and ask every ready observer.

    Returns:
        The figures of ``beholder evaluate-image --json`` (of the first observer), ``seen`` with every observer's
        predictions, ``note`` about a target, and the ``file`` and both pictures (PNG) in base64.

    Raises:
        BeholderError: the file is damaged, foreign or too large, or an option is outside its range.
    """
    ready = ready_observers()
    if not ready:
        raise NotAvailableError("No observer is ready: `beholder observers` says how to prepare one.")
    quality: float | None
    name, quality, note = choice.codec, choice.quality, ""
    if choice.target:
        name, quality, note = _find(data, choice)
    codec = codecs.open_codec(name, None, choice.effort)
    codecs.check_options(codec, choice.alpha if codec.takes_alpha else 0.0, choice.quality)
    result = evaluate_image(
        open_image(data), codec, ready[0], name="image", quality=quality, alpha=choice.alpha, topk=TOPK
    )
    seen = [
        {
            "classifier": result.classifier,
            "original": [asdict(p) for p in result.predictions_original],
            "compressed": [asdict(p) for p in result.predictions_compressed],
        }
    ]
    for observer in ready[1:]:
        observer.check_topk(TOPK)
        pair = observer.predict([observer.view(result.original), observer.view(result.decompressed)])
        before, after = ([asdict(p) for p in observer.best(row, TOPK)] for row in pair)
        seen.append({"classifier": observer.info.name, "original": before, "compressed": after})
    return {
        "figures": result.as_dict(),
        "suffix": codec.suffix,
        "note": note,
        "seen": seen,
        "file": to_text(result.data),
        "original": to_text(to_png(result.original)),
        "decompressed": to_text(to_png(result.decompressed)),
    }


def _find(data: bytes, choice: Choice) -> tuple[str, float, str]:
    """The codec and quality that reach a target, and a sentence about it."""
    if choice.target not in TARGETS:
        raise BadOptionError(f"There is no target {choice.target[:40]!r}: choose from {', '.join(TARGETS)}.")
    if choice.quality is not None:
        raise BadOptionError("A quality and a target are given: choose one of them.")
    make, kind, _ = TARGETS[choice.target]
    known = [observer.info.name for observer in ready_observers()]
    # On the command line it may be the path of a file; files of the server are none of a visitor's business.
    if make is KeepLabel and choice.value not in known:
        raise BadOptionError(f"There is no classifier {choice.value[:40]!r} here: choose from {', '.join(known)}.")
    target = make(parse(choice.target, choice.value, kind))
    # The figures are those of pixels: a file without the photo's metadata.
    image = strip_metadata(open_image(data))
    found = api.compress_to_target(image, target, choice.codec, choice.alpha, effort=choice.effort).best
    return found.codec, found.quality, "" if found.reached else api.missed(found)


def curve(data: bytes, alpha: float) -> Iterator[dict[str, Any]]:
    """Yield points (codec, quality, bytes, bpp, ms_ssim, psnr) of all codecs in turn, for one photo.

    Raises:
        BeholderError: the photo is damaged, foreign or too large, or alpha is outside its range.
    """
    from beholder.codecs.base import check_alpha

    check_alpha(alpha)
    image = strip_metadata(open_image(data))
    running = [_points(codec, image, alpha) for codec in available_codecs()]
    while running:
        for points in list(running):
            point = next(points, None)
            if point is None:
                running.remove(points)
            else:
                yield point


def _points(codec: Codec, image: Image.Image, alpha: float) -> Iterator[dict[str, Any]]:
    scale = codec.scale
    if codec.progressive:
        qualities = list(range(scale.lowest, scale.highest + 1))
        files = iter(codec.encode_many(image, qualities, alpha=alpha if codec.takes_alpha else 0.0))
    else:
        ends = (scale.lowest, scale.highest) if scale.higher_is_better else (scale.highest, scale.lowest)
        qualities = list(dict.fromkeys(round(q) for q in np.interp(CURVE_FRACTIONS, (0, 1), ends).tolist()))
        files = (codec.encode(image, quality) for quality in qualities)
    for quality, data in zip(qualities, files, strict=True):
        pair = comparable(image, codec.decode(data))
        bpp = 8 * len(data) / (image.width * image.height)
        decibels = psnr(*pair)
        yield {
            "codec": codec.name,
            "quality": quality,
            "bytes": len(data),
            "bpp": bpp,
            "ms_ssim": ms_ssim(*pair),
            "psnr": decibels if math.isfinite(decibels) else None,
        }
        if bpp >= CURVE_BPP:
            return


@functools.cache
def available_codecs() -> list[Codec]:
    """All codecs that can run here."""
    result = []
    for name in codecs.names():
        try:
            codec = codecs.get(name)
        except NotAvailableError:
            continue
        if codec.unavailable() is None:
            result.append(codec)
    return result


@functools.cache
def ready_observers() -> list[Observer]:
    """All observers that can run here, the command line's default first."""
    result = []
    for name in observers.names():
        try:
            observer = observers.get(name)
        except (BadFileError, NotAvailableError):
            continue
        if observer.ready():
            result.append(observer)
    return result


def to_png(image: Image.Image) -> bytes:
    """The PNG file of an image (L, LA, RGB or RGBA), with its ICC profile."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1, icc_profile=image.info.get("icc_profile"))
    return out.getvalue()


def to_text(data: bytes) -> str:
    """``data`` in base64."""
    return base64.b64encode(data).decode()
