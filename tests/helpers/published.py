"""Miniature data sets in exactly the layouts in which the real ones are published."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from beholder.data.files import FileSource
from beholder.data.folder import read_folder
from beholder.observers import labels

WNIDS = [labels.label(index)[0] for index in range(labels.COUNT)]

DEVKIT_IDS = {
    # Where the real devkit has these classes in its own order.
    **{"n02119789": 1, "n02100735": 2, "n02110185": 3, "n02096294": 4, "n03255030": 1000},
    **{"n01751748": 490, "n09193705": 361, "n02105855": 171, "n04263257": 822, "n03125729": 297},
    **{"n01735189": 482, "n02346627": 13, "n02776631": 704, "n03794056": 599, "n02328150": 164},
}
GROUND_TRUTH = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
"""How ILSVRC2012_validation_ground_truth.txt begins."""
KERAS_LABELS = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
"""The same images in the order of sorted wnids, as Caffe's val.txt and Keras count."""


def picture(seed: int, suffix: str = ".jpg", size: tuple[int, int] = (24, 16)) -> bytes:
    """A small image file, another for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, {".png": "PNG", ".webp": "WEBP"}.get(suffix.lower(), "JPEG"))
    return out.getvalue()


def put(path: Path, seed: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data := picture(seed, path.suffix))
    return data


def devkit_ids() -> dict[str, int]:
    """wnid -> ILSVRC2012_ID of all thousand classes, in an order that is not that of the wnids."""
    left = [number for number in range(1000, 0, -1) if number not in DEVKIT_IDS.values()]
    others = [wnid for wnid in WNIDS if wnid not in DEVKIT_IDS]
    return DEVKIT_IDS | dict(zip(others, left, strict=True))


def write_devkit(folder: Path, truth: Sequence[int] = GROUND_TRUTH, **changes: object) -> None:
    """``data/meta.mat`` and the ground truth, as in ILSVRC2012_devkit_t12; ``changes`` of the first class."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "meta.mat").write_bytes(meta_mat(**changes))
    text = "".join(f"{number}\n" for number in truth)
    (folder / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text(text)


@cache
def meta_mat(**changes: object) -> bytes:
    """All thousand classes in the devkit's order, and after them an inner node of WordNet."""
    leaves = sorted((number, wnid) for wnid, number in devkit_ids().items())
    none = np.zeros((1, 0), np.uint16)
    rows = [(number, wnid, f"{wnid} words", "a gloss", 0, none, 0, 1300) for number, wnid in leaves]
    rows += [(1001, "n00001740", "entity", "all", 2, np.array([[1, 2]], np.uint16), 18, 0)]
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    synsets = np.empty((len(rows), 1), [(field, object) for field in (*fields, "num_train_images")])
    for number, row in enumerate(rows):
        synsets[number, 0] = row
    for change, value in changes.items():
        synsets[0, 0][change] = value
    out = io.BytesIO()
    savemat(out, {"synsets": synsets}, do_compression=True)
    return out.getvalue()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def tar_bytes(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return out.getvalue()


def val_images() -> dict[str, bytes]:
    return {f"ILSVRC2012_val_{number:08}.JPEG": picture(number) for number in range(1, len(GROUND_TRUTH) + 1)}


def train_images() -> dict[str, dict[str, bytes]]:
    """wnid -> file name -> bytes; the wnids are not sorted."""
    return {
        wnid: {f"{wnid}_{number}.JPEG": picture(hash_of(wnid) + number) for number in (10, 2, 33)}
        for wnid in ("n02119789", "n01440764", "n15075141")
    }


def hash_of(wnid: str) -> int:
    return int(wnid[1:]) * 10


def write_dogs(root: Path, cells: str = "lists") -> dict[str, dict[str, int]]:
    """Stanford Dogs with three breeds; split -> relative path -> label in Keras' sense."""
    breeds = ["n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02113978-Mexican_hairless"]
    expected: dict[str, dict[str, int]] = {"train": {}, "val": {}}
    # The published lists are sorted by label, and labels count from 1.
    for split, numbers in (("train", (10074, 7)), ("val", (199,))):
        files, targets = [], []
        for label, breed in enumerate(breeds):
            for number in numbers:
                path = f"{breed}/{breed.split('-')[0]}_{number}.jpg"
                put(root / "Images" / path, number + label)
                files.append(path)
                targets.append(label + 1)
                expected[split][path] = label
        file_list = np.empty((len(files), 1), object)
        file_list[:, 0] = files
        annotation_list = np.empty((len(files), 1), object)
        annotation_list[:, 0] = [path.removesuffix(".jpg") for path in files]
        (root / cells).mkdir(parents=True, exist_ok=True)
        content = {
            "file_list": file_list,
            "annotation_list": annotation_list,
            "labels": np.array(targets, float)[:, np.newaxis],
        }
        savemat(root / cells / f"{'train' if split == 'train' else 'test'}_list.mat", content)
    return expected


def write_cub(root: Path) -> dict[str, dict[str, int]]:
    """CUB-200-2011 with three species; split -> relative path -> label."""
    classes = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    expected: dict[str, dict[str, int]] = {"train": {}, "val": {}}
    images, labels_, splits = [], [], []
    for label, name in enumerate(classes):
        for number in range(3):
            bird = name.split(".")[1]
            path = f"{name}/{bird}_{number:04}_{18 + number}.jpg"
            put(root / "images" / path, 100 * label + number)
            identifier = len(images) + 1
            training = number != 1
            images.append(f"{identifier} {path}\n")
            labels_.append(f"{identifier} {label + 1}\n")
            splits.append(f"{identifier} {int(training)}\n")
            expected["train" if training else "val"][path] = label
    (root / "images.txt").write_text("".join(images))
    (root / "image_class_labels.txt").write_text("".join(labels_))
    (root / "train_test_split.txt").write_text("".join(splits))
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes, 1)))
    return expected


def source_of(folder: Path) -> FileSource:
    """A plain folder as ``data create`` takes it."""
    return FileSource(read_folder(folder))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
