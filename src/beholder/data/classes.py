"""From the names that people give to classes to class indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from beholder.data.base import ClassInfo
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
    or by its readable name, in which case and underscores do not matter (``great_white_shark``).
    """
    wnid, name = split_name(text)
    return wnid_indices().get(wnid) if wnid else _name_indices().get(_plain(name))


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
    """
    distinct = sorted(set(names))
    if not own:
        known = {name: imagenet_index(name) for name in distinct}
        found = {name: index for name, index in known.items() if index is not None}
        if len(found) == len(known):
            return (imagenet_classes() if found else ()), found
    if all(name.isascii() and name.isdigit() for name in distinct):
        distinct.sort(key=lambda name: (int(name), name))
    classes = tuple(ClassInfo(index, *split_name(name)) for index, name in enumerate(distinct))
    return classes, {name: index for index, name in enumerate(distinct)}


def match_classes(classes: Sequence[ClassInfo], others: Sequence[tuple[str, str]]) -> list[int] | None:
    """Where each of a source's ``classes`` lies among an observer's labels ``others``, pairs of wnid and name.

    Classes are the same if their wnids are, or, where one of them has none, their names.  The result maps a
    source's label to the observer's; None if the observer does not know all classes, so that accuracy says nothing.
    """
    by_wnid = {wnid: index for index, (wnid, _) in enumerate(others) if wnid}
    by_name = {_plain(name): index for index, (_, name) in enumerate(others)}
    result = []
    for entry in classes:
        index = by_wnid.get(entry.wnid) if entry.wnid else None
        if index is None:
            index = by_name.get(_plain(entry.name))
            if index is not None and entry.wnid and others[index][0]:
                index = None  # the same word for another synset
        if index is None:
            return None
        result.append(index)
    return result or None


@cache
def _name_indices() -> dict[str, int]:
    return {_plain(entry.name): entry.index for entry in imagenet_classes()}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
