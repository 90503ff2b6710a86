"""WebDataset tars that other programs wrote, and what is said of those that lack something."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers.published import picture

from beholder import data
from beholder.cli import main
from beholder.errors import BadFileError, BadImageError, BeholderWarning


def shard(path: Path, members: Mapping[str, bytes | str], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            content = content.encode() if isinstance(content, str) else content
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(*classes: str | None, first: int = 0, suffix: str = "jpg") -> dict[str, bytes | str]:
    members: dict[str, bytes | str] = {}
    for number, name in enumerate(classes, first):
        members[f"{number:06}.{suffix}"] = picture(number)
        if name is not None:
            members[f"{number:06}.cls"] = name
    return members


def test_numbered_classes(tmp_path: Path) -> None:
    shard(tmp_path / "cifar-000000.tar", samples("0", "2"))
    shard(tmp_path / "cifar-000001.tar", samples("1", "2", first=2))
    with pytest.warns(BeholderWarning, match=r"3 classes are called, so they are called by their numbers: write class"):
        source = data.open_source(tmp_path)
    assert source.name == "cifar"
    assert source.labels().tolist() == [0, 2, 1, 2]
    assert [entry.name for entry in source.classes] == ["0", "1", "2"]
    assert [example.key for example in source] == ["000000", "000001", "000002", "000003"]
    assert source[3].data == picture(3)
    (tmp_path / "classnames.txt").write_text("cat\ndog\nfrog\nhorse\n")
    named = data.open_source(tmp_path)
    assert [named.classes[example.label or 0].name for example in named] == ["cat", "frog", "dog", "frog"]


@pytest.mark.filterwarnings("error")
def test_other_ways_to_say_the_class(tmp_path: Path) -> None:
    shard(tmp_path / "a" / "0.tar", samples("tench", "goldfish"))
    assert data.open_source(tmp_path / "a").labels().tolist() == [0, 1]
    members = samples(None, None) | {
        "000000.json": json.dumps({"label": 7, "wnid": "n01443537", "class": "goldfish"}),
        "000001.json": json.dumps({"class_name": "kit fox"}),
    }
    shard(tmp_path / "b" / "0.tar", members)
    assert data.open_source(tmp_path / "b").labels().tolist() == [1, 278]
    captions = samples(None, None) | {"000000.txt": "a cat", "000000.json": '{"caption": "a cat"}'}
    shard(tmp_path / "c" / "00000.tar", captions)  # as img2dataset writes
    (tmp_path / "c" / "00000_stats.json").write_text("{}")
    source = data.open_source(tmp_path / "c")
    assert not source.labelled
    assert len(source) == 2


@pytest.mark.filterwarnings("error")
def test_all_of_imagenets_numbers_are_imagenets(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number in range(1000):
        members[f"{number}.jpg"] = b"x"
        members[f"{number}.cls"] = str(number)
    shard(tmp_path / "imagenet-val-000000.tar", members)
    source = data.open_source(tmp_path)
    assert source.classes == data.imagenet_classes()
    assert source.name == "imagenet-val"


@pytest.mark.filterwarnings("error")
def test_names_of_members(tmp_path: Path) -> None:
    """The key ends at the first dot of the file's name; folders belong to it; keys may be those of a shard only."""
    first = {"train/a.b/x.input.JPG": picture(0), "train/a.b/x.cls": "tench", "__key__": "", "./.hidden.jpg": b""}
    second = {"train/a.b/x.jpg": picture(1), "train/a.b/x.seg.png": picture(2, ".png"), "train/a.b/x.cls": "goldfish"}
    shard(tmp_path / "0.tar", first)
    shard(tmp_path / "1.tar", second)
    source = data.open_source(tmp_path)
    assert source.labels().tolist() == [0, 1]
    assert [example.data for example in source] == [picture(0), picture(1)]
    assert len({example.key for example in source}) == 2


def test_create_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["tench", "goldfish", "tench"]
    shard(tmp_path / "in" / "x-val-0.tar", samples(*names))
    shard(tmp_path / "in" / "x-train-0.tar", samples(*names, *names))
    options = ["--dataset", "folder", "--data", str(tmp_path / "in"), "--jobs", "1"]
    for split, count in (("val", 3), ("train", 6)):
        assert main(["data", "create", *options, "--split", split, "--output", str(tmp_path / split)]) == 0
        made = data.open_source(tmp_path / split)
        assert made.labels().tolist() == [0, 1, 0] * (count // 3)
        assert [example.data for example in made] == [picture(number) for number in range(count)]
    with pytest.raises(BadFileError, match=r"shards of several sets \(x-train, x-val\): put each into a folder"):
        data.open_source(tmp_path / "in")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (samples("0", None), r"sample 0/000001 in .* has no class, but others have: add its \.cls"),
        (samples(None, "0"), r"sample 0/000000\.jpg in .* has no class"),
        (samples("0") | {"000000.png": b"x"}, r"holds two images, 000000\.jpg and 000000\.png"),
        ({"a.npy": b"x", "a.cls": "1"}, r"hold no images but \.npy, \.cls: samples need a member such as KEY\.jpg"),
        (samples("0") | {"000000.cls": b"\xff"}, r"000000\.cls cannot be read"),
        (samples("") | {}, r"it holds no class"),
        (samples("0") | {"000000.json": "{"}, r"000000\.json cannot be read"),
        (samples("0") | {"000000.cls": b" " * (2 << 20)}, r"above the limit of 1,048,576 bytes"),
    ],
)
def test_what_shards_lack(tmp_path: Path, members: dict[str, bytes | str], complaint: str) -> None:
    shard(tmp_path / "0.tar", members)
    with pytest.raises((BadFileError, BadImageError), match=complaint):
        data.open_source(tmp_path)


def test_compressed_and_damaged_shards(tmp_path: Path) -> None:
    shard(tmp_path / "a" / "0.tar.gz", samples("0"), "w:gz")
    with pytest.raises(BadFileError, match=r"0\.tar\.gz is compressed: unpack it to a \.tar first"):
        data.open_source(tmp_path / "a")
    whole = shard(tmp_path / "b" / "0.tar", samples("tench", "tench"))
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(BadFileError, match=r"0\.tar is damaged"):
        data.open_source(tmp_path / "b")


def test_more_names_than_classes_and_fewer(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", samples("5"))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(BadFileError, match=r"names 2 classes, but a sample has the class 5"):
        data.open_source(tmp_path)


def test_shards_of_ours_that_are_not_finished(made: Path, tmp_path: Path) -> None:
    for path in made.iterdir():
        if path.name != "index.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadFileError, match=r"no index\.json: run the `beholder data create` that began it"):
        data.open_source(tmp_path)
