"""ImageNet's published layouts: the devkit's own class order becomes Keras', and every layout gives the same."""

from pathlib import Path

import numpy as np
import pytest
from helpers.published import (
    GROUND_TRUTH,
    KERAS_LABELS,
    WNIDS,
    devkit_ids,
    picture,
    tar_bytes,
    train_images,
    val_images,
    write_devkit,
    write_tar,
)

from beholder import data
from beholder.data.published.imagenet import read_ground_truth
from beholder.errors import BadFileError, BadImageError


def write_val(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in val_images().items():
        (root / name).write_bytes(content)


def facts(source: data.Source) -> list[tuple[str, str, int | None, str | None, bytes]]:
    return [(e.key, e.name, e.label, e.wnid, e.data) for e in source]


def test_the_order_of_labels_is_keras_and_not_the_devkits(tmp_path: Path) -> None:
    ids = devkit_ids()
    assert sorted(ids, key=ids.__getitem__) != sorted(ids)  # or the test would show nothing
    everything = list(range(1, 1001))
    write_devkit(tmp_path, everything)
    found = read_ground_truth(tmp_path)
    by_id = {number: wnid for wnid, number in ids.items()}
    assert [WNIDS[label] for label in found] == [by_id[number] for number in everything]
    assert [entry.wnid for entry in data.imagenet_classes()] == sorted(ids)


def test_the_first_validation_images_have_the_labels_that_everybody_knows(tmp_path: Path) -> None:
    write_devkit(tmp_path / "ILSVRC2012_devkit_t12")
    write_val(tmp_path / "val")
    source = data.open_source(tmp_path, "imagenet", "val")
    assert source.name == "imagenet-val"
    assert source.labels().tolist() == KERAS_LABELS
    first = source[0]
    assert (first.key, first.wnid, first.label) == ("ILSVRC2012_val_00000001", "n01751748", 65)
    assert source.classes[65].name == "sea snake"
    assert first.data == val_images()["ILSVRC2012_val_00000001.JPEG"]


def test_all_layouts_of_the_validation_images_are_one(tmp_path: Path) -> None:
    for layout in ("flat", "sub", "tar", "archive"):
        write_devkit(tmp_path / layout / "ILSVRC2012_devkit_t12")
    write_val(tmp_path / "flat")
    write_val(tmp_path / "sub" / "ILSVRC2012_img_val")
    write_tar(tmp_path / "tar" / "ILSVRC2012_img_val.tar", val_images())
    folder = tmp_path / "archive" / "ILSVRC2012_devkit_t12"
    files = {f"ILSVRC2012_devkit_t12/data/{p.name}": p.read_bytes() for p in (folder / "data").iterdir()}
    write_tar(tmp_path / "archive" / "ILSVRC2012_devkit_t12.tar.gz", files, "w:gz")
    (folder / "data").rename(tmp_path / "elsewhere")
    write_val(tmp_path / "archive")
    for number, (name, content) in enumerate(val_images().items()):
        path = tmp_path / "sorted" / "val" / WNIDS[KERAS_LABELS[number]] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    expected = facts(data.open_source(tmp_path / "flat", "imagenet", "val"))
    assert len(expected) == len(GROUND_TRUTH)
    for layout in ("sub", "tar", "archive"):
        assert facts(data.open_source(tmp_path / layout, "imagenet", "val")) == expected, layout
    by_class = facts(data.open_source(tmp_path / "sorted", "imagenet", "val"))
    assert sorted(by_class) == expected


def test_all_layouts_of_the_training_images_are_one(tmp_path: Path) -> None:
    images = train_images()
    for wnid, files in images.items():
        for name, content in files.items():
            path = tmp_path / "folders" / "train" / wnid / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write_tar(tmp_path / "tars" / f"{wnid}.tar", files)
    inner = {f"{wnid}.tar": tar_bytes(files) for wnid, files in images.items()}
    write_tar(tmp_path / "tar" / "ILSVRC2012_img_train.tar", inner)
    expected = [
        (name.removesuffix(".JPEG"), name, WNIDS.index(wnid), wnid, content)
        for wnid, files in sorted(images.items())
        for name, content in sorted(files.items())
    ]
    for layout in ("folders", "tars", "tar"):
        source = data.open_source(tmp_path / layout, "imagenet", "train")
        assert facts(source) == expected, layout
        assert len(source.classes) == 1000


def test_a_part_of_the_validation_images_is_read_and_the_rest_named(tmp_path: Path) -> None:
    write_devkit(tmp_path)
    write_val(tmp_path)
    (tmp_path / "ILSVRC2012_val_00000003.JPEG").unlink()
    source = data.open_source(tmp_path, "imagenet", "val")
    assert source.labels().tolist() == KERAS_LABELS[:2] + KERAS_LABELS[3:]
    assert source.missing == ("ILSVRC2012_val_00000003.JPEG",)


def break_nothing(root: Path) -> None:
    (root / "data" / "meta.mat").unlink()


def break_meta(root: Path) -> None:
    (root / "data" / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))


def break_variable(root: Path) -> None:
    from scipy.io import savemat

    savemat(root / "data" / "meta.mat", {"other": np.arange(3)})


def break_fields(root: Path) -> None:
    from scipy.io import savemat

    savemat(root / "data" / "meta.mat", {"synsets": np.arange(3)})


def break_wnid(root: Path) -> None:
    write_devkit(root, WNID="n99999999")


def break_twice(root: Path) -> None:
    write_devkit(root, ILSVRC2012_ID=7)


def break_truth(root: Path) -> None:
    write_devkit(root, [490, 1001])


def break_text(root: Path) -> None:
    (root / "data" / "ILSVRC2012_validation_ground_truth.txt").write_bytes(b"490\n\xff\xfe\n")


def break_length(root: Path) -> None:
    write_devkit(root, GROUND_TRUTH[:4])


def bomb(root: Path) -> None:
    """A MAT-file of 70 kB that unpacks to 70 MB."""
    from scipy.io import savemat

    savemat(root / "data" / "meta.mat", {"synsets": np.zeros(70 << 17)}, do_compression=True)


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (break_nothing, r"no meta\.mat in .*needs? the devkit"),
        (break_meta, r"meta\.mat is no MATLAB file"),
        (break_variable, r"meta\.mat lacks the variable synsets"),
        (break_fields, r"does not describe synsets"),
        (break_wnid, r"n99999999 as class 1, unlike ILSVRC-2012"),
        (break_twice, r"as class 7, unlike ILSVRC-2012"),
        (break_truth, r"'1001' in line 2"),
        (break_text, r"in line 2"),
        (break_length, r"has 4 lines, but there is an image number 10"),
        (bomb, r"more than 67,108,864 bytes"),
    ],
)
def test_a_damaged_devkit_is_refused(tmp_path: Path, break_it, sentence: str) -> None:  # type: ignore[no-untyped-def]
    write_devkit(tmp_path)
    write_val(tmp_path)
    break_it(tmp_path)
    with pytest.raises(BadFileError, match=sentence):
        data.open_source(tmp_path, "imagenet", "val")


def test_no_images_and_foreign_ones(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="There is no folder"):
        data.open_source(tmp_path / "none", "imagenet", "val")
    with pytest.raises(BadImageError, match="no val images of ImageNet"):
        data.open_source(tmp_path, "imagenet", "val")
    (tmp_path / "train" / "n00000001").mkdir(parents=True)
    with pytest.raises(BadFileError, match="n00000001 is no class of ILSVRC-2012"):
        data.open_source(tmp_path, "imagenet", "train")


def test_damaged_archives(tmp_path: Path) -> None:
    whole = tar_bytes({f"n01440764_{n}.JPEG": picture(n, size=(80, 80)) for n in range(4)})
    path = tmp_path / "n01440764.tar"
    for length in (200, 512, 3000, 15_360, 15_600, 20_000):  # within and between headers and contents
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match="damaged or no uncompressed tar"):
            data.open_source(tmp_path, "imagenet", "train")
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(BadFileError, match="damaged or no uncompressed tar"):
        data.open_source(tmp_path, "imagenet", "train")
    write_tar(path, {"n01440764_1.JPEG": picture(1)}, "w:gz")
    with pytest.raises(BadFileError, match="damaged or no uncompressed tar"):
        data.open_source(tmp_path, "imagenet", "train")
    path.unlink()
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes({"n01440764.tar": whole[:20_000]}))
    with pytest.raises(BadFileError, match=r"ILSVRC2012_img_train.tar/n01440764.tar is damaged"):
        data.open_source(tmp_path, "imagenet", "train")


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    files = {"../../../etc/n01440764_1.JPEG": picture(1), "/n01440764_2.JPEG": picture(2), "readme.txt": b"x"}
    write_tar(tmp_path / "n01440764.tar", files)
    source = data.open_source(tmp_path, "imagenet", "train")
    assert [(e.key, e.name) for e in source] == [
        ("n01440764_1", "n01440764_1.JPEG"),
        ("n01440764_2", "n01440764_2.JPEG"),
    ]
