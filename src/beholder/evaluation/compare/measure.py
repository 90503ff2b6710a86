"""A comparison: every codec's file at one size, measured and shown to observers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from beholder import codecs, metrics
from beholder.codecs.base import Codec
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.evaluation.compare.equal_size import Sized, nearest
from beholder.observers import Observer
from beholder.pictures.comparable import comparable
from beholder.pictures.modes import strip_metadata

TOLERANCE = 0.02
"""Files whose sizes differ from the common one by no more count as equal."""
METRICS = ("ms_ssim", "ssimulacra2", "psnr")

_ALPHAS = (0.0, 1.0)


@dataclass(frozen=True)
class Contestant:
    """A codec, for an observer if it knows one."""

    codec: Codec
    alpha: float = 0.0

    @property
    def title(self) -> str:
        """``rnn, alpha 1``, or the codec's name."""
        return f"{self.codec.name}, alpha {self.alpha:g}" if self.codec.takes_alpha else self.codec.name


@dataclass(frozen=True)
class Verdict:
    """Answer of an observer to a picture."""

    observer: str
    label: str
    probability: float
    agrees: bool
    """Whether it is what the observer sees in the original."""


@dataclass(frozen=True)
class Entry:
    """One codec's file, its figures and its decoded picture."""

    title: str
    codec: str
    alpha: float | None
    quality: float
    data: bytes = field(repr=False)
    bpp: float
    ms_ssim: float
    ssimulacra2: float | None
    """None where the picture is too small."""
    psnr: float
    verdicts: tuple[Verdict, ...]
    picture: Image.Image = field(repr=False, compare=False)
    """RGB, as decompressed."""

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        names = ("title", "codec", "alpha", "quality", "bpp", *METRICS)
        result: dict[str, Any] = {name: getattr(self, name) for name in names}
        result["bytes"] = len(self.data)
        return result | {"verdicts": [vars(verdict) for verdict in self.verdicts]}


@dataclass(frozen=True)
class Comparison:
    """All entries for one photograph."""

    original: Image.Image = field(repr=False)
    """RGB."""
    wanted: int
    """Bytes that were asked for."""
    size: int
    """Bytes that all files come near to: those asked for, or what the coarsest codec can write instead."""
    verdicts: tuple[Verdict, ...]
    """Answers of observers to the original."""
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...]
    """(codec, why it has no entry)."""

    @property
    def unequal(self) -> list[Entry]:
        """Entries whose size differs from the common one by more than ``TOLERANCE``."""
        return [entry for entry in self.entries if abs(len(entry.data) - self.size) > TOLERANCE * self.size]

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {
            "width": self.original.width,
            "height": self.original.height,
            "bytes_wanted": self.wanted,
            "bytes_common": self.size,
            "original": [vars(verdict) for verdict in self.verdicts],
            "codecs": [entry.as_dict() for entry in self.entries],
            "left_out": [{"codec": name, "reason": reason} for name, reason in self.left_out],
        }


def contestants(names: Sequence[str], alphas: Sequence[float] = _ALPHAS) -> list[Contestant]:
    """The codecs called ``names``, those that take alpha once for each of ``alphas``; all that run here for no names.

    Raises:
        BadOptionError: nobody has one of the names.
        NotAvailableError: a codec that was named cannot run here.
    """
    result = []
    for name in names or codecs.names():
        codec = codecs.get(name)
        reason = codec.unavailable()
        if reason is not None:
            if names:
                raise NotAvailableError(reason)
            continue
        result += [Contestant(codec, alpha) for alpha in (alphas if codec.takes_alpha else (0.0,))]
    return result


def compare(
    image: Image.Image,
    bpp: float,
    among: Sequence[Contestant],
    observers: Sequence[Observer] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compress ``image`` with every codec to one size, and measure the decoded pictures.

    Metadata are left out and colours converted to sRGB first.  Each codec's file is the one nearest to ``bpp``; if one
    of them is off by more than half of ``TOLERANCE``, the farthest sets the size for all, or the middle of all sizes
    where that brings them closer together.

    Args:
        image: mode L, LA, RGB or RGBA.
        bpp: bits a pixel, whole files.
        among: one or more codecs.
        observers: who is asked what the pictures show.
        progress: called with how many of how many codecs are done.

    Raises:
        BadOptionError: ``bpp`` is no positive number.
        BadImageError: the image fits into none of the codecs.
        BeholderError: a codec or an observer cannot run here.
    """
    if not (math.isfinite(bpp) and bpp > 0):
        raise BadOptionError(f"A rate of {bpp:g} bits a pixel is not possible: give a number above 0, such as 0.25.")
    image = strip_metadata(image)
    wanted = max(1, round(bpp * image.width * image.height / 8))
    files: dict[Contestant, Sized] = {}
    left_out = []
    total = 2 * len(among)
    for contestant in among:
        try:
            files[contestant] = nearest(contestant.codec, image, wanted, contestant.alpha)
        except BadImageError as error:
            left_out.append((contestant.title, str(error)))
        progress(len(files) + len(left_out), total)
    if not files:
        raise BadImageError(left_out[0][1])
    files, size = _agree(files, image, wanted)
    before = [(observer, _ask(observer, image)) for observer in observers]
    entries = []
    for contestant, file in files.items():
        entries.append(_entry(contestant, file.quality, file.data, image, before))
        progress(len(among) + len(entries), total)
    verdicts = tuple(Verdict(o.info.name, p.label, p.probability, True) for o, p in before)
    original = comparable(image, image)[0]
    return Comparison(original, wanted, size, verdicts, tuple(entries), tuple(left_out))


def _agree(files: dict[Contestant, Sized], image: Image.Image, wanted: int) -> tuple[dict[Contestant, Sized], int]:
    """Files of nearly one size, and that size; ``files`` are those nearest to ``wanted``."""

    def worst(found: dict[Contestant, Sized], size: int) -> float:
        return max(abs(len(file.data) - size) for file in found.values()) / size

    best, size = files, wanted
    if worst(best, size) <= TOLERANCE / 2:
        return best, size
    sizes = [len(file.data) for file in files.values()]
    farthest = max(sizes, key=lambda length: abs(length - wanted))
    for other in (farthest, round(math.sqrt(min(sizes) * max(sizes)))):
        found = {
            contestant: file if len(file.data) == other else nearest(contestant.codec, image, other, contestant.alpha)
            for contestant, file in files.items()
        }
        if worst(found, other) < worst(best, size):
            best, size = found, other
        if worst(best, size) <= TOLERANCE:
            break
    return best, size


def _entry(contestant: Contestant, quality: float, data: bytes, image: Image.Image, before: Sequence[Any]) -> Entry:
    decompressed = contestant.codec.decode(data)
    pair = comparable(image, decompressed)
    verdicts = []
    for observer, expected in before:
        seen = _ask(observer, decompressed)
        verdicts.append(Verdict(observer.info.name, seen.label, seen.probability, seen.index == expected.index))
    values = {name: _measure(name, pair) for name in METRICS}
    return Entry(
        title=contestant.title,
        codec=contestant.codec.name,
        alpha=contestant.alpha if contestant.codec.takes_alpha else None,
        quality=quality,
        data=data,
        bpp=8 * len(data) / (image.width * image.height),
        ms_ssim=values["ms_ssim"] or 0.0,
        ssimulacra2=values["ssimulacra2"],
        psnr=values["psnr"] or 0.0,
        verdicts=tuple(verdicts),
        picture=pair[1],
    )


def _measure(name: str, pair: tuple[Image.Image, Image.Image]) -> float | None:
    value = float(metrics.get(name)(*pair))
    return None if math.isnan(value) else value


def _ask(observer: Observer, image: Image.Image) -> Any:
    return observer.classify(image, 1)[0]
