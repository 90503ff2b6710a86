"""A plain folder of images, and the three ways to label them.

1. ``labels.csv`` in it with the columns ``file`` (path relative to the folder) and ``label`` (wnid, class name, or
   an index of ImageNet), a row for every image;
2. class folders: every image lies below a folder that is named by wnid or class name (they may lie in a folder of
   their own);
3. names of files that begin with ``{class index}_``, an index of ImageNet, as in ``0042_agama.jpg``.

Otherwise the images have no labels.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.base import ClassInfo
from beholder.data.classes import imagenet_classes, imagenet_index, resolve
from beholder.data.files import Listing, find_images
from beholder.errors import BadFileError, BadImageError, note

LABELS = "labels.csv"

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_INDEXED = re.compile(r"(\d{1,4})_(n\d{8}(?=_|$))?", re.ASCII)

Labels = tuple[tuple[ClassInfo, ...], list[int]]


def read_folder(root: Path, own_classes: bool = False, split: str | None = None) -> Listing:
    """The images below ``root`` in the order of their paths, with labels if there are any.

    If all classes are known to ImageNet, labels are its indices, unless ``own_classes`` is true.  A folder of tars is
    read as WebDataset shards, those of ``split`` where there are several sets.

    Raises:
        BadImageError: there is no such folder, or no image in it.
        BadFileError: ``labels.csv`` does not fit to the images, images lie beside class folders, or the folders are
            parts of a data set.
    """
    paths = find_images(root)
    if not paths:
        from beholder.data.published import webdataset

        webdataset.check_compressed(root)
        if webdataset.find_shards(root):
            return webdataset.read_webdataset(root, split, own_classes)
        raise BadImageError(f"The folder {root} holds no images: choose another.")
    labels = (
        _from_csv(root, paths, own_classes)
        or _from_class_folders(root, paths, own_classes)
        or _from_names(root, paths, own_classes)
    )
    name = root.resolve().name or "images"
    if labels is None:
        return Listing(name, root, paths, folders=True)
    return Listing(name, root, paths, np.array(labels[1], np.int32), labels[0], folders=True)


def _from_csv(root: Path, paths: list[str], own: bool) -> Labels | None:
    table = root / LABELS
    if not table.is_file():
        return None
    rows: dict[str, str] = {}
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if not {"file", "label"} <= set(reader.fieldnames or ()):
                raise BadFileError(f"{table} does not begin with the line file,label: add it.")
            for row in reader:
                path, text = (row["file"] or "").strip(), (row["label"] or "").strip()
                path = str(PurePosixPath(path.replace("\\", "/")))
                if not text or rows.setdefault(path, text) != text:
                    problem = "no label" if not text else "two labels"
                    raise BadFileError(f"{table} gives {problem} to {path} (line {reader.line_num}): correct it.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFileError(f"{table} cannot be read ({error}): save it as CSV in UTF-8.") from None
    there = set(paths)
    for path in rows:
        if path not in there:
            raise BadFileError(f"{table} names {path}, which is no image in {root}: remove the line.")
    for path in paths:
        if path not in rows:
            raise BadFileError(f"{table} has no line for {path}: add one, or remove the image.")
    texts = [rows[path] for path in paths]
    if not own and all(text.isascii() and text.isdigit() for text in texts):
        indices = [int(text[:9]) for text in texts]
        if max(indices) >= len(imagenet_classes()):
            raise BadFileError(
                f"{table} has the label {max(indices)}, but numbers mean ImageNet's classes 0 to "
                f"{len(imagenet_classes()) - 1}: use names of classes."
            )
        return imagenet_classes(), indices
    classes, mapping = resolve(texts, own)
    return classes, [mapping[text] for text in texts]


def _from_class_folders(root: Path, paths: list[str], own: bool) -> Labels | None:
    loose = [path for path in paths if "/" not in path]
    folders = [path.split("/", 1)[0] for path in paths if "/" in path]
    names = sorted(set(folders))
    if loose:
        if names:
            _look_at_loose(root, loose, names, len(folders))
        return None
    if len(names) == 1 and imagenet_index(names[0]) is None:
        # A folder in a folder, not a class; the classes may lie in it.
        return _from_class_folders(root / names[0], [path.split("/", 1)[1] for path in paths], own)
    if len(names) > 1 and all(name.lower() in _SPLITS for name in names):
        raise BadFileError(f"{root} holds the parts {_and(names)} of a data set: give one, such as {root / names[-1]}.")
    classes, mapping = resolve(folders, own)
    return classes, [mapping[folder] for folder in folders]


def _look_at_loose(root: Path, loose: list[str], names: list[str], inside: int) -> None:
    """Tell of images beside class folders, which would take the labels from all images.

    Raises:
        BadFileError: the folders are classes of ImageNet.
    """
    if all(_INDEXED.match(PurePosixPath(path).stem) for path in loose):
        return
    more = f" and {len(loose) - 1:,} more images lie" if len(loose) > 1 else " lies"
    if all(imagenet_index(name) is not None for name in names):
        raise BadFileError(f"{root / loose[0]}{more} beside the class folders {_and(names)}: move the image into one.")
    if len(names) > 1 and len(loose) < inside:
        note(
            f"{root / loose[0]}{more} beside the folders {_and(names)}, so that no image has a label: "
            "if these are classes, move the image."
        )


def _and(names: list[str]) -> str:
    shown = names if len(names) < 6 else [*names[:4], f"{len(names) - 4:,} more"]
    return " and ".join(", ".join(shown).rsplit(", ", 1))


def _from_names(root: Path, paths: list[str], own: bool) -> Labels | None:
    matches = [_INDEXED.match(PurePosixPath(path).stem) for path in paths]
    found = [match for match in matches if match]
    classes = imagenet_classes()
    if len(found) < len(paths) or any(int(match[1]) >= len(classes) for match in found):
        return None
    indices = [int(match[1]) for match in found]
    for path, match, index in zip(paths, found, indices, strict=True):
        if match[2] and match[2] != classes[index].wnid:
            raise BadFileError(
                f"{root / path} begins with class {index}, which is {classes[index].wnid} in ImageNet: "
                "correct the name, or give a labels.csv."
            )
    if not own:
        return classes, indices
    wnids = [classes[index].wnid for index in indices]
    few, mapping = resolve(wnids, own)
    return few, [mapping[wnid] for wnid in wnids]
