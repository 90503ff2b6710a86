"""WebDataset shards that other programs wrote: tars of samples, without Beholder's index.

Members whose names agree up to the first dot of the file's name are one sample (https://github.com/webdataset/webdataset):
``0001.jpg``, ``0001.cls``.  The class is the ``.cls`` member, an index or a name, or in the ``.json`` member the key
``wnid``, ``class``, ``class_name`` or ``label``.  Names of numbered classes are read from ``classnames.txt``,
``classes.txt`` or ``labels.txt`` beside the shards, one a line.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.base import ClassInfo
from beholder.data.classes import imagenet_classes, resolve
from beholder.data.files import SUFFIXES, Listing, Spans
from beholder.data.published.archives import members_with_data
from beholder.data.shards.index import INDEX, TABLE_FORMAT
from beholder.errors import BadFileError, BadImageError, note
from beholder.json_text import parse_json
from beholder.observers import labels as label_files

NAMES = ("classnames.txt", "classes.txt", "labels.txt")

_CLASS_KEYS = ("wnid", "class", "class_name", "label")
_SNIFF = 256
_MOST_TEXT = 1 << 20  # bytes of a .cls or .json member
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_NUMBER = re.compile(r"[-_.]*\d+$")


def find_shards(root: Path) -> list[Path]:
    """The tar files directly in ``root``, sorted."""
    try:
        return sorted(path for path in root.iterdir() if path.suffix == ".tar" and path.is_file())
    except OSError:
        return []


def check_compressed(root: Path) -> None:
    """Raise BadFileError if ``root`` holds compressed tars, in which no image can be found without reading all."""
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name.endswith(_COMPRESSED):
            raise BadFileError(f"{path} is compressed: unpack it to a .tar first, since images are read in place.")


def read_webdataset(root: Path, split: str | None = None, own_classes: bool = False) -> Listing:
    """The samples of the shards in ``root``.

    Args:
        split: ``train`` or ``val``, by which the shards are chosen where their names tell several sets apart.
        own_classes: number the classes from 0 even if all of them are classes of ImageNet.

    Raises:
        BadImageError: no sample holds an image.
        BadFileError: a shard is damaged or compressed, a sample lacks its class or holds two images, or the folder
            holds several data sets.
    """
    name, shards = _of_one_set(root, find_shards(root), split)
    if any(_is_ours(path) for path in shards):
        raise BadFileError(f"{root} holds tar files but no {INDEX}: run the `beholder data create` that began it.")
    found = _Samples()
    for number, shard in enumerate(shards):
        _read_shard(shard, number, found)
    if not found.paths:
        kinds = ", ".join(kind for kind, _ in found.kinds.most_common(5)) or "nothing"
        raise BadImageError(
            f"The shards in {root} hold no images but {kinds}: samples need a member such as KEY.jpg or KEY.png."
        )
    spans = Spans(
        tuple(path.name for path in shards), np.array(found.which), np.array(found.offsets), np.array(found.sizes)
    )
    labels, classes = _labels(root, found, own_classes)
    return Listing(name, root, found.paths, labels, classes, spans=spans)


def _is_ours(shard: Path) -> bool:
    """Whether `beholder data create` wrote this shard, by the table beside it."""
    try:
        with open(shard.with_suffix(".json"), "rb") as file:
            return TABLE_FORMAT.encode() in file.read(_SNIFF)
    except (OSError, ValueError):
        return False


@dataclass
class _Samples:
    paths: list[str] = field(default_factory=list)
    """``SHARD/KEY.SUFFIX``, unique even where two shards have the same key."""
    which: array[int] = field(default_factory=lambda: array("i"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    classes: list[str | None] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """Extensions of all members."""


@dataclass
class _Sample:
    images: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By extension, such as ``jpg`` or ``seg.png``."""
    label: str | None = None

    def image(self) -> list[tuple[str, int, int]]:
        """The images that may be meant: those with a plain extension come before masks and the like."""
        plain = [image for extension, image in self.images.items() if "." not in extension]
        return plain or list(self.images.values())


def _read_shard(path: Path, number: int, found: _Samples) -> None:
    samples: dict[str, _Sample] = {}
    for name, offset, size, data in members_with_data(path, _is_label, _MOST_TEXT):
        place = PurePosixPath(name)
        stem, dot, extension = place.name.partition(".")
        if not stem or place.name.startswith("__"):  # hidden files, and WebDataset's own members
            continue
        found.kinds[dot + extension.lower()] += 1
        sample = samples.setdefault(str(place.with_name(stem)), _Sample())
        if data is not None:
            sample.label = _label_in(data, extension, f"{path}/{name}") or sample.label
        elif "." + extension.rpartition(".")[2].lower() in SUFFIXES:
            sample.images[extension.lower()] = (name, offset, size)
    for key, sample in samples.items():
        images = sample.image()
        if len(images) > 1:
            two = " and ".join(PurePosixPath(name).name for name, *_ in images[:2])
            raise BadFileError(f"The sample {key} in {path} holds two images, {two}: write one image a sample.")
        if not images:
            continue
        name, offset, size = images[0]
        found.paths.append(f"{path.stem}/{name}")
        found.which.append(number)
        found.offsets.append(offset)
        found.sizes.append(size)
        found.classes.append(sample.label)
        if (sample.label is None) != (found.classes[0] is None):
            lacking = found.paths[0] if found.classes[0] is None else f"{path.stem}/{key}"
            raise BadFileError(f"The sample {lacking} in {path.parent} has no class, but others have: add its .cls.")


def _is_label(name: str) -> bool:
    extension = PurePosixPath(name).name.partition(".")[2].lower()
    return extension in ("cls", "cls.txt", "json")


def _label_in(data: bytes, extension: str, shown: str) -> str | None:
    try:
        text = data.decode("utf-8").strip()
        if extension.lower() != "json":
            if not text or not text.isprintable() or len(text) > 1000:
                raise ValueError("it holds no class")
            return text
        content = parse_json(text, strict=False)
    except ValueError as error:
        raise BadFileError(f"{shown} cannot be read ({error}): write the class as text.") from None
    if not isinstance(content, dict):
        return None
    for key in _CLASS_KEYS:
        value = content.get(key)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value):
            return str(value)
    return None


def _labels(root: Path, found: _Samples, own: bool) -> tuple[np.ndarray | None, tuple[ClassInfo, ...]]:
    texts = [text for text in found.classes if text is not None]
    if not texts:
        return None, ()
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        classes, mapping = resolve(texts, own)
        return np.array([mapping[text] for text in texts], np.int32), classes
    numbers = np.array([int(text) for text in texts], np.int32)
    table = next((root / name for name in NAMES if (root / name).is_file()), None)
    if table is not None:
        names = label_files.read(table)
        if numbers.max() >= len(names):
            raise BadFileError(f"{table} names {len(names):,} classes, but a sample has the class {numbers.max()}.")
        return numbers, tuple(ClassInfo(i, *entry) for i, entry in enumerate(names))
    present = np.unique(numbers)
    if not own and len(present) == len(imagenet_classes()) == numbers.max() + 1:
        return numbers, imagenet_classes()
    note(
        f"Nothing in {root} says what its {len(present):,} classes are called, so they are called by their numbers: "
        f"write {NAMES[0]} with one name a line."
    )
    classes, mapping = resolve(texts, own=True)
    return np.array([mapping[text] for text in texts], np.int32), classes


def _of_one_set(root: Path, shards: Sequence[Path], split: str | None) -> tuple[str, Sequence[Path]]:
    """The name of the data set and its shards; their names are equal but for a number at the end."""
    if not shards:
        check_compressed(root)
        raise BadImageError(f"The folder {root} holds no tar files: choose another.")
    sets: dict[str, list[Path]] = {}
    for path in shards:
        sets.setdefault(_NUMBER.sub("", path.stem), []).append(path)
    chosen = [name for name in sets if split is not None and split in re.split(r"[-_.]", name.lower())]
    if len(sets) == 1 or len(chosen) == 1:
        name = chosen[0] if chosen else next(iter(sets))
        return name or root.resolve().name or "images", sets[name]
    shown = ", ".join(sorted(sets)[:5])
    raise BadFileError(f"{root} holds shards of several sets ({shown}): put each into a folder of its own.")
