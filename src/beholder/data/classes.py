"""From the names that people give to classes to class indices."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from beholder.data.base import ClassInfo
from beholder.errors import BadFileError
from beholder.observers import labels

_WNID = re.compile(r"(n\d{8})(?:[-_ .]+(.*))?", re.ASCII | re.DOTALL)


@cache
def imagenet_classes() -> tuple[ClassInfo, ...]:
    """The 1000 classes of ImageNet in Keras' order, that of sorted WordNet ids."""
    return tuple(ClassInfo(index, *labels.label(index)) for index in range(labels.COUNT))


@cache
def wnid_indices() -> dict[str, int]:
    """WordNet id -> class index of ImageNet."""
    return {entry.wnid: entry.index for entry in imagenet_classes()}


def imagenet_index(text: str) -> int | None:
    """The ImageNet class that ``text`` names, None if it names none.

    A class is named by its wnid, alone or before a name (``n01440764``, ``n01440764_tench``, ``n02085620-Chihuahua``),
    or by its readable name, with underscores for spaces or without (``great_white_shark``).  Case matters only where
    it tells two classes apart: ``Cardigan`` is a dog, ``cardigan`` a garment, ``CARDIGAN`` neither.
    """
    wnid, name = split_name(text)
    return wnid_indices().get(wnid) if wnid else _imagenet_names().find(name)


def split_name(text: str) -> tuple[str, str]:
    """WordNet id (empty if there is none) and readable name of a class folder's name."""
    match = _WNID.fullmatch(text)
    if not match:
        return "", text
    wnid = match[1]
    name = (match[2] or "").replace("_", " ").strip()
    if not name:
        index = wnid_indices().get(wnid)
        name = wnid if index is None else imagenet_classes()[index].name
    return wnid, name


def resolve(names: Iterable[str], own: bool = False) -> tuple[tuple[ClassInfo, ...], dict[str, int]]:
    """The classes that ``names`` stand for, and name -> class index.

    If all of them name ImageNet classes these are the 1000 of ImageNet, unless ``own`` asks for the names alone.
    Otherwise each name is a class, sorted (as numbers if all are).

    Raises:
        BadFileError: all of them name ImageNet classes, but one may be either of two.
    """
    distinct = sorted(set(names))
    if not own:
        known = {name: imagenet_index(name) for name in distinct}
        found = {name: index for name, index in known.items() if index is not None}
        open_names = [name for name in distinct if name not in found]
        several = {name: _imagenet_names().several(name) for name in open_names}
        if open_names and all(several.values()):
            name = open_names[0]
            choices = " or ".join(f"{imagenet_classes()[i].wnid} ({imagenet_classes()[i].name})" for i in several[name])
            raise BadFileError(f"The class {name} may be ImageNet's {choices}: name it by that number.")
        if not open_names:
            return (imagenet_classes() if found else ()), found
    if all(name.isascii() and name.isdigit() for name in distinct):
        distinct.sort(key=lambda name: (int(name), name))
    classes = tuple(ClassInfo(index, *split_name(name)) for index, name in enumerate(distinct))
    return classes, {name: index for index, name in enumerate(distinct)}


def match_classes(classes: Sequence[ClassInfo], others: Sequence[tuple[str, str]]) -> list[int] | None:
    """Where each of a source's ``classes`` lies among an observer's labels ``others``, pairs of wnid and name.

    Classes are the same if their wnids are, or, where one of them has none, their names; case matters only where it
    tells two classes apart.  The result maps a source's label to the observer's; None if the observer does not know all
    classes, so that accuracy says nothing.
    """
    by_wnid = {wnid: index for index, (wnid, _) in enumerate(others) if wnid}
    by_name = _Names(name for _, name in others)
    result = []
    for entry in classes:
        index = by_wnid.get(entry.wnid) if entry.wnid else None
        if index is None:
            index = by_name.find(entry.name)
            if index is not None and entry.wnid and others[index][0]:
                index = None  # the same word for another synset
        if index is None:
            return None
        result.append(index)
    return result or None


class _Names:
    """Where names lie in a list: an exact match comes before one that ignores case, and doubtful names are nowhere."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._folded: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            self._exact[_plain(name)].append(index)
            self._folded[_plain(name).casefold()].append(index)

    def find(self, name: str) -> int | None:
        """The index of ``name``; None if there is none, or more than one."""
        plain = _plain(name)
        found = self._exact.get(plain) or self._folded.get(plain.casefold(), [])
        return found[0] if len(found) == 1 else None

    def several(self, name: str) -> list[int]:
        """The indices that ``name`` may stand for, where they are more than one."""
        found = self._folded.get(_plain(name).casefold(), [])
        return found if len(found) > 1 and self.find(name) is None else []


@cache
def _imagenet_names() -> _Names:
    return _Names(entry.name for entry in imagenet_classes())


def _plain(name: str) -> str:
    # Macs take names of files apart into letters and accents.
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())
