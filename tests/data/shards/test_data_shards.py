"""Shards: what is written, and that it can be read from anywhere, by anybody, and never when it is damaged."""

import hashlib
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.published import contents, picture, put, source_of, train_images, write_dogs, write_tar

from beholder import data
from beholder.data.files import FileSource
from beholder.data.shards.create import create
from beholder.data.shards.reading import ShardSource
from beholder.data.shards.verify import verify
from beholder.errors import BadImageError, BadOptionError, OutputError


def test_shards_hold_what_the_folder_holds(folder: Path, made: Path) -> None:
    before, after = data.open_source(folder), data.open_source(made)
    assert isinstance(after, ShardSource)
    assert list(after) == list(before)
    assert [after[i] for i in reversed(range(len(after)))] == list(reversed(list(before)))
    assert after.classes == before.classes
    assert after.labels().tolist() == before.labels().tolist()
    assert [after.key(i) for i in range(11)] == [before.key(i) for i in range(11)]
    assert after.parts() == [range(0, 4), range(4, 8), range(8, 11)]
    assert list(after.examples(range(2, 9))) == list(before)[2:9]
    assert list(after.examples(range(9, 1, -3))) == [before[9], before[6], before[3]]
    assert after[-1] == before[10]
    with pytest.raises(IndexError):
        after[11]
    assert list(pickle.loads(pickle.dumps(after))) == list(before)
    assert data.open_source(made / "index.json").labels().tolist() == before.labels().tolist()
    assert verify(after) == []


def test_index_and_checksums(made: Path) -> None:
    index = json.loads((made / "index.json").read_text())
    assert (index["format"], index["version"], index["samples"], index["skipped"]) == ("beholder-shards", 1, 11, 0)
    assert [tuple(pair) for pair in index["classes"]] == [(c.wnid, c.name) for c in data.imagenet_classes()]
    for shard in index["shards"]:
        content = (made / shard["file"]).read_bytes()
        assert len(content) == shard["bytes"]
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
        table = json.loads((made / shard["file"]).with_suffix(".json").read_text())
        with tarfile.open(made / shard["file"]) as archive:
            members = {member.name: member for member in archive}
        for key, offset, size, label in zip(*(table[c] for c in ("keys", "offsets", "sizes", "labels")), strict=True):
            (image,) = (m for name, m in members.items() if name.startswith(f"{key}.") and name[-4:] in IMAGES)
            assert (image.offset_data, image.size) == (offset, size)
            assert content[members[f"{key}.cls"].offset_data :].startswith(str(label).encode() + b"\0")
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in members.values())


IMAGES = (".jpg", ".png", "webp")


def test_webdataset_reads_them(folder: Path, made: Path) -> None:
    wds = pytest.importorskip("webdataset")
    expected = {example.key: example for example in data.open_source(folder)}
    urls = [str(path) for path in sorted(made.glob("*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == list(expected)
    for sample in samples:
        example = expected[sample["__key__"]]
        (image,) = (value for key, value in sample.items() if key in ("jpg", "png", "webp"))
        assert image == example.data
        assert int(sample["cls"]) == example.label
        facts = json.loads(sample["json"])
        assert facts == {
            "key": example.key,
            "name": example.name,
            "label": example.label,
            "wnid": example.wnid,
            "class": data.imagenet_classes()[example.label or 0].name,
        }
    decoded = wds.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg;png;webp", "cls")
    assert [(image.size, label) for image, label in decoded] == [((24, 16), e.label) for e in expected.values()]


def test_without_labels(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "in" / f"{number}.png", number)
    create(source_of(tmp_path / "in"), tmp_path / "out")
    source = data.open_source(tmp_path / "out")
    assert not source.labelled
    assert list(source) == list(data.open_source(tmp_path / "in"))
    assert source.labels().tolist() == [-1, -1, -1]
    with tarfile.open(tmp_path / "out" / "in-000000.tar") as archive:
        assert archive.getnames() == ["0.png", "0.json", "1.png", "1.json", "2.png", "2.json"]


def test_the_same_bytes_from_folders_and_archives_one_process_and_two(tmp_path: Path) -> None:
    for wnid, files in train_images().items():
        for name, content in files.items():
            path = tmp_path / "folders" / wnid / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write_tar(tmp_path / "tars" / f"{wnid}.tar", files)
    counts: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        counts.append((done, total))

    for layout, workers in (("folders", 1), ("tars", 2)):
        source = data.open_source(tmp_path / layout, "imagenet", "train")
        assert isinstance(source, FileSource)
        target = tmp_path / f"{layout}-shards"
        create(source, target, "imagenet", "train", shard_size=2, workers=workers, progress=note)
        assert counts.pop() == (9, 9)
    assert counts[0] == (0, 9)
    # The plan knows paths, which agree: wnid/name in both.
    assert contents(tmp_path / "folders-shards") == contents(tmp_path / "tars-shards")


def test_a_random_order_is_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        create(source_of(folder), tmp_path / name, shard_size=4, shuffle=seed)
    keys = {name: [e.key for e in data.open_source(tmp_path / name)] for name in "abc"}
    plain = [e.key for e in data.open_source(folder)]
    assert keys["a"] == keys["b"] != keys["c"]
    assert sorted(keys["a"]) == sorted(keys["c"]) == sorted(plain)
    assert keys["a"] != plain


def test_broken_images_are_left_out_and_named(tmp_path: Path) -> None:
    write_dogs(tmp_path)
    train = sorted((tmp_path / "Images").rglob("*_7.jpg"))
    train[0].write_bytes(train[0].read_bytes()[:300])
    train[1].write_bytes(b"GIF89a no more")
    train[2].unlink()
    source = data.open_source(tmp_path, "stanford_dogs", "train")
    assert isinstance(source, FileSource)
    result = create(source, tmp_path / "out", "stanford_dogs", "train", shard_size=2)
    assert [path for path, _ in result.skipped] == [f"{path.parent.name}/{path.name}" for path in train]
    assert ["truncated" in reason or "not an image" in reason for _, reason in result.skipped] == [True, True, False]
    assert "not there" in result.skipped[2][1]
    lines = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert lines[0] == "file,reason"
    assert len(lines) == 4
    shards = data.open_source(tmp_path / "out", "stanford_dogs", "train")
    assert [e.label for e in shards] == [0, 1, 2]
    assert len(shards) == 3
    assert [len(part) for part in shards.parts()] == [1, 1, 1]  # gaps do not move the neighbours
    with pytest.raises(BadOptionError, match="hold the split 'train', not 'val'"):
        data.open_source(tmp_path / "out", "stanford_dogs", "val")
    with pytest.raises(BadOptionError, match="hold the data set 'stanford_dogs', not 'imagenet'"):
        data.open_source(tmp_path / "out", "imagenet")


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.jpg", 1)
    (tmp_path / "in" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BadImageError, match="None of the 1 images can be opened"):
        create(source_of(tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_target_with_other_shards_is_left_alone(folder: Path, shards: Path) -> None:
    before = contents(shards)
    with pytest.raises(OutputError, match="holds shards of other images or settings"):
        create(source_of(folder), shards, shard_size=5)
    (shards / "index.json").unlink()  # as after an interruption
    with pytest.raises(OutputError, match="holds shards of other images or settings"):
        create(source_of(folder), shards, shard_size=4, shuffle=1)
    assert contents(shards) == {name: content for name, content in before.items() if name != "index.json"}
    for size in (0, 100_001):
        with pytest.raises(BadOptionError, match="outside 1 to 100,000"):
            create(source_of(folder), shards, shard_size=size)


def test_two_runs_do_not_share_a_target(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")

    def meddle(done: int, total: int) -> None:
        with pytest.raises(OutputError, match="Another run is writing"):
            create(source_of(folder), tmp_path)

    create(source_of(folder), tmp_path, progress=meddle)
    assert len(data.open_source(tmp_path)) == 11


def test_a_target_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        create(source_of(folder), tmp_path / "file" / "sub")


def test_an_index_of_all_imagenet_opens_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    from beholder.data.shards.index import Index, ShardInfo

    shards = tuple(ShardInfo(f"imagenet-train-{n:06}.tar", 1000, 10**8, "0" * 64, "1" * 64) for n in range(1281))
    index = Index("imagenet-train", "imagenet", "train", "2" * 64, 0, data.imagenet_classes(), shards)
    (tmp_path / "index.json").write_bytes(index.to_json())
    tracemalloc.start()
    source = data.open_source(tmp_path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == 1_281_000
    assert len(source.parts()) == 1281
    assert held < 3 << 20
    assert peak < 20 << 20


def test_a_visited_shard_takes_about_a_hundred_bytes_an_image() -> None:
    import tracemalloc

    from beholder.data.shards.index import Table, parse_table
    from beholder.data.strings import PackedStrings

    count = 5_000
    names = [f"n01440764_{number}.JPEG" for number in range(count)]
    table = Table(
        "0" * 64,
        200_000 * count,
        "1" * 64,
        PackedStrings(name[:-5] for name in names),
        PackedStrings(names),
        np.zeros(count, np.int32),
        np.arange(count, dtype=np.int64) * 200_000 + 512,
        np.full(count, 110_000, np.int32),
        np.zeros(count, np.uint32),
        (),
    )
    written = table.to_json()
    tracemalloc.start()
    read = parse_table(written, "table", 1000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read) == count
    assert list(read.names) == names
    assert held < 100 * count


def test_a_large_member_does_not_fit_into_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.data.shards.reading.BLOCK", 1500)
    for number in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.png").write_bytes(picture(number, ".png", (20 * (number + 1), 20)))
    create(source_of(tmp_path / "in"), tmp_path / "out")
    assert list(data.open_source(tmp_path / "out")) == list(data.open_source(tmp_path / "in"))
