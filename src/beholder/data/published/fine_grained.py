"""Stanford Dogs and CUB-200-2011 as they are published.

Stanford Dogs (Khosla et al., FGVC workshop at CVPR 2011): ``Images/n02085620-Chihuahua/*.jpg`` and the lists
``train_list.mat`` and ``test_list.mat`` with a cell array ``file_list`` and an array ``labels`` counting from 1.

CUB-200-2011 (Wah et al., Caltech CNS-TR-2011-001): ``images/001.Black_footed_Albatross/*.jpg``, and in text files of
``id value`` lines ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt`` (1 for training) and
``classes.txt``.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from beholder.data.base import ClassInfo
from beholder.data.classes import split_name
from beholder.data.files import Listing, read_bounded
from beholder.data.published.matlab import MAX_BYTES, read_variable
from beholder.errors import BadFileError, BadImageError

_DOG_LISTS = ("train_list.mat", "test_list.mat")
_Value = TypeVar("_Value")


def read_stanford_dogs(root: Path, split: str) -> Listing:
    """The images of the training or test list; classes in the order of their wnids, as in the lists.

    Raises:
        BadImageError: there are no images.
        BadFileError: a list is missing, damaged, or names a label or path that cannot be.
    """
    wanted = "train_list.mat" if split == "train" else "test_list.mat"
    path = _find(root, [root / "lists" / wanted, root / wanted], f"lists/{wanted} of Stanford Dogs")
    # Both lists together, so that an index means the same in training and test whatever either may lack.
    folder_of: dict[float, str] = {}
    for file in sorted(file for name in _DOG_LISTS if (file := path.with_name(name)).is_file()):
        entries = _dog_list(file)
        if file == path:
            files = [name for name, _ in entries]
        for name, number in entries:
            folder = name.split("/")[0]
            if not split_name(folder)[0] or folder_of.setdefault(number, folder) != folder:
                raise BadFileError(f"{file} gives {name} the label {number:g} of another class: get it again.")
    folders = sorted(folder_of.values())
    index_of = {folder: index for index, folder in enumerate(folders)}
    if len(index_of) != len(folders):
        raise BadFileError(f"{path} gives two labels to one class: get it again.")
    classes = tuple(ClassInfo(index, *split_name(folder)) for index, folder in enumerate(folders))
    labels = [index_of[name.split("/")[0]] for name in files]
    images = root / ("images" if (root / "images").is_dir() else "Images")
    return _listing(f"stanford_dogs-{split}", images, files, labels, classes)


def _dog_list(path: Path) -> list[tuple[str, float]]:
    """Relative path and label of each image in one of the lists."""
    data, shown = read_bounded(path, MAX_BYTES), str(path)
    files, numbers = (read_variable(data, name, shown) for name in ("file_list", "labels"))
    if not isinstance(files, list) or not isinstance(numbers, np.ndarray) or len(files) != len(numbers):
        raise BadFileError(f"{shown} does not hold a label for each file: get it again.")
    return [(_checked(name, shown), number) for name, number in zip(files, numbers.tolist(), strict=True)]


def read_cub200(root: Path, split: str) -> Listing:
    """The training or test images of CUB-200-2011; classes in the order of ``classes.txt``.

    Raises:
        BadImageError: there are no images.
        BadFileError: a text file is missing, damaged, or names what cannot be.
    """
    places = [root, root / "CUB_200_2011"]
    images = _find(root, [place / "images.txt" for place in places], "images.txt of CUB-200-2011")
    folder = images.parent
    names = _table(images, str)
    class_names = _table(folder / "classes.txt", str)
    numbers = _table(folder / "image_class_labels.txt", int)
    training = _table(folder / "train_test_split.txt", int)
    order = sorted(class_names)
    index_of = {number: index for index, number in enumerate(order)}
    classes = tuple(
        ClassInfo(index, "", class_names[number].split(".", 1)[-1].replace("_", " "))
        for index, number in enumerate(order)
    )
    files, labels = [], []
    for image, name in sorted(names.items()):
        if numbers.get(image) not in index_of or training.get(image) not in (0, 1):
            raise BadFileError(f"{folder} lacks the class or the split of image {image} ({name}): get it again.")
        if training[image] == (split == "train"):
            files.append(_checked(name, str(images)))
            labels.append(index_of[numbers[image]])
    return _listing(f"cub200-{split}", folder / "images", files, labels, classes)


def _listing(name: str, root: Path, files: list[str], labels: list[int], classes: tuple[ClassInfo, ...]) -> Listing:
    there = [(root / file).is_file() for file in files]
    if not any(there):
        raise BadImageError(f"None of the images that the lists name is in {root}: unpack them there.")
    found = sorted((file, label) for file, label, is_there in zip(files, labels, there, strict=True) if is_there)
    paths = [file for file, _ in found]
    for before, path in pairwise(paths):
        if before == path:
            raise BadFileError(f"The lists of {root.parent} name {path} twice: get them again.")
    missing = tuple(sorted(file for file, is_there in zip(files, there, strict=True) if not is_there))
    return Listing(name, root, paths, np.array([label for _, label in found], np.int32), classes, missing=missing)


def _checked(name: object, shown: str) -> str:
    """``name`` if it is a path of one folder and one file."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if (
        not isinstance(name, str)
        or len(parts) != 2
        or name != "/".join(parts)
        or ".." in parts
        or "\\" in name
        or "\0" in name
    ):
        raise BadFileError(f"{shown} names {str(name)[:100]!r}, which is no folder and file: get it again.")
    return name


def _table(path: Path, kind: type[_Value]) -> dict[int, _Value]:
    """The lines ``id value`` of a text file."""
    result: dict[int, _Value] = {}
    for number, line in enumerate(read_bounded(path, MAX_BYTES).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            identifier, value = line.split(maxsplit=1)
            if int(identifier) in result:
                raise ValueError
            result[int(identifier)] = kind(value.strip())  # type: ignore[call-arg]
        except ValueError:
            raise BadFileError(f"{path} is damaged in line {number} ({line[:60]!r}): get it again.") from None
    return result


def _find(root: Path, candidates: list[Path], what: str) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise BadFileError(f"There is no {what} in {root}: give the folder that the published archives were unpacked in.")
