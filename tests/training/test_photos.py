"""Crops of photographs: reproducible by seed and step, from pictures of any size and mode."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import make_photo
from PIL import Image

pytest.importorskip("torch")

from beholder.errors import BadImageError
from beholder.training.photos import PhotoCrops, find_photos, validation_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, size in enumerate([(96, 64), (50, 130), (20, 40)]):
        place = tmp_path / "photos" / ("deeper" if i else "")
        place.mkdir(parents=True, exist_ok=True)
        make_photo(*size, seed=i).save(place / f"{i}.png")
    return tmp_path / "photos"


def test_a_batch_depends_on_seed_and_step_alone(folder: Path) -> None:
    first, second = PhotoCrops(folder, 32, seed=3), PhotoCrops(folder, 32, seed=3)
    forward = [first.batch(step, 4) for step in range(4)]
    backward = [second.batch(step, 4) for step in (3, 2, 1, 0)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert a.shape == (4, 3, 32, 32)
        assert a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
    for a, b in itertools.pairwise(forward):
        assert not np.array_equal(a, b)
    assert not np.array_equal(forward[0], PhotoCrops(folder, 32, seed=4).batch(0, 4))


def test_batches_start_anywhere(folder: Path) -> None:
    crops = PhotoCrops(folder, 32)
    stream = crops.batches(5, 2)
    for step in (5, 6, 7):
        np.testing.assert_array_equal(next(stream), PhotoCrops(folder, 32).batch(step, 2))
    stream.close()


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 500), (31, 33), (32, 32), (33, 33), (47, 32), (61, 59), (37, 400), (129, 128)]
)
def test_pictures_around_the_size_of_a_crop(tmp_path: Path, size: tuple[int, int]) -> None:
    make_photo(*size).save(tmp_path / "photo.png")
    for crop in (32, 49):
        crops = PhotoCrops(tmp_path, crop)
        for step in range(10):
            assert crops.batch(step, 3).shape == (3, 3, crop, crop)


def test_sizes_at_which_rounding_exceeds_the_picture(tmp_path: Path) -> None:
    """112 * (29 / 112) > 29 in floating point: such a crop once asked for a negative range of positions."""
    make_photo(29, 29).save(tmp_path / "photo.png")
    assert PhotoCrops(tmp_path, 112).batch(0, 2).shape == (2, 3, 112, 112)


def test_crops_come_from_the_photograph(tmp_path: Path) -> None:
    Image.new("RGB", (100, 70), (200, 100, 50)).save(tmp_path / "plain.png")
    batch = PhotoCrops(tmp_path, 32).batch(0, 5)
    np.testing.assert_array_equal(batch, np.broadcast_to(np.array([200, 100, 50])[:, None, None], batch.shape))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "CMYK"])
def test_any_mode(tmp_path: Path, modes: dict[str, Image.Image], mode: str) -> None:
    modes[mode].save(tmp_path / ("photo.tif" if mode in ("CMYK", "I;16") else "photo.png"))
    assert PhotoCrops(tmp_path, 32).batch(0, 2).shape == (2, 3, 32, 32)
    assert validation_set(tmp_path).shape == (1, 3, 256, 256)


def test_find_photos_is_sorted_and_ignores_the_rest(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing")
    (folder / "folder.png").mkdir()
    assert [p.name for p in find_photos(folder)] == ["0.png", "1.png", "2.png"]


def test_no_photographs(tmp_path: Path) -> None:
    for use in (find_photos, validation_set, lambda folder: PhotoCrops(folder, 32)):
        with pytest.raises(BadImageError, match="holds no photographs"):
            use(tmp_path)
        with pytest.raises(BadImageError, match="no folder"):
            use(tmp_path / "missing")


def test_text_named_as_a_photograph(folder: Path) -> None:
    (folder / "bad.jpg").write_text("this is text")
    with pytest.raises(BadImageError, match=r"bad\.jpg"):
        PhotoCrops(folder, 32)


def test_truncated_photograph(tmp_path: Path) -> None:
    make_photo(64, 64).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    crops = PhotoCrops(tmp_path, 32)
    with pytest.raises(BadImageError, match=r"cut\.png"):
        next(crops.batches(0, 1))


@pytest.mark.parametrize("size", [(256, 256), (20, 3), (300, 257), (2000, 600), (257, 1200)])
def test_validation_is_a_centre_crop(tmp_path: Path, size: tuple[int, int]) -> None:
    photo = Image.radial_gradient("L").resize(size)  # dark in the middle
    photo.save(tmp_path / "photo.png")
    crop = validation_set(tmp_path)[0, 0].astype(int)
    assert crop.shape == (256, 256)
    np.testing.assert_allclose(crop, crop[::-1], atol=6)
    np.testing.assert_allclose(crop, crop[:, ::-1], atol=6)


def test_validation_takes_no_more_than_asked(folder: Path) -> None:
    assert validation_set(folder, side=64, most=2).shape == (2, 3, 64, 64)
