"""Protocols: which pixels are compressed, and which are classified.

``native``
    The image is compressed as it is.  The observer takes its own view of original and decompressed image.
``paper``
    The protocol of Weber et al. (arXiv 1910.03472).  The short side is resized to the classifier's input rounded up
    to a multiple of 16, plus 32 (224 -> 256, 299 -> 336).  The central square is compressed.  The classifier sees its
    central ``input_size`` pixels, never resized again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from PIL import Image

from beholder.errors import BadOptionError
from beholder.observers import Observer
from beholder.pictures.colour import to_srgb
from beholder.pictures.modes import flatten

_BLOCK = 16
_MARGIN = 32


class Protocol(ABC):
    """Two crops: before compression and before classification."""

    name: str

    @abstractmethod
    def prepare(self, image: Image.Image, input_size: int) -> Image.Image:
        """The image to compress (L, LA, RGB or RGBA) for a classifier that takes ``input_size`` pixels."""

    @abstractmethod
    def view(self, image: Image.Image, observer: Observer) -> Image.Image:
        """Pixels that ``observer`` classifies of a prepared or decompressed image: RGB, input_size x input_size."""


class Native(Protocol):
    """The image as it is."""

    name = "native"

    def prepare(self, image: Image.Image, input_size: int) -> Image.Image:
        """Return ``image`` (L, LA, RGB or RGBA)."""
        return image

    def view(self, image: Image.Image, observer: Observer) -> Image.Image:
        """The observer's own view, of sRGB colours."""
        return observer.view(to_srgb(flatten(image)))


class Paper(Protocol):
    """A resized square, of which the classifier sees the centre."""

    name = "paper"

    def prepare(self, image: Image.Image, input_size: int) -> Image.Image:
        """An sRGB square of :func:`paper_side` pixels, without opacity and metadata."""
        side, short = paper_side(input_size), min(image.size)
        # Cropped before it is resized: an image of 1 x 10 million pixels would fill the memory.
        square = centre_crop(to_srgb(flatten(image)).convert("RGB"), short)
        square = square.resize((side, side), Image.Resampling.BICUBIC)
        square.info = {}
        return square

    def view(self, image: Image.Image, observer: Observer) -> Image.Image:
        """The central ``input_size`` x ``input_size`` pixels, RGB."""
        return centre_crop(flatten(image).convert("RGB"), observer.info.input_size)


PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Native(), Paper())}


def get(name: str) -> Protocol:
    """The protocol called ``name``; BadOptionError lists the known ones."""
    if name not in PROTOCOLS:
        raise BadOptionError(f"There is no protocol {name!r}: choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def check_metadata(protocol: Protocol, keep_metadata: bool) -> None:
    """Raise BadOptionError where metadata are to be kept of squares that have none."""
    if keep_metadata and protocol.name == Paper.name:
        raise BadOptionError("The squares of the protocol paper have no metadata: leave out --keep-metadata.")


def paper_side(input_size: int) -> int:
    """Side of the square that the ``paper`` protocol compresses."""
    return -(-input_size // _BLOCK) * _BLOCK + _MARGIN


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """The central ``side`` x ``side`` pixels of an image, of any mode, that has them."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
