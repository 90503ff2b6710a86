"""Interface of all codecs: one small interface and the checks around it.

Data flows one way: image -> ``encode`` -> bytes -> ``decode`` -> image.  Images are Pillow images in
one of the four modes of :mod:`beholder.pictures.modes` (``L``, ``LA``, ``RGB``, ``RGBA``; 8 bits a sample).
"""

from __future__ import annotations

import contextlib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from PIL import Image

from beholder.errors import BadFileError, BadOptionError, BeholderError, NotAvailableError, note
from beholder.pictures.colour import GREY_SPACE, RGB_SPACE, profile_space, to_srgb
from beholder.pictures.modes import flatten, normalise

_WHOLE = 1e-6  # qualities that differ by less are the same


@dataclass(frozen=True)
class QualityScale:
    """The integers a codec takes as ``quality``.

    ``higher_is_better`` is False for quantiser-style scales such as BPG's QP.
    """

    lowest: int
    highest: int
    default: int
    unit: str
    higher_is_better: bool = True

    def check(self, codec: str, quality: SupportsIndex | None) -> int:
        """Return ``quality`` (or the default for None); raise BadOptionError outside the scale."""
        if quality is None:
            return self.default
        quality = integer_quality(codec, quality)
        if not self.lowest <= quality <= self.highest:
            raise BadOptionError(
                f"Quality {quality} is outside the scale of {codec}: choose {self.unit} "
                f"{self.lowest} to {self.highest}."
            )
        return quality


class Codec(ABC):
    """A lossy image codec that writes and reads complete files."""

    name: str
    """Registry key, as given to ``--codec``."""
    title: str
    """One line for listings, with the implementation that does the work."""
    suffix: str
    """File extension with its dot."""
    other_suffixes: tuple[str, ...] = ()
    """Further extensions that files of this format have."""
    scale: QualityScale
    modes: frozenset[str] = frozenset({"L", "RGB"})
    """Modes stored as they are; images with opacity are composited on white where it is not."""
    profiles: frozenset[str] = frozenset({GREY_SPACE, RGB_SPACE})
    """Colour spaces whose ICC profiles a file holds; under another one, colours are converted to sRGB."""
    oriented_by_exif: bool = True
    """Whether the EXIF orientation of a file applies to its pixels; some formats have another way and ignore it."""
    takes_alpha: bool = False
    """Whether ``alpha`` (0 = people, 1 = a machine) steers this codec."""
    progressive: bool = False
    """Whether one encoding yields the files of all lower qualities: ``encode_many`` then costs no more than one."""

    fine: bool = False
    """Whether :meth:`encode_between` writes files of sizes between two qualities."""
    beyond: int = 0
    """By how many qualities :meth:`encode_between` goes on below the lowest of the scale and above the highest."""

    progress: Callable[[int, int], None] = staticmethod(lambda done, total: None)
    """Called while a file is written or read that takes its time: how many of how many steps are done."""

    def unavailable(self) -> str | None:
        """Why this codec cannot run here, as a sentence that says what to install; None if it can."""
        return None

    def without_effect(self, alpha: float) -> str | None:
        """Sentence that names an option of this codec, or ``alpha``, that changes nothing; None if all do."""
        if alpha and not self.takes_alpha:
            return f"The codec {self.name} takes no alpha: {alpha:g} has no effect."
        return None

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (at least 32 bytes, or all) is this codec's."""

    @abstractmethod
    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        """Compress an image whose mode is one of ``modes``."""

    @abstractmethod
    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        """Decompress to a loaded image of any mode with the file's metadata in ``info``.

        The bytes may be a stranger's.  Exceptions of other kinds than Beholder's become BadFileError.
        """

    def encode(self, image: Image.Image, quality: SupportsIndex | None = None, *, alpha: float = 0.0) -> bytes:
        """Compress ``image`` to the bytes of a complete file.

        Args:
            image: mode L, LA, RGB or RGBA (see :func:`beholder.pictures.modes.normalise`), any size from 1x1.
                ``image.info`` may hold ``icc_profile`` and ``exif`` bytes; both are stored where the
                format has room, else colours are converted to sRGB, and EXIF data are left out with a note.
            quality: on the codec's own scale; None for its default.
            alpha: the observer, 0 (human) to 1 (machine); only codecs with ``takes_alpha`` use it.

        Raises:
            BadOptionError: quality or alpha is outside its range.
            NotAvailableError: the codec is not installed.
        """
        quality = self.scale.check(self.name, quality)
        check_alpha(alpha)
        self._require(self.unavailable())
        return self._encode(self._storable(image), quality, alpha)

    @contextlib.contextmanager
    def watched(self, progress: Callable[[int, int], None]) -> Iterator[None]:
        """Call ``progress`` with how many of how many steps are done within the block, where the codec tells."""
        before, self.progress = self.progress, progress
        try:
            yield
        finally:
            self.progress = before

    def encodes_at_once(self, image: Image.Image, alpha: float) -> bool:
        """Whether :meth:`encode_many` makes the files of all qualities in one encoding, each a prefix of the next.

        Args:
            image, alpha: as for :meth:`encode`.
        """
        return False

    def encode_many(self, image: Image.Image, qualities: Sequence[int], *, alpha: float = 0.0) -> list[bytes]:
        """The files that :meth:`encode` writes at each of ``qualities``, byte for byte, in their order.

        Raises:
            BadOptionError, NotAvailableError: as :meth:`encode`.
        """
        return [self.encode(image, quality, alpha=alpha) for quality in qualities]

    def encode_between(self, image: Image.Image, quality: float, *, alpha: float = 0.0) -> bytes:
        """Return a file of a size between two whole qualities; any decoder reads it.

        At a whole quality of the scale, and with codecs that are not ``fine``, it is the file of the nearest whole
        quality.  Codecs with ``beyond`` go on for so many qualities below and above their scale.

        Raises:
            BadOptionError, NotAvailableError: as :meth:`encode`.
        """
        if not math.isfinite(quality):
            raise BadOptionError(f"A quality of {quality} is not possible: give a finite number.")
        nearest = min(max(round(quality), self.scale.lowest), self.scale.highest)
        if not self.fine or abs(quality - nearest) < _WHOLE:
            return self.encode(image, nearest, alpha=alpha)
        if not self.scale.lowest - self.beyond <= quality <= self.scale.highest + self.beyond:
            self.scale.check(self.name, math.floor(quality))
            self.scale.check(self.name, math.ceil(quality))
        check_alpha(alpha)
        self._require(self.unavailable())
        return self._encode_between(self._storable(image), quality, alpha)

    def settings_between(self, quality: float) -> Hashable:
        """Settings that :meth:`encode_between` uses at a quality: where they are equal, so are the files."""
        return quality

    def _encode_between(self, image: Image.Image, quality: float, alpha: float) -> bytes:
        """Compress at a quality that is not whole, for codecs that are ``fine``; here those whose encoder takes it."""
        return self._encode(image, quality, alpha)  # type: ignore[arg-type]

    def decode(self, data: bytes, quality: SupportsIndex | None = None, *, as_stored: bool = False) -> Image.Image:
        """Decompress the bytes of a file to an upright image in mode L, LA, RGB or RGBA.

        Args:
            data: a complete file; for progressive codecs also a prefix that ends after a segment.
            quality: progressive codecs decode only as far as this quality; others ignore it, with a note.
            as_stored: return the pixels and the metadata as the file has them: neither turned nor in a known mode.

        Raises:
            BadFileError: the bytes are damaged, truncated, foreign or ask for too much memory.
        """
        self._require(self.unavailable())
        if quality is not None and not self.progressive:
            note(f"{self.name} files have one quality: quality {quality} has no effect.")
            quality = None
        if quality is not None:
            quality = integer_quality(self.name, quality)
        try:
            image = self._decode(data, quality)
        except (BeholderError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever the bytes provoke
            raise BadFileError(f"The {self.name} file is damaged or in another format ({error}).") from error
        if as_stored:
            return image
        try:
            return normalise(image, turn=self.oriented_by_exif, own=True)
        except (BeholderError, MemoryError):
            raise
        except Exception as error:  # a foreign image of a strange mode
            raise BadFileError(f"The {self.name} file holds an image that cannot be used ({error}).") from None

    def _storable(self, image: Image.Image) -> Image.Image:
        """``image`` in a mode and a colour space that files of this codec hold."""
        if image.mode not in self.modes:
            image = flatten(image)
        return image if profile_space(image.info.get("icc_profile")) in self.profiles else to_srgb(image)

    @staticmethod
    def _require(reason: str | None) -> None:
        if reason is not None:
            raise NotAvailableError(reason)


def integer_quality(codec: str, quality: SupportsIndex) -> int:
    """Return ``quality`` as Python's integer; raise BadOptionError for anything but an integer, NumPy's included."""
    if isinstance(quality, bool) or not isinstance(quality, SupportsIndex):
        raise BadOptionError(f"The quality of {codec} is an integer, not {quality!r}.")
    return operator.index(quality)


def check_alpha(alpha: float) -> float:
    """Return ``alpha`` if it lies in [0, 1], else raise BadOptionError."""
    if isinstance(alpha, bool | str) or not hasattr(alpha, "__float__"):
        raise BadOptionError(f"Alpha is a number from 0 to 1, not {alpha!r}.")
    if not 0.0 <= alpha <= 1.0:
        raise BadOptionError(f"Alpha {alpha:g} is outside [0, 1]: 0 serves people, 1 a machine.")
    return alpha
