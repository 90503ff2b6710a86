"""Tasks of a batch for one file: compress, decompress or describe it.

A task is small and frozen, and travels to worker processes.  It writes its result, wholly or not at all, and returns
a :class:`Row`; what goes wrong leaves as a BeholderError.
"""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from beholder import api, codecs
from beholder.codecs import AUTO
from beholder.codecs.base import Codec, check_alpha
from beholder.errors import BadFileError, BadOptionError, NotAvailableError, OutputError
from beholder.evaluation.metadata import file_bytes
from beholder.files import save_atomically
from beholder.limits import limit_pixels
from beholder.pictures.modes import strip_metadata
from beholder.pictures.saving import picture_bytes
from beholder.reading import read_file

if TYPE_CHECKING:
    from beholder.targets import Target


@dataclass(frozen=True)
class Row:
    """Result of one file.  ``None`` where something does not apply."""

    source: str
    output: str | None = None
    """Path of the result, relative to the folder of the results if there is one."""
    codec: str | None = None
    quality: float | None = None
    width: int | None = None
    height: int | None = None
    digest: str | None = None
    """Begin of the SHA-256 of the file before."""
    bytes_before: int | None = None
    bytes_after: int | None = None
    metadata_bytes: int | None = None
    """Bytes of the compressed file that hold metadata."""
    bpp: float | None = None
    """8 x bytes of the compressed file / pixels."""
    ms_ssim: float | None = None
    reached: bool | None = None
    """Whether the target was reached, if there was one."""
    tries: int | None = None
    notes: str | None = None
    """Notes on what was left out or guessed on the way."""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Task(ABC):
    """Task for each file of a batch."""

    verb: ClassVar[str]
    """In the words of progress and summary: ``compressed``."""
    overwrites: ClassVar[bool] = True
    """Whether the command has the option ``--force``."""

    @abstractmethod
    def describe(self) -> str:
        """Everything that decides the results, in one line: results of other settings are not mixed with them."""

    @abstractmethod
    def wanted(self, path: Path, head: bytes) -> bool:
        """Whether a file of a folder is to be worked on, from its path and first bytes."""

    @abstractmethod
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes that results may have; none if no result is written."""

    @abstractmethod
    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        """Work on ``source`` and write the result to ``folder / stem`` with its suffix.

        Raises:
            BeholderError: the file cannot be read, or its result cannot be written.
        """


@dataclass(frozen=True)
class Compress(Task):
    """Compress pictures with one codec, or with the best (``auto``) for a target."""

    verb: ClassVar[str] = "compressed"

    codec: str = "rnn"
    alpha: float = 0.0
    quality: int | None = None
    target: Target | None = None
    model: str | None = None
    effort: int = 0
    human: str | None = None
    observer: str | None = None
    measure: bool = True
    """Decode each file again and measure MS-SSIM."""
    strip: bool = False
    """Leave out EXIF data and convert colours to sRGB."""
    max_pixels: int | None = None
    """The largest width x height; None for the usual limit."""

    def describe(self) -> str:
        codec = self.contestants()[0]
        quality = codec.scale.check(codec.name, self.quality)
        how = f"quality {quality}" if self.target is None else f"{self.target.name}: {self.target.describe()}"
        parts = [self.codec, how, f"alpha {self.alpha:g}", f"effort {self.effort}"]
        more = [f"human {self.human}"] if self.human else []
        more += [f"observer {self.observer}"] if self.observer else []
        more += [f"model {self.model}"] if self.model else []
        return ", ".join(parts + more + (["stripped"] if self.strip else []))

    def check(self) -> None:
        """Raise BeholderError for options that would fail with every file."""
        contestants = self.contestants()
        if self.codec == AUTO and self.target is None:
            raise BadOptionError("--codec auto chooses by a target: add one, such as --bpp 0.5 or --ms-ssim 0.97.")
        check_alpha(self.alpha)
        codecs.tell_useless(contestants, self.alpha)
        for codec in contestants:
            codec.scale.check(codec.name, self.quality)
            reason = codec.unavailable()
            if reason is not None:
                raise NotAvailableError(reason)
        if self.target is not None:
            self.target.check()

    def contestants(self) -> list[Codec]:
        """The codecs that this task may choose from."""
        return api.open_contestants(self.codec, self.model, self.effort, self.human, self.observer)

    def wanted(self, path: Path, head: bytes) -> bool:
        return path.suffix.lower() in _picture_suffixes() or _is_compressed(head) or _is_picture(path)

    def suffixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(codec.suffix for codec in self.contestants()))

    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        with limit_pixels(self.max_pixels):
            return self._compress(source, stem, folder, force)

    def _compress(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        contestants = self.contestants()
        picture = api.open_picture(source, strip=self.strip)
        choice = None
        if self.target is not None:
            from beholder.targets import choose

            choice = choose(contestants, picture, self.target, alpha=self.alpha)
            codec = next(codec for codec in contestants if codec.name == choice.best.codec)
            data, quality = choice.best.data, choice.best.quality
        else:
            codec = contestants[0]
            quality = codec.scale.check(codec.name, self.quality)
            data = codec.encode(picture, quality, alpha=self.alpha)
        similarity = self.similarity(codec, picture, data) if self.measure else None
        output = _write(source, stem, codec.suffix, folder, data, force)
        return Row(
            source=str(source),
            output=output,
            codec=codec.name,
            quality=quality,
            width=picture.width,
            height=picture.height,
            bytes_before=source.stat().st_size,
            bytes_after=len(data),
            metadata_bytes=file_bytes(codec, picture),
            bpp=8 * len(data) / (picture.width * picture.height),
            ms_ssim=similarity,
            reached=None if choice is None else choice.best.reached,
            tries=None if choice is None else choice.tries,
        )

    @staticmethod
    def similarity(codec: Codec, picture: Image.Image, data: bytes) -> float:
        """MS-SSIM of a picture, of any mode, and of what its file decodes to."""
        from beholder.metrics import ms_ssim
        from beholder.pictures.comparable import comparable

        return ms_ssim(*comparable(picture, codec.decode(data)))


@dataclass(frozen=True)
class Decompress(Task):
    """Decompress files of any codec to pictures."""

    verb: ClassVar[str] = "decompressed"

    quality: int | None = None
    model: str | None = None
    suffix: str = ".png"
    strip: bool = False
    """Leave out EXIF data and convert colours to sRGB."""
    max_pixels: int | None = None
    """The largest width x height; None for the usual limit."""

    def describe(self) -> str:
        quality = "all of each file" if self.quality is None else f"quality {self.quality}"
        model = f", model {self.model}" if self.model else ""
        return f"{self.suffix}, {quality}{model}{', stripped' if self.strip else ''}"

    def picture(self, data: bytes, codec: Codec) -> Image.Image:
        """The picture (L, LA, RGB or RGBA) in a file of ``codec``, as this task wants it.

        Raises:
            BadFileError: the file is damaged.
        """
        with limit_pixels(self.max_pixels):
            picture = codec.decode(data, self.quality)
        return strip_metadata(picture) if self.strip else picture

    def wanted(self, path: Path, head: bytes) -> bool:
        return _is_compressed(head)

    def suffixes(self) -> tuple[str, ...]:
        return (self.suffix,)

    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        data = read_file(source)
        codec = api.recognise(data, self.model)
        picture = self.picture(data, codec)
        png = picture_bytes(picture, f"{stem}{self.suffix}")
        output = _write(source, stem, self.suffix, folder, png, force)
        pixels = picture.width * picture.height
        return Row(
            source=str(source),
            output=output,
            codec=codec.name,
            quality=self.quality,
            width=picture.width,
            height=picture.height,
            bytes_before=len(data),
            bytes_after=len(png),
            bpp=8 * len(data) / pixels,
        )


@dataclass(frozen=True)
class Describe(Task):
    """Say what compressed files hold; nothing is written."""

    verb: ClassVar[str] = "read"

    max_pixels: int | None = None
    """The largest width x height; None for the usual limit."""

    def describe(self) -> str:
        return "info"

    def wanted(self, path: Path, head: bytes) -> bool:
        return _is_compressed(head)

    def suffixes(self) -> tuple[str, ...]:
        return ()

    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        data = read_file(source)
        with limit_pixels(self.max_pixels):
            facts = api.info(data)
        return Row(
            source=str(source),
            codec=facts["codec"],
            quality=facts.get("complete_qualities"),
            width=facts["width"],
            height=facts["height"],
            bytes_before=len(data),
            bpp=facts["bpp"],
        )


@functools.cache
def _picture_suffixes() -> frozenset[str]:
    """Return suffixes of pictures that Pillow opens, in lower case, without documents and films."""
    Image.init()
    return frozenset(
        suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in _NO_PHOTO
    )


_NO_PHOTO = frozenset({"EPS", "MPEG", "PDF", "WMF", "HDF5", "GRIB", "BUFR", "FITS"})


def _is_picture(path: Path) -> bool:
    """Whether Pillow knows the beginning of a file whose suffix says nothing."""
    if path.suffix.lower() in _other_suffixes():
        return False
    try:
        with Image.open(path) as image:
            return image.format not in _NO_PHOTO
    except Exception:  # plugins raise whatever the bytes provoke
        return False


@functools.cache
def _other_suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in _NO_PHOTO)


def _is_compressed(head: bytes) -> bool:
    try:
        codecs.recognise(head)
    except BadFileError:
        return False
    return True


def _write(source: Path, stem: Path, suffix: str, folder: Path | None, data: bytes, force: bool) -> str:
    """Write a result; its path relative to ``folder``."""
    relative = stem.parent / (stem.name + suffix)
    path = relative if folder is None else folder / relative
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        same = path.exists() and path.samefile(source)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written ({reason}): choose another folder.") from None
    if same:
        raise OutputError(f"{path} is the input itself: name another folder with -o.")
    save_atomically(path, data, force=force)
    return os.fspath(relative)
