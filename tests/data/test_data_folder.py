"""Plain folders: which images they hold and what labels they give."""

import os
import pickle
import unicodedata
from pathlib import Path

import pytest
from helpers.published import picture, put
from hypothesis import given
from hypothesis import strategies as st

from beholder import data
from beholder.data.keys import is_key, make_keys
from beholder.data.strings import PackedStrings
from beholder.errors import BadFileError, BadImageError, BeholderWarning


def fill(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        put(root / name, number)
    return root


def labels_of(source: data.Source) -> dict[str, int | None]:
    return {e.name: e.label for e in source}


def test_unlabelled(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "a.png", "deep/er/c.webp", ".hidden/d.jpg", ".e.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    source = data.open_source(str(tmp_path))
    assert [e.name for e in source] == ["a.png", "b.jpg", "c.webp"]
    assert [e.key for e in source] == ["a", "b", "deep_er_c"]
    assert not source.labelled
    assert source.classes == ()
    assert source.labels().tolist() == [-1, -1, -1]
    assert all(e.label is None and e.wnid is None for e in source)
    assert source[0].data == (tmp_path / "a.png").read_bytes()
    assert data.decode(source[-1]).size == (24, 16)
    with pytest.raises(IndexError):
        source[3]


@pytest.mark.parametrize("names", [("n01440764", "n02119789"), ("tench", "Kit_Fox"), ("n01440764_tench", "kit fox")])
def test_class_folders_that_imagenet_knows(tmp_path: Path, names: tuple[str, str]) -> None:
    fill(tmp_path, f"{names[0]}/a.jpg", f"{names[1]}/sub/b.jpg")
    source = data.open_source(tmp_path)
    assert labels_of(source) == {"a.jpg": 0, "b.jpg": 278}
    assert source.classes == data.imagenet_classes()
    own = data.open_source(tmp_path, own_classes=True)
    assert len(own.classes) == 2
    assert sorted(own.labels()) == [0, 1]


def test_class_folders_of_ones_own(tmp_path: Path) -> None:
    fill(tmp_path, "n01440764/a.jpg", "zebras and co/b.jpg", "Birds/c.jpg")
    source = data.open_source(tmp_path)
    assert [(c.index, c.wnid, c.name) for c in source.classes] == [
        (0, "", "Birds"),
        (1, "n01440764", "tench"),
        (2, "", "zebras and co"),
    ]
    assert labels_of(source) == {"c.jpg": 0, "a.jpg": 1, "b.jpg": 2}


def test_numbered_class_folders_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    fill(tmp_path, "10/a.jpg", "9/b.jpg", "1/c.jpg")
    source = data.open_source(tmp_path)
    assert [c.name for c in source.classes] == ["1", "9", "10"]
    assert labels_of(source) == {"c.jpg": 0, "b.jpg": 1, "a.jpg": 2}


def test_one_folder_in_a_folder_is_no_class_unless_imagenet_knows_it(tmp_path: Path) -> None:
    assert not data.open_source(fill(tmp_path / "x", "photos/a.jpg", "photos/b.jpg")).labelled
    assert data.open_source(fill(tmp_path / "y", "goldfish/a.jpg")).labels().tolist() == [1]


def test_images_beside_class_folders_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "x", "tench/a.jpg", "goldfish/b.jpg", "c.jpg")
    with pytest.raises(BadFileError, match=r"c\.jpg lies beside the class folders goldfish and tench: move the image"):
        data.open_source(tmp_path / "x")
    fill(tmp_path / "y", "tench/a.jpg", "goldfish/b.jpg", "c.jpg", "d.jpg", "e.jpg")
    with pytest.raises(BadFileError, match=r"c\.jpg and 2 more images lie beside the class folders"):
        data.open_source(tmp_path / "y")


def test_images_beside_folders_that_may_be_classes(tmp_path: Path) -> None:
    fill(tmp_path, "cats/a.jpg", "dogs/b.jpg", "c.jpg")
    with pytest.warns(BeholderWarning, match=r"c\.jpg lies beside the folders cats and dogs, so that no image has"):
        assert not data.open_source(tmp_path).labelled


@pytest.mark.parametrize("names", [("a.jpg", "old/b.jpg"), ("a.jpg", "b.jpg", "c.jpg", "x/d.jpg", "y/e.jpg")])
@pytest.mark.filterwarnings("error")
def test_photographs_beside_folders_of_photographs(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert not data.open_source(fill(tmp_path, *names)).labelled


def test_case_matters_where_it_tells_classes_apart(tmp_path: Path) -> None:
    source = data.open_source(fill(tmp_path / "x", "Cardigan/a.jpg", "cardigan/b.jpg", "TENCH/c.jpg"))
    assert labels_of(source) == {"a.jpg": 264, "b.jpg": 474, "c.jpg": 0}
    with pytest.raises(BadFileError, match=r"CARDIGAN may be ImageNet's n02113186 .* or n02963159 \("):
        data.open_source(fill(tmp_path / "y", "CARDIGAN/a.jpg", "tench/b.jpg"))
    own = data.open_source(fill(tmp_path / "z", "CARDIGAN/a.jpg", "my coat/b.jpg"))
    assert [entry.name for entry in own.classes] == ["CARDIGAN", "my coat"]
    observer = [(entry.wnid, entry.name) for entry in data.imagenet_classes()]
    assert data.match_classes([data.ClassInfo(0, "", "cardigan")], observer) == [474]
    assert data.match_classes([data.ClassInfo(0, "", "CARDIGAN")], observer) is None


def test_names_of_macs(tmp_path: Path) -> None:
    classes = [data.ClassInfo(0, "", unicodedata.normalize("NFD", "Köter"))]
    assert data.match_classes(classes, [("", "Katze"), ("", "köter")]) == [1]


def test_class_folders_in_a_folder(tmp_path: Path) -> None:
    source = data.open_source(fill(tmp_path, "images/all/cats/a.jpg", "images/all/dogs/b.jpg"))
    assert labels_of(source) == {"a.jpg": 0, "b.jpg": 1}
    assert [entry.name for entry in source.classes] == ["cats", "dogs"]


def test_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    fill(tmp_path, "train/cats/a.jpg", "train/dogs/b.jpg", "val/cats/c.jpg")
    with pytest.raises(BadFileError, match=r"holds the parts train and val of a data set: give one, such as .*val"):
        data.open_source(tmp_path)
    assert labels_of(data.open_source(tmp_path, "folder", "train")) == {"a.jpg": 0, "b.jpg": 1}


def test_thumbnails_of_other_programs_are_left_out(tmp_path: Path) -> None:
    source = data.open_source(fill(tmp_path, "cats/a.jpg", "dogs/b.jpg", "@eaDir/a.jpg/T.jpg", "__MACOSX/cats/a.jpg"))
    assert [entry.name for entry in source.classes] == ["cats", "dogs"]


def test_names_that_begin_with_an_index(tmp_path: Path) -> None:
    fill(tmp_path, "0000_n01440764_tench.jpg", "278_fox.png", "0999_n15075141.jpg")
    source = data.open_source(tmp_path)
    assert labels_of(source) == {"0000_n01440764_tench.jpg": 0, "278_fox.png": 278, "0999_n15075141.jpg": 999}
    assert source[0].wnid == "n01440764"
    own = data.open_source(tmp_path, own_classes=True)
    assert [c.name for c in own.classes] == ["tench", "kit fox", "toilet tissue"]
    assert own.labels().tolist() == [0, 2, 1]  # sorted by file: 0000, 0999, 278


def test_the_sample_photos_have_the_labels_in_their_names(shared_data: Path) -> None:
    source = data.open_source(shared_data / "imagenet")
    assert len(source) == 171
    assert all(e.name.startswith(f"{e.label:04}_{e.wnid}_") for e in source)
    assert not data.open_source(shared_data / "kodak").labelled


@pytest.mark.parametrize("name", ["2024_holiday.jpg", "1000_x.jpg", "x_1.jpg", "12.jpg"])
def test_other_names_are_no_labels(tmp_path: Path, name: str) -> None:
    assert not data.open_source(fill(tmp_path, "0001_a.jpg", name)).labelled


def test_an_index_that_contradicts_the_wnid_beside_it(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="begins with class 1, which is n01443537"):
        data.open_source(fill(tmp_path, "0001_n01440764_tench.jpg"))


@pytest.mark.parametrize(
    ("given_labels", "expected"),
    [
        (("0", "278", "278"), (0, 278, 278)),
        (("n01440764", "kit fox", "KIT_FOX"), (0, 278, 278)),
        (("cat", "dog", "bird"), (1, 2, 0)),
        (("tench", "dog", "dog"), (1, 0, 0)),
    ],
)
def test_labels_csv(tmp_path: Path, given_labels: tuple[str, ...], expected: tuple[int, ...]) -> None:
    fill(tmp_path, "0005_a.jpg", "tench/b.jpg", "tench/c, d.jpg")
    rows = zip(("0005_a.jpg", "tench/b.jpg", '"tench/c, d.jpg"'), given_labels, strict=True)
    # As Excel writes it, with a byte order mark, and with a column more.
    text = "\ufefffile,label,note\r\n" + "".join(f"{file},{label},x\r\n" for file, label in reversed(list(rows)))
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert labels_of(data.open_source(tmp_path)) == dict(
        zip(("0005_a.jpg", "b.jpg", "c, d.jpg"), expected, strict=True)
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin with the line file,label"),
        (b"a.jpg,1\n", "does not begin with the line file,label"),
        (b"file,label\na.jpg,tench\n", r"no line for b\.jpg"),
        (b"file,label\na.jpg,tench\nb.jpg,\n", r"no label to b\.jpg"),
        (b"file,label\na.jpg,tench\nb.jpg\n", r"no label to b\.jpg"),
        (b"file,label\na.jpg,1\nb.jpg,1\na.jpg,2\n", r"two labels to a\.jpg"),
        (b"file,label\na.jpg,1\nb.jpg,1\n../../etc/passwd,2\n", "no image in"),
        (b"file,label\na.jpg,1\nb.jpg,1000\n", "label 1000, but numbers mean ImageNet's classes 0 to 999"),
        (b"file,label\n\xff\xfe,1\n", "cannot be read"),
        (b'file,label\n"' + b"x" * 200_000 + b'",1\n', "cannot be read"),
    ],
)
def test_damaged_labels_csv(tmp_path: Path, content: bytes, sentence: str) -> None:
    fill(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(BadFileError, match=sentence):
        data.open_source(tmp_path)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="There is no folder"):
        data.open_source(tmp_path / "none")
    with pytest.raises(BadImageError, match="holds no images"):
        data.open_source(tmp_path)


def test_links_that_lead_in_circles(tmp_path: Path) -> None:
    fill(tmp_path, "tench/a.jpg")
    (tmp_path / "tench" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert len(data.open_source(tmp_path)) == 1


def test_an_image_that_goes_or_is_broken(tmp_path: Path) -> None:
    source = data.open_source(fill(tmp_path, "a.jpg", "b.jpg", "c.jpg"))
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").write_bytes(picture(3)[:200])
    (tmp_path / "c.jpg").write_bytes(b"")
    with pytest.raises(BadImageError, match=r"There is no file .*a\.jpg"):
        source[0]
    with pytest.raises(BadImageError, match=r"^b\.jpg .*truncated"):
        data.decode(source[1])
    with pytest.raises(BadImageError, match=r"^c\.jpg is empty"):
        data.decode(source[2])


def test_sources_travel_between_processes(tmp_path: Path) -> None:
    source = data.open_source(fill(tmp_path, "tench/a.jpg", "goldfish/b.jpg"))
    copy = pickle.loads(pickle.dumps(source))
    assert list(copy) == list(source)
    assert copy.classes == source.classes


def test_parts_cover_all_and_are_short(tmp_path: Path) -> None:
    one = picture(1)
    for number in range(1203):
        (tmp_path / f"{number:05}.jpg").write_bytes(one)
    source = data.open_source(tmp_path)
    assert source.parts() == [range(1000), range(1000, 1203)]
    assert [source.key(i) for i in range(3)] == ["00000", "00001", "00002"]


def test_keys_are_unique_whatever_the_names() -> None:
    names = [
        "a.jpg",
        "a.png",
        "A.gif",
        "b c.jpg",
        "b+c.jpg",
        "ü.jpg",
        "é.jpg",
        "x" * 300 + ".jpg",
        "d/e.jpg",
        "ok-1.jpg",
    ]
    keys = list(make_keys(names))
    assert len({key.casefold() for key in keys}) == len(names)
    assert all(map(is_key, keys))
    assert keys[8:] == ["d_e", "ok-1"]
    assert keys == list(make_keys(names))


@given(st.lists(st.text(), max_size=30))
def test_packed_strings_hold_any_text(texts: list[str]) -> None:
    packed = pickle.loads(pickle.dumps(PackedStrings(texts)))
    assert list(packed) == texts
    assert len(packed) == len(texts)
    if texts:
        assert packed[-1] == texts[-1]


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), unique=True, max_size=30))
def test_keys_of_any_names(names: list[str]) -> None:
    keys = list(make_keys([name + ".jpg" for name in names]))
    assert len({key.casefold() for key in keys}) == len(names)
    assert all(map(is_key, keys))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(picture(1))
    except OSError:
        pytest.skip("the file system takes Unicode only")
    (example,) = data.open_source(tmp_path)
    assert is_key(example.key)
    assert data.decode(example).size == (24, 16)


def test_matching_a_sources_classes_with_an_observers() -> None:
    imagenet = [(c.wnid, c.name) for c in data.imagenet_classes()]
    assert data.match_classes(data.imagenet_classes(), imagenet) == list(range(1000))
    dogs = (data.ClassInfo(0, "n02085620", "Chihuahua"), data.ClassInfo(1, "n02113978", "Mexican hairless"))
    assert data.match_classes(dogs, imagenet) == [151, 268]
    assert data.match_classes(dogs, [("", "mexican_hairless"), ("", "chihuahua")]) == [1, 0]
    birds = (data.ClassInfo(0, "", "Laysan Albatross"),)
    assert data.match_classes(birds, imagenet) is None
    # The machine and the bird, both called crane, are told apart by their wnids.
    assert data.match_classes((data.ClassInfo(0, "n00000001", "tench"),), imagenet) is None
    assert data.match_classes((), imagenet) is None
