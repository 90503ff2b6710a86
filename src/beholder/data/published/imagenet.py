"""ImageNet (ILSVRC-2012) as it is published: the devkit, validation images and training images.

Labels are Keras': classes count from 0 in the order of their WordNet ids. The devkit counts them from 1 in an order
of its own. ``meta.mat`` holds its number (``ILSVRC2012_ID``) and the wnid of each class. Line ``i`` of
``ILSVRC2012_validation_ground_truth.txt`` holds the number of ``ILSVRC2012_val_{i:08}.JPEG``.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.classes import imagenet_classes, wnid_indices
from beholder.data.files import Listing, Spans, find_images, read_bounded
from beholder.data.published.archives import Entry, images_in_tar, images_in_tars, members
from beholder.data.published.matlab import read_variable
from beholder.data.strings import PackedStrings
from beholder.errors import BadFileError, BadImageError

META = "meta.mat"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
DEVKIT = "ILSVRC2012_devkit_t12"

_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.ASCII | re.IGNORECASE)
_WNID = re.compile(r"n\d{8}", re.ASCII)
_MAX_DEVKIT = 256 << 20  # of its files and of their archive unpacked; really 10 MB


def read_imagenet(root: Path, split: str) -> Listing:
    """The training or validation images below ``root``.

    Validation images lie flat (with the devkit beside them), in wnid folders, or in ``ILSVRC2012_img_val.tar``;
    training images in wnid folders, in one tar a wnid, or in ``ILSVRC2012_img_train.tar``.  They are looked for in
    ``root``, ``root/{split}``, ``root/ILSVRC2012_img_{split}`` and ``root/ILSVRC/Data/CLS-LOC/{split}``.

    Raises:
        BadImageError: there are no images.
        BadFileError: the devkit is missing or damaged, or an archive is damaged.
    """
    if not root.is_dir():
        raise BadImageError(f"There is no folder {root}: check the path.")
    places = [root / split, root / f"ILSVRC2012_img_{split}", root / "ILSVRC" / "Data" / "CLS-LOC" / split, root]
    places = [place for place in places if place.is_dir()]
    name = f"imagenet-{split}"
    for place in places:
        listing = _flat(name, root, place) if split == "val" else None
        listing = listing or _class_folders(name, place) or (_class_tars(name, place) if split == "train" else None)
        if listing:
            return listing
    for place in places:
        archive = place / f"ILSVRC2012_img_{split}.tar"
        if archive.is_file():
            return _val_tar(name, root, archive) if split == "val" else _train_tar(name, archive)
    flat = "ILSVRC2012_val_*.JPEG" if split == "val" else "n01440764.tar and so on"
    raise BadImageError(
        f"There are no {split} images of ImageNet in {root}: it should hold folders named by wnid, {flat}, "
        f"or ILSVRC2012_img_{split}.tar."
    )


def read_ground_truth(root: Path) -> np.ndarray:
    """Keras' labels of the validation images 1, 2, ..., int32 (50000,), from the devkit below ``root``.

    The devkit may be unpacked, or the tar.gz that it is published as.

    Raises:
        BadFileError: a file of it is missing, damaged or foreign.
    """
    table = _label_by_id(root)
    data, shown = _devkit_file(root, GROUND_TRUTH)
    lines = data.split()
    labels = np.empty(len(lines), np.int32)
    for number, line in enumerate(lines):
        index = table.get(int(line[:9])) if line.isdigit() else None
        if index is None:
            raise BadFileError(
                f"{shown} has {line[:20].decode('ascii', 'replace')!r} in line {number + 1}, which is no class of "
                f"{META}: take both from {DEVKIT}."
            )
        labels[number] = index
    return labels


def _label_by_id(root: Path) -> dict[int, int]:
    """The devkit's own number of a class -> Keras' index."""
    data, shown = _devkit_file(root, META)
    table: dict[int, int] = {}
    foreign = BadFileError(f"{shown} does not describe synsets as {DEVKIT} does: get it again.")
    rows = read_variable(data, "synsets", shown)
    if not isinstance(rows, list):
        raise foreign
    for row in rows:
        try:
            number, children = int(row["ILSVRC2012_ID"][0]), int(row["num_children"][0])
            wnid = str(row["WNID"])
        except (IndexError, KeyError, TypeError, ValueError, OverflowError):
            raise foreign from None
        if children:
            continue  # an inner node of WordNet
        index = wnid_indices().get(wnid)
        if index is None or number in table or index in table.values():
            raise BadFileError(f"{shown} holds {wnid[:20]} as class {number}, unlike ILSVRC-2012: take {DEVKIT}.")
        table[number] = index
    return table


def _devkit_file(root: Path, name: str) -> tuple[bytes, str]:
    """A file of the devkit and its path; the devkit lies in ``root`` or beside it."""
    for base in (root, root.resolve().parent):
        for folder in (base, base / "data", base / DEVKIT / "data", base / DEVKIT, base / "devkit" / "data"):
            path = folder / name
            if path.is_file():
                return read_bounded(path, _MAX_DEVKIT), str(path)
        archive = base / f"{DEVKIT}.tar.gz"
        if archive.is_file():
            return _from_archive(archive, name), f"{archive}/{name}"
    raise BadFileError(
        f"There is no {name} in {root}: the labels of the validation images need the devkit, {DEVKIT}.tar.gz, there."
    )


def _from_archive(path: Path, name: str) -> bytes:
    unpack = zlib.decompressobj(wbits=31)  # gzip
    try:
        data = unpack.decompress(read_bounded(path, _MAX_DEVKIT), _MAX_DEVKIT)
        if not unpack.eof:
            raise BadFileError(f"{path} is truncated, or far larger than published: get it again.")
    except zlib.error as error:
        raise BadFileError(f"{path} is damaged ({error}): get it again.") from None
    for member in members(BytesIO(data), str(path)):
        if PurePosixPath(member.name).name == name:
            return data[member.offset_data : member.offset_data + member.size]
    raise BadFileError(f"{path} lacks {name}: get it again.")


def _flat(name: str, root: Path, place: Path) -> Listing | None:
    names = sorted(path.name for path in place.iterdir() if _VAL_NAME.fullmatch(path.name))
    if not names:
        return None
    labels, missing = _val_labels(root, names)
    return Listing(name, place, names, labels, imagenet_classes(), missing=missing)


def _val_labels(root: Path, names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of these validation images, and the names of those that are not among them."""
    truth = read_ground_truth(root)
    numbers = np.array([int(name[15:23]) for name in names])
    if numbers.min() < 1 or numbers.max() > len(truth):
        raise BadFileError(
            f"{GROUND_TRUTH} in {root} has {len(truth):,} lines, but there is an image number {numbers.max()}: "
            f"take it from {DEVKIT}."
        )
    absent = np.setdiff1d(np.arange(1, len(truth) + 1), numbers)
    return truth[numbers - 1], tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in absent)


def _class_folders(name: str, place: Path) -> Listing | None:
    wnids = _wnids(entry.name for entry in place.iterdir() if entry.is_dir())
    paths = [f"{wnid}/{path}" for wnid in wnids for path in find_images(place / wnid)]
    if not paths:
        return None
    labels = np.array([wnid_indices()[path[:9]] for path in paths], np.int32)
    return Listing(name, place, PackedStrings(paths), labels, imagenet_classes())


def _class_tars(name: str, place: Path) -> Listing | None:
    wnids = _wnids(entry.stem for entry in place.iterdir() if entry.suffix == ".tar" and entry.is_file())
    if not wnids:
        return None
    tars = [f"{wnid}.tar" for wnid in wnids]
    return _in_tars(name, place, tars, [(wnid, images_in_tar(place / f"{wnid}.tar")) for wnid in wnids])


def _train_tar(name: str, archive: Path) -> Listing:
    tars = sorted(images_in_tars(archive))
    wnids = [wnid for wnid, _ in tars]
    if _wnids(wnids) != wnids:
        raise BadFileError(f"{archive} holds other files than one tar for each wnid: get ILSVRC2012_img_train.tar.")
    return _in_tars(name, archive.parent, [archive.name] * len(tars), tars)


def _in_tars(name: str, place: Path, archives: list[str], tars: list[tuple[str, list[Entry]]]) -> Listing:
    counts = [len(entries) for _, entries in tars]
    entries = [entry for _, found in tars for entry in found]
    if not entries:
        raise BadImageError(f"The archives in {place} hold no images: get whole copies.")
    labels = np.repeat(np.array([wnid_indices()[wnid] for wnid, _ in tars], np.int32), counts)
    which = np.repeat(np.arange(len(tars), dtype=np.int32), counts)
    paths = PackedStrings(f"{wnid}/{entry[0]}" for wnid, found in tars for entry in found)
    return Listing(name, place, paths, labels, imagenet_classes(), _spans(archives, which, entries))


def _val_tar(name: str, root: Path, archive: Path) -> Listing:
    entries = [entry for entry in images_in_tar(archive) if _VAL_NAME.fullmatch(entry[0])]
    if not entries:
        raise BadImageError(f"{archive} holds no ILSVRC2012_val_*.JPEG: get ILSVRC2012_img_val.tar.")
    names = [entry[0] for entry in entries]
    labels, missing = _val_labels(root, names)
    spans = _spans([archive.name], np.zeros(len(names), np.int32), entries)
    return Listing(name, archive.parent, names, labels, imagenet_classes(), spans, missing)


def _spans(archives: list[str], which: np.ndarray, entries: list[Entry]) -> Spans:
    offsets = np.array([entry[1] for entry in entries], np.int64)
    sizes = np.array([entry[2] for entry in entries], np.int64)
    return Spans(tuple(archives), which, offsets, sizes)


def _wnids(names: Iterator[str] | list[str]) -> list[str]:
    found = sorted(name for name in names if _WNID.fullmatch(name))
    for wnid in found:
        if wnid not in wnid_indices():
            raise BadFileError(f"{wnid} is no class of ILSVRC-2012: remove it, or use --dataset folder.")
    return found
