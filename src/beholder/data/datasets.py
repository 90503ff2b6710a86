"""The data sets whose published layout can be read.

To add one, write a function from folder and split to a :class:`~beholder.data.files.Listing` and add its line to
``_READERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from beholder.data.files import Listing
from beholder.errors import BadOptionError

SPLITS = ("train", "val")

# name -> "module:function", imported when asked for
_READERS = {
    "imagenet": "beholder.data.published.imagenet:read_imagenet",
    "stanford_dogs": "beholder.data.published.fine_grained:read_stanford_dogs",
    "cub200": "beholder.data.published.fine_grained:read_cub200",
    "kodak": "beholder.data.datasets:read_kodak",
    "folder": "beholder.data.folder:read_folder",
}


def names() -> list[str]:
    """The names of all data sets."""
    return list(_READERS)


def check_dataset(name: str, split: str | None) -> None:
    """Raise BadOptionError unless there are such a data set and split (None: any)."""
    if name not in _READERS:
        raise BadOptionError(f"There is no data set {name!r}: choose one of {', '.join(_READERS)}.")
    if split is not None and split not in SPLITS:
        raise BadOptionError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")


def read_dataset(name: str, root: Path, split: str = "val", own_classes: bool = False) -> Listing:
    """Content of the data set's published layout below ``root``; ``own_classes`` is for ``folder``.

    Raises:
        BadOptionError: there is no such data set or split.
        BadImageError: there are no images.
        BadFileError: a list or archive is missing or damaged.
    """
    check_dataset(name, split)
    if name == "folder":
        return read_split(root, split, own_classes)
    module, function = _READERS[name].split(":")
    reader: Callable[[Path, str], Listing] = getattr(import_module(module), function)
    return reader(root, split)


def recognise(root: Path) -> str | None:
    """The data set whose lists lie in ``root``, None for a plain folder."""
    marks = {
        "stanford_dogs": ("lists/test_list.mat", "test_list.mat", "lists/train_list.mat", "train_list.mat"),
        "cub200": ("train_test_split.txt", "CUB_200_2011/train_test_split.txt"),
        "imagenet": ("ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12.tar.gz", "meta.mat", "ILSVRC"),
    }
    for name, files in marks.items():
        if any((root / file).exists() for file in files):
            return name
    return None


def read_kodak(root: Path, split: str) -> Listing:
    """The Kodak set: a folder of images without labels, all of them in the split ``val``.

    Raises:
        BadOptionError: another split than ``val`` is asked for.
    """
    from beholder.data.folder import read_folder

    if split != "val":
        raise BadOptionError("The Kodak images are for testing only: choose --split val.")
    return replace(read_folder(root), name="kodak-val", labels=None, classes=(), folders=False)


def read_split(root: Path, split: str, own_classes: bool = False) -> Listing:
    """A plain folder, or its subfolder of the split's name if there is one."""
    from beholder.data.folder import read_folder

    if not (root / split).is_dir():
        return read_folder(root, own_classes, split)
    name = root.resolve().name or "images"
    return replace(read_folder(root / split, own_classes), name=f"{name}-{split}")
