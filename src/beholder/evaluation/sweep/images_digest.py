"""A digest of a batch's images: the same as long as their names, labels and contents are."""

from __future__ import annotations

import hashlib

from beholder.data import Example, Source
from beholder.errors import BadImageError

_BYTES = 16


class ImagesDigest:
    """Takes images in their order, as they are read."""

    def __init__(self, source: Source) -> None:
        self._classes = source.classes
        self._hash = hashlib.sha256()

    def add(self, index: int, example: Example | None) -> None:
        """Take the image with this index; None for one that cannot be read."""
        facts: list[object] = [index]
        if example is not None:
            content = hashlib.sha256(example.data).hexdigest()
            label = None if example.label is None else self._classes[example.label]
            facts += [example.key, example.name, len(example.data), content, label and (label.wnid, label.name)]
        self._hash.update(repr(facts).encode("utf-8", "backslashreplace"))

    def __str__(self) -> str:
        return self._hash.hexdigest()[: 2 * _BYTES]


def digest(source: Source, indices: range) -> str:
    """The digest of the images with these indices as they are now."""
    result = ImagesDigest(source)
    for index in indices:
        try:
            example = source[index]
        except BadImageError:
            result.add(index, None)
        else:
            result.add(index, example)
    return str(result)
