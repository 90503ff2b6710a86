"""Where images come from: folders, data sets as they are published, and shards on this machine or far away.

    from beholder import data

    source = data.open_source("photos/")                    # a plain folder
    source = data.open_source("ilsvrc/", "imagenet", "val") # a data set in its published layout
    source = data.open_source("s3://bucket/imagenet-val")   # shards that `beholder data create` wrote
    source = data.open_source("wds/")                       # WebDataset tars that other programs wrote
    example = source[0]                                     # key, file name, untouched bytes, label
    image = data.decode(example)                            # a Pillow image

- :mod:`.base` -- the interface: :class:`Source`, :class:`Example`, :class:`ClassInfo`, :func:`decode`.
- :mod:`.folder`, :mod:`.files`, :mod:`.keys` -- plain folders, their labels, and names for their images.
- :mod:`.datasets`, :mod:`.published` -- layouts in which data sets are published, WebDataset's tars among them.
- :mod:`.classes` -- names of classes to class indices.
- :mod:`.shards` -- writing, reading and checking our shards.
- :mod:`.strings` -- many names in little memory.
"""

from __future__ import annotations

import os
from pathlib import Path

from beholder.data.base import ClassInfo, Example, Source, decode
from beholder.data.classes import imagenet_classes, match_classes
from beholder.errors import BadOptionError

__all__ = ["ClassInfo", "Example", "Source", "decode", "imagenet_classes", "match_classes", "open_source"]

_SNIFF = 256


def open_source(
    path_or_url: str | os.PathLike[str],
    dataset: str | None = None,
    split: str | None = None,
    *,
    own_classes: bool = False,
) -> Source:
    """Open shards, a plain folder, or a data set in the layout in which it is published.

    Args:
        path_or_url: a folder; of shards also a URL for fsspec, or the path or URL of their ``index.json``.
        dataset: ``imagenet``, ``stanford_dogs``, ``cub200``, ``kodak`` or ``folder``; None to see what is there.
            Shards have to hold that data set.
        split: ``train`` or ``val``, where there is a choice (by default ``val``).  Shards of a data set that has splits
            have to hold that one.
        own_classes: number the classes of a plain folder from 0 even if all of them are classes of ImageNet.

    Raises:
        BadOptionError: there is no such data set or split, or the shards hold another.
        BadImageError: there is no such folder, or no image in it.
        BadFileError: labels, lists or shards are missing or damaged.
        NotAvailableError: a library that a URL needs is not installed.
    """
    from beholder.data import datasets
    from beholder.data.shards.index import INDEX
    from beholder.data.shards.storage import is_url

    text = os.fspath(path_or_url)
    if dataset is not None or split is not None:
        datasets.check_dataset(dataset or "folder", split)
    if is_url(text) or Path(text).name == INDEX:
        folder = text.removesuffix(INDEX).rstrip("/") if text.endswith(INDEX) else text
        return _open_shards(folder or ".", dataset, split)
    root = Path(text)
    if _holds_shards(root / INDEX):
        return _open_shards(text, dataset, split)

    from beholder.data.files import FileSource
    from beholder.data.folder import read_folder

    dataset = dataset or (datasets.recognise(root) if root.is_dir() else None)
    if dataset is not None and (dataset != "folder" or split is not None):
        return FileSource(datasets.read_dataset(dataset, root, split or "val", own_classes))
    return FileSource(read_folder(root, own_classes))


def _open_shards(folder: str, dataset: str | None, split: str | None) -> Source:
    from beholder.data.shards.reading import ShardSource

    source = ShardSource(folder)
    if source.index.dataset == "folder":
        split = None  # a name that its maker gave, or forgot to give
    for wanted, found, what in ((dataset, source.index.dataset, "data set"), (split, source.index.split, "split")):
        if wanted is not None and wanted != found:
            raise BadOptionError(f"The shards in {folder} hold the {what} {found!r}, not {wanted!r}: give others.")
    return source


def _holds_shards(index: Path) -> bool:
    """Whether this ``index.json`` is ours; other programs use the name, too."""
    from beholder.data.shards.index import FORMAT

    try:
        with open(index, "rb") as file:
            return FORMAT.encode() in file.read(_SNIFF)
    except (OSError, ValueError):
        return False
