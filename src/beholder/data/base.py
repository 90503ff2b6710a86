"""Interface of all sources of images, whether it is a folder, a data set or shards far away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from beholder.reading import open_image

PART = 1000
"""The most examples in one part of a source that has no shards."""
UNLABELLED = -1
"""Value that stands for no label in an array of labels."""


@dataclass(frozen=True)
class ClassInfo:
    """One class; ``wnid`` is its WordNet id such as ``n01440764``, empty where it has none."""

    index: int
    wnid: str
    name: str


@dataclass(frozen=True)
class Example:
    """One image as it was stored.

    ``key`` is unique in its source, stays the same from run to run and from folder to shards, and consists of ASCII
    letters, digits, ``_`` and ``-``: it can name a file.  ``data`` is the untouched image file, ``name`` the name it
    had, without folders.  ``label`` counts :attr:`Source.classes` from 0 and is None in an unlabelled source.
    """

    key: str
    data: bytes
    label: int | None
    wnid: str | None
    name: str


class Source(ABC):
    """A list of images that are read one by one when asked for.

    Opening one is cheap, ``source[i]`` reads one image only, sources can be pickled and shared between threads.
    """

    name: str
    """Name in a report, such as ``imagenet-val``."""
    classes: tuple[ClassInfo, ...] = ()
    """Classes that labels stand for, in the order of their indices; empty if there are no labels."""

    @property
    def labelled(self) -> bool:
        """Whether the examples carry labels."""
        return bool(self.classes)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Example:
        """Read one example; negative indices count from the end.

        Raises:
            IndexError: there is no such example.
            BadImageError: the file has gone or cannot be read.
            BadFileError: the shard is damaged.
        """

    @abstractmethod
    def key(self, index: int) -> str:
        """The key of an example, without reading the image."""

    @abstractmethod
    def labels(self) -> np.ndarray:
        """The labels of all examples, int32 (N,), without reading images; all -1 if there are none."""

    def parts(self) -> list[range]:
        """Consecutive ranges of indices that are best read together: shards, or at most 1000 files each."""
        return [range(start, min(start + PART, len(self))) for start in range(0, len(self), PART)]

    def examples(self, part: range) -> Iterator[Example]:
        """The examples of one part in order; faster than one by one where they lie far away."""
        return (self[index] for index in part)

    def __iter__(self) -> Iterator[Example]:
        for part in self.parts():
            yield from self.examples(part)

    def position(self, index: int) -> int:
        """``index`` from 0 to ``len(self) - 1``; IndexError if there is no such example."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self):,} images: there is no number {index:,}.")
        return index % len(self)


def decode(example: Example) -> Image.Image:
    """The picture of ``example``, upright, in mode L, LA, RGB or RGBA.

    Raises:
        BadImageError: the file is no image, damaged or too large.
    """
    file = BytesIO(example.data)
    file.name = example.name  # what the error calls it
    return open_image(file)
