"""Sweeps: the rows are those of single evaluations, each file is made and read once, nothing is lost silently."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.photos import make_photo
from helpers.sweeps import OBSERVER, Watcher, prepare, rows_of, without_times, write_photos
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import beholder
from beholder import codecs, observers
from beholder.data.shards.create import create
from beholder.errors import BadFileError, BadImageError, BadOptionError
from beholder.evaluation.sweep import jobs, results
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep.jobs import Batch


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photographs with labels in their names."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Watcher]]:
    """Register stand-ins, which last as long as the test."""

    def register(*made: Watcher) -> list[Watcher]:
        table = {watcher.info.name: watcher for watcher in made}
        monkeypatch.setattr(observers, "get", lambda name, labels=None: table[name])
        return list(made)

    return register


@pytest.mark.parametrize("protocol", ["native", "paper"])
def test_rows_are_those_of_single_evaluations(protocol: str, photos: Path, tmp_path: Path) -> None:
    grid = {"rnn": [1, 3], "jpeg": [5]}
    settings = prepare(
        photos, codecs=list(grid), qualities=grid, alphas=[0, 0.5], classifiers=[OBSERVER], protocol=protocol, limit=1
    )
    rows = rows_of(settings, tmp_path / "out")
    wanted = [
        (path.stem, codec, alpha, quality)
        for path in sorted(photos.iterdir())[:1]
        for codec in grid
        for alpha in ((0.0, 0.5) if codec == "rnn" else (None,))
        for quality in grid[codec]
    ]
    assert [(r["image"], r["codec"], r["alpha"], r["quality"]) for r in rows] == wanted
    for row in rows:
        path = photos / f"{row['image']}.png"
        single = beholder.evaluate_image(path, row["codec"], row["alpha"] or 0.0, row["quality"], protocol=protocol)
        for column in ("width", "height", "bytes", "bpp", "ms_ssim", "psnr"):
            assert row[column] == getattr(single, column), column
        assert row["classifier"] == OBSERVER
        assert row["label"] == int(row["image"][:4])
        assert row["top5_original"] == [p.index for p in single.predictions_original]
        assert row["top5"] == [p.index for p in single.predictions_compressed]
        assert row["top5_probability"] == pytest.approx(
            [p.probability for p in single.predictions_compressed], abs=1e-5
        )
        assert row["correct"] == (row["top5"][0] == row["label"])
        assert row["correct5"] == (row["label"] in row["top5"])
        assert row["correct_original"] == (row["top5_original"][0] == row["label"])
        assert row["agrees"] == (row["top5"][0] == row["top5_original"][0])
        assert row["encode_seconds"] > 0
        assert row["decode_seconds"] > 0


def test_table_has_the_published_columns(photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos, classifiers=[OBSERVER], metrics=["ms_ssim", "psnr", "feature_distance"], limit=1)
    folder = tmp_path / "out"
    sweep.run(settings, folder)
    assert results.read(folder).schema.equals(results.schema(settings.metrics))
    # Anybody's reader finds the folder, too.
    assert pq.read_table(folder / "results.parquet").num_rows == 2
    assert results.read(folder / "results.parquet", ["bpp"]).column_names == ["bpp"]
    written = json.loads((folder / "settings.json").read_text())
    assert written["data"] == str(photos.resolve())
    assert written["codecs"] == ["jpeg"]
    assert written["qualities"] == {"jpeg": [5, 50]}
    assert written["classifiers"] == [OBSERVER]
    assert written["metrics"] == ["ms_ssim", "psnr", "feature_distance"]
    assert written["protocol"] == "native"
    assert written["limit"] == 1
    assert written["versions"]["beholder"] == beholder.__version__


def test_files_are_made_and_read_once_and_shown_to_all(
    photos: Path, tmp_path: Path, watchers: Callable[..., list[Watcher]], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, big, other = watchers(Watcher("small", 30), Watcher("other", 32), Watcher("big", 40))
    calls: Counter[str] = Counter()
    codec = codecs.get("jpeg")
    settings = prepare(photos, classifiers=["small", "other", "big"], protocol="paper", limit=1)
    for name in ("_encode", "_decode"):
        original = getattr(codec, name)

        def counted(*arguments: Any, name: str = name, original: Any = original) -> Any:
            calls[name] += 1
            return original(*arguments)

        monkeypatch.setattr(codec, name, counted)
    rows = rows_of(settings, tmp_path / "out")
    # 30 and 32 pixels share a square of 64, 40 pixels need one of 80; a tiny file beforehand warms up.
    assert calls == {"_encode": 1 + 2 * 2, "_decode": 1 + 2 * 2}
    assert [(r["classifier"], r["width"]) for r in rows] == [
        *(("small", 64), ("other", 64)) * 2,
        *(("big", 80),) * 2,
    ]
    for watcher in (small, other, big):
        # A grey square to warm up, the original once, then each decompressed image once.
        assert len(watcher.shown) == 1 + 1 + 2


def test_native_protocol_compresses_the_photo_once(
    photos: Path, tmp_path: Path, watchers: Callable[..., list[Watcher]]
) -> None:
    watchers(Watcher("small", 30), Watcher("big", 40))
    rows = rows_of(prepare(photos, classifiers=["small", "big"], limit=1), tmp_path / "out")
    assert {(r["width"], r["height"]) for r in rows} == {(96, 72)}
    by_quality = {q: [r for r in rows if r["quality"] == q] for q in (5, 50)}
    for pair in by_quality.values():
        assert [r["classifier"] for r in pair] == ["small", "big"]
        assert pair[0]["encode_seconds"] == pair[1]["encode_seconds"]


def test_progressive_codec_encodes_once_and_says_so_in_its_seconds(photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos, codecs=["rnn"], qualities={"rnn": [1, 2, 5]}, alphas=[0.4], limit=1)
    rows = rows_of(settings, tmp_path / "out")
    assert len({r["encode_seconds"] for r in rows}) == 1
    assert len({r["decode_seconds"] for r in rows}) == 3
    assert [r["bytes"] for r in rows] == sorted({r["bytes"] for r in rows})


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_files_of_one_encoding_are_those_of_many(mode: str, photo: Image.Image) -> None:
    codec = codecs.get("rnn")
    image = photo.crop((0, 0, 70, 50)).convert(mode)
    qualities = [5, 1, 3]
    files = codec.encode_many(image, qualities, alpha=0.3)
    assert files == [codec.encode(image, quality, alpha=0.3) for quality in qualities]
    # They are as long as a prefix of the best one and show what that shows.
    best = files[0]
    for file, quality in zip(files, qualities, strict=True):
        assert codec.decode(best[: len(file)], quality).tobytes() == codec.decode(file).tobytes()


def test_encoding_many_checks_each_quality(photo: Image.Image) -> None:
    assert codecs.get("rnn").encode_many(photo, []) == []
    for name in ("rnn", "jpeg"):
        with pytest.raises(BadOptionError, match="scale"):
            codecs.get(name).encode_many(photo, [0, 4])


def test_broken_images_are_reported_and_the_others_done(photos: Path, tmp_path: Path) -> None:
    (photos / "0001_broken.png").write_bytes(b"no picture at all")
    whole = (photos / "0003_photo.png").read_bytes()
    (photos / "0002_cut.png").write_bytes(whole[: len(whole) // 2])
    outcome = sweep.run(prepare(photos), tmp_path / "out")
    assert (outcome.images, outcome.rows) == (6, 8)
    assert [f.file for f in outcome.failures] == ["0001_broken.png", "0002_cut.png"]
    with open(tmp_path / "out" / "errors.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["0001_broken", "0002_cut"]
    assert "damaged" in rows[1]["error"]
    assert not set(results.read(tmp_path / "out")["image"].to_pylist()) & {"0001_broken", "0002_cut"}
    # What was broken is known after a resumption, too, and not tried again.
    again = sweep.run(prepare(photos), tmp_path / "out", resume=True)
    assert again == outcome


def test_sweep_in_which_everything_fails_stops_early(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (photos / f"0000_{number}.png").write_bytes(b"broken")
    seen: list[sweep.Progress] = []
    with pytest.raises(BadImageError, match="first 20 images failed"):
        sweep.run(prepare(photos), tmp_path / "out", progress=seen.append)
    assert seen[-1].images == 20
    with open(tmp_path / "out" / "errors.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 20


def test_image_that_one_codec_cannot_do_is_left_out_for_all(photos: Path, tmp_path: Path) -> None:
    Image.new("L", (16_500, 2)).save(photos / "0001_wide.png")
    settings = prepare(photos, codecs=["jpeg", "webp"], qualities={"jpeg": [5], "webp": [5]})
    outcome = sweep.run(settings, tmp_path / "out")
    assert [(f.image, "does not fit into webp" in f.error) for f in outcome.failures] == [("0001_wide", True)]
    assert outcome.rows == 8


def test_unlabelled_data_has_agreement_only(tmp_path: Path, photo: Image.Image) -> None:
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    settings = prepare(tmp_path / "photos", classifiers=[OBSERVER])
    assert settings.accurate == ()
    for row in rows_of(settings, tmp_path / "out"):
        assert [row[c] for c in ("label", "correct", "correct5", "correct_original")] == [None] * 4
        assert isinstance(row["agrees"], bool)


def test_labels_are_numbered_as_the_observer_does(
    photos: Path, tmp_path: Path, watchers: Callable[..., list[Watcher]]
) -> None:
    for index, name in enumerate(("sparrow", "owl")):
        (tmp_path / "birds" / name).mkdir(parents=True)
        make_photo(40, 30, seed=index).save(tmp_path / "birds" / name / "a.png")
    watchers(
        Watcher("same", 32, [("", "Sparrow"), ("", "finch"), ("", "owl")]),
        Watcher("strange", 32, [("", "cat"), ("", "dog")]),
    )
    settings = prepare(tmp_path / "birds", classifiers=["same", "strange"])
    assert settings.accurate == ("same",)
    found = {(r["image"], r["classifier"]): r["label"] for r in rows_of(settings, tmp_path / "out")}
    labels = {image.split("_")[0]: label for (image, name), label in found.items() if name == "same"}
    assert labels == {"owl": 2, "sparrow": 0}
    assert {label for (_, name), label in found.items() if name == "strange"} == {None}
    # An observer of two classes has no five best.
    assert {len(r["top5"]) for r in results.read(tmp_path / "out").to_pylist() if r["classifier"] == "strange"} == {2}


def test_sweep_without_classifiers_has_a_row_a_file(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(prepare(photos, protocol="paper"), tmp_path / "out")
    assert len(rows) == 4 * 2
    assert {(r["width"], r["classifier"], r["agrees"], r["top5"]) for r in rows if r["top5"] is None} == {
        (256, None, None, None)
    }


def test_metrics_are_the_ones_asked_for(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(prepare(photos, metrics=["psnr"], limit=1), tmp_path / "out")
    assert "ms_ssim" not in rows[0]
    assert "ms_ssim" not in rows_of(prepare(photos, metrics=[], limit=1), tmp_path / "none")[0]


def test_feature_distance_is_that_of_the_observers_features(
    photos: Path, tmp_path: Path, watchers: Callable[..., list[Watcher]]
) -> None:
    watchers(Watcher("a", 32), Watcher("b", 64))
    settings = prepare(photos, classifiers=["a", "b"], metrics=["feature_distance"], limit=1)
    rows = rows_of(settings, tmp_path / "out")
    image = Image.open(photos / "0003_photo.png")
    for row in rows:
        watcher = observers.get(row["classifier"])
        decoded = codecs.get("jpeg").decode(codecs.get("jpeg").encode(image, row["quality"]))
        a, b = watcher.features([watcher.view(image), watcher.view(decoded)]).astype(np.float64)
        cosine = a @ b / math.sqrt((a @ a) * (b @ b))
        assert row["feature_distance"] == pytest.approx(2 - 2 * cosine, rel=1e-3)


vectors = st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4)


@given(vectors, vectors, st.floats(0.125, 100))
def test_feature_distance_has_the_properties_of_one(first: list[float], second: list[float], scale: float) -> None:
    a, b = np.array(first), np.array(second)
    distance = jobs.feature_distance(a, b)
    assert 0 <= distance <= 4 + 1e-9
    assert jobs.feature_distance(a, a) == 0
    assert distance == pytest.approx(jobs.feature_distance(b, a))
    assert distance == pytest.approx(jobs.feature_distance(a * scale, b), abs=1e-9)


def test_feature_distance_of_known_vectors() -> None:
    assert jobs.feature_distance(np.array([2.0, 0]), np.array([0, 5.0])) == pytest.approx(2)
    assert jobs.feature_distance(np.array([2.0, 0]), np.array([-1.0, 0])) == pytest.approx(4)
    assert jobs.feature_distance(np.zeros(2), np.zeros(2)) == 0


def test_gallery_holds_the_first_images(photos: Path, tmp_path: Path) -> None:
    settings = prepare(photos, codecs=["rnn", "jpeg"], qualities={"rnn": [2], "jpeg": [5]}, alphas=[0.5], gallery=2)
    sweep.run(settings, tmp_path / "out")
    gallery = tmp_path / "out" / "gallery"
    assert sorted(str(path.relative_to(gallery)) for path in gallery.rglob("*.png")) == [
        f"{key}/{name}"
        for key in ("0003_photo", "0281_photo")
        for name in ("jpeg-q5.png", "original.png", "rnn-a0.5-q2.png")
    ]
    with Image.open(photos / "0003_photo.png") as image, Image.open(gallery / "0003_photo" / "jpeg-q5.png") as shown:
        codec = codecs.get("jpeg")
        assert shown.tobytes() == codec.decode(codec.encode(image, 5)).tobytes()


def test_gallery_crops_large_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.effect_noise((900, 300), 50).save(tmp_path / "photos" / "a.png")
    sweep.run(prepare(tmp_path / "photos", metrics=[]), tmp_path / "out")
    sizes = {Image.open(path).size for path in (tmp_path / "out" / "gallery" / "a").iterdir()}
    assert sizes == {(384, 300)}


def test_shards_give_the_rows_of_their_folder(photos: Path, tmp_path: Path) -> None:
    source = beholder.data.open_source(photos)
    create(source, tmp_path / "shards", shard_size=3)  # type: ignore[arg-type]
    folder = rows_of(prepare(photos, classifiers=[OBSERVER]), tmp_path / "a")
    shards = rows_of(prepare(tmp_path / "shards", classifiers=[OBSERVER]), tmp_path / "b")
    assert without_times(shards) == without_times(folder)
    # A damaged shard is no broken image: it ends the sweep, and the whole copy goes on.
    tar = next((tmp_path / "shards").glob("*1.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:100])
    with pytest.raises(BadFileError):
        sweep.run(prepare(tmp_path / "shards"), tmp_path / "c")
    tar.write_bytes(whole)
    outcome = sweep.run(prepare(tmp_path / "shards"), tmp_path / "c", resume=True)
    assert (outcome.rows, outcome.failures) == (8, ())


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 60),
    st.integers(1, 5),
)
def test_batches_cover_the_images_once_and_stay_in_their_shard(sizes: list[int], limit: int, size: int) -> None:
    bounds = np.cumsum([0, *sizes])
    parts = [range(a, b) for a, b in pairwise(bounds)]
    images = min(limit, sum(sizes))
    made = jobs.batches(parts, images, size)
    assert [i for batch in made for i in range(batch.start, batch.stop)] == list(range(images))
    assert [batch.number for batch in made] == list(range(len(made)))
    assert all(1 <= len(batch) <= size for batch in made)
    assert all(any(batch.start in part and batch.stop - 1 in part for part in parts) for batch in made)


def test_evaluator_streams(photos: Path) -> None:
    evaluator = jobs.Evaluator(prepare(photos))
    result = evaluator.batch(Batch(7, 1, 3))
    assert (result.number, result.images) == (7, 2)
    assert result.columns["image"] == ["0281_photo"] * 2 + ["0500_photo"] * 2
    assert pa.table(result.columns).num_rows == 4


def test_an_effort_is_a_setting(photos: Path) -> None:
    """And where torch is installed, which it may need, so is torch's version."""
    plain, searching = (prepare(photos, codecs=["rnn"], qualities={}, effort=effort) for effort in (0, 1))
    assert plain.differences(plain.as_dict()) == []
    changed = {line.partition(":")[0] for line in searching.differences(plain.as_dict())}
    assert "effort" in changed
    assert changed <= {"effort", "versions of torch"}
    assert [getattr(codec, "effort", None) for codec in searching.open_codecs()] == [1]
