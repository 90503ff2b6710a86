"""Stanford Dogs and CUB-200-2011 as published, and the Kodak set."""

from pathlib import Path

import numpy as np
import pytest
from helpers.published import put, write_cub, write_dogs
from scipy.io import loadmat, savemat

from beholder import data
from beholder.errors import BadFileError, BadImageError, BadOptionError


@pytest.mark.parametrize("place", ["lists", "."])
@pytest.mark.parametrize("split", ["train", "val"])
def test_stanford_dogs(tmp_path: Path, split: str, place: str) -> None:
    expected = write_dogs(tmp_path, place)[split]
    source = data.open_source(tmp_path, "stanford_dogs", split)
    assert {e.name: e.label for e in source} == {path.split("/")[1]: label for path, label in expected.items()}
    assert {e.key: e.wnid for e in source} == {Path(path).stem: path[:9] for path in expected}
    assert [(c.wnid, c.name) for c in source.classes] == [
        ("n02085620", "Chihuahua"),
        ("n02085782", "Japanese spaniel"),
        ("n02113978", "Mexican hairless"),
    ]
    assert all((tmp_path / "Images" / path).read_bytes() in {e.data for e in source} for path in expected)


@pytest.mark.parametrize("parent", [".", "CUB_200_2011"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_cub(tmp_path: Path, split: str, parent: str) -> None:
    expected = write_cub(tmp_path / parent)[split]
    source = data.open_source(tmp_path, "cub200", split)
    assert {e.name: e.label for e in source} == {path.split("/")[1]: label for path, label in expected.items()}
    assert [c.name for c in source.classes] == ["Black footed Albatross", "Laysan Albatross", "Sooty Albatross"]
    assert all(e.wnid is None for e in source)


def test_the_two_splits_share_nothing_and_are_found_without_being_named(tmp_path: Path) -> None:
    write_dogs(tmp_path / "dogs")
    write_cub(tmp_path / "birds")
    for root in ("dogs", "birds"):
        train, val = (data.open_source(tmp_path / root, split=split) for split in ("train", "val"))
        assert not {e.key for e in train} & {e.key for e in val}
        assert train.classes == val.classes


def test_a_class_that_one_list_lacks_keeps_its_label(tmp_path: Path) -> None:
    write_dogs(tmp_path)
    path = tmp_path / "lists" / "test_list.mat"
    content = loadmat(path)
    savemat(path, {"file_list": content["file_list"][1:], "labels": content["labels"][1:]})
    assert sorted(data.open_source(tmp_path, "stanford_dogs", "val").labels()) == [1, 2]


def test_missing_images_are_named(tmp_path: Path) -> None:
    write_dogs(tmp_path / "dogs")
    write_cub(tmp_path / "birds")
    (tmp_path / "dogs/Images/n02085620-Chihuahua/n02085620_199.jpg").unlink()
    (tmp_path / "birds/images/002.Laysan_Albatross/Laysan_Albatross_0001_19.jpg").unlink()
    dogs = data.open_source(tmp_path / "dogs", "stanford_dogs", "val")
    birds = data.open_source(tmp_path / "birds", "cub200", "val")
    assert (len(dogs), dogs.missing) == (2, ("n02085620-Chihuahua/n02085620_199.jpg",))
    assert (len(birds), birds.missing) == (2, ("002.Laysan_Albatross/Laysan_Albatross_0001_19.jpg",))
    for path in (tmp_path / "dogs/Images").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(BadImageError, match="None of the images that the lists name"):
        data.open_source(tmp_path / "dogs", "stanford_dogs", "val")


def change_dogs(root: Path, key: str, row: int, value: object) -> None:
    path = root / "lists" / "test_list.mat"
    content = {name: array for name, array in loadmat(path).items() if not name.startswith("__")}
    content[key][row, 0] = value
    savemat(path, content)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("labels", 2.0, "label 2 of another class"),
        ("file_list", "n02085620-Chihuahua/../../../etc/passwd", "no folder and file"),
        ("file_list", "/etc/passwd", "no folder and file"),
        ("file_list", "../x.jpg", "no folder and file"),
        ("file_list", "dog/x.jpg", "label 1 of another class"),
    ],
)
def test_damaged_dog_lists(tmp_path: Path, key: str, value: object, sentence: str) -> None:
    write_dogs(tmp_path)
    change_dogs(tmp_path, key, 0, value)
    with pytest.raises(BadFileError, match=sentence):
        data.open_source(tmp_path, "stanford_dogs", "val")


def test_foreign_dog_lists(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"no lists/test_list\.mat of Stanford Dogs in"):
        data.open_source(tmp_path, "stanford_dogs", "val")
    write_dogs(tmp_path)
    path = tmp_path / "lists" / "test_list.mat"
    savemat(path, {"file_list": loadmat(path)["file_list"], "labels": np.ones(2)})
    with pytest.raises(BadFileError, match="does not hold a label for each file"):
        data.open_source(tmp_path, "stanford_dogs", "val")
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(BadFileError, match="no MATLAB file that can be read"):
        data.open_source(tmp_path, "stanford_dogs", "val")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("images.txt", "1 ../../secret.jpg\n", "no folder and file"),
        ("images.txt", "one two\n", "damaged in line 1"),
        ("images.txt", "1 a/b.jpg\n1 a/c.jpg\n", "damaged in line 2"),
        ("image_class_labels.txt", "1 77\n", "lacks the class or the split of image 1"),
        ("train_test_split.txt", "1 2\n", "lacks the class or the split of image 1"),
        ("classes.txt", "", "lacks the class or the split of image 1"),
    ],
)
def test_damaged_bird_lists(tmp_path: Path, file: str, text: str, sentence: str) -> None:
    write_cub(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(BadFileError, match=sentence):
        data.open_source(tmp_path, "cub200", "train")


def test_a_bird_list_that_is_not_there(tmp_path: Path) -> None:
    write_cub(tmp_path)
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(BadFileError, match=r"classes\.txt cannot be read"):
        data.open_source(tmp_path, "cub200", "train")


def test_kodak(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        put(tmp_path / f"kodim{number:02}.png", number)
    source = data.open_source(tmp_path, "kodak")
    assert [e.key for e in source] == ["kodim01", "kodim02", "kodim10"]
    assert (source.name, source.labelled, source[0].label) == ("kodak-val", False, None)
    with pytest.raises(BadOptionError, match="for testing only"):
        data.open_source(tmp_path, "kodak", "train")


def test_unknown_data_sets_and_splits(tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="no data set 'mnist': choose one of imagenet"):
        data.open_source(tmp_path, "mnist")
    with pytest.raises(BadOptionError, match="no split 'test': choose one of train, val"):
        data.open_source(tmp_path, "imagenet", "test")
