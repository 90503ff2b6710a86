"""MS-SSIM: agreement with pytorch_msssim and published figures, and what every similarity must obey."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import damage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from beholder import codecs
from beholder.errors import BadImageError
from beholder.metrics import ms_ssim, ms_ssim_db, psnr
from beholder.reading import load


@pytest.fixture
def large(photo: Image.Image) -> Image.Image:
    return photo.resize((333, 201))


@pytest.mark.parametrize("size", [(161, 161), (176, 176), (333, 201), (202, 331)])
@pytest.mark.parametrize("how", ["jpeg", "blur", "negative", "noise"])
def test_agrees_with_pytorch_msssim(photo: Image.Image, size: tuple[int, int], how: str) -> None:
    pytest.importorskip("pytorch_msssim")
    torch = pytest.importorskip("torch")
    from pytorch_msssim import ms_ssim as reference

    a = photo.resize(size)
    b = damage(a, how)
    tensors = [torch.from_numpy(np.array(i)).permute(2, 0, 1)[None].double() for i in (a, b)]
    expected = float(reference(*tensors, data_range=255))
    assert ms_ssim(a, b) == pytest.approx(expected, abs=1e-5)


def test_published_jpeg_on_kodak(shared_data: Path) -> None:
    """Means over the 24 photographs at quality 10, against the tenth point of TensorFlow Compression."""
    reference = json.loads((shared_data / "kodak_reference.json").read_text())
    published = reference["codecs"]["tfc/jpeg420"]["points"][9]
    codec = codecs.get("jpeg")
    pairs = []
    for path in sorted((shared_data / "kodak").glob("kodim*")):
        image = load(path)
        pairs.append((image, codec.decode(codec.encode(image, 10))))
    assert len(pairs) == 24
    # Another libjpeg and another chroma upsampling made the published files.
    assert np.mean([ms_ssim(a, b) for a, b in pairs]) == pytest.approx(published["ms_ssim"], abs=0.003)
    assert np.mean([psnr(a, b) for a, b in pairs]) == pytest.approx(published["psnr"], abs=0.05)


@settings(max_examples=40)
@given(width=st.integers(1, 200), height=st.integers(1, 200), seed=st.integers(0, 9))
def test_bounds_symmetry_and_identity_at_any_size(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    assert ms_ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    value = ms_ssim(a, b)
    assert 0.0 <= value <= 1.0
    assert ms_ssim(b, a) == pytest.approx(value, abs=1e-12)


def test_falls_with_damage_at_every_number_of_scales(photo: Image.Image) -> None:
    for side in (8, 30, 60, 100, 170):
        image = photo.resize((side, side))
        noise = np.random.default_rng(0).normal(size=(side, side, 3))
        values = [
            ms_ssim(image, np.clip(np.asarray(image) + strength * noise, 0, 255).astype(np.uint8))
            for strength in (0.6, 5, 20, 60)
        ]
        assert values == sorted(values, reverse=True)
        assert values[0] > 0.97


def test_flat_pictures_compare_by_luminance() -> None:
    black, white = np.zeros((256, 176, 3), np.uint8), np.full((256, 176, 3), 255, np.uint8)
    assert ms_ssim(black, black) == 1.0
    # Luminance term C1 / (255^2 + C1) with C1 = 2.55^2, to the power of the coarsest scale.
    assert ms_ssim(black, white) == pytest.approx((2.55**2 / (255**2 + 2.55**2)) ** 0.1333, rel=1e-6)


def test_grey_equals_grey_rgb(large: Image.Image) -> None:
    grey = large.convert("L")
    blurred = grey.filter(ImageFilter.GaussianBlur(2))
    expected = ms_ssim(grey.convert("RGB"), blurred.convert("RGB"))
    assert ms_ssim(grey, blurred) == pytest.approx(expected, abs=1e-12)
    assert ms_ssim(grey, blurred.convert("RGB")) == pytest.approx(expected, abs=1e-12)
    assert ms_ssim(np.asarray(grey), np.asarray(blurred)[..., np.newaxis]) == pytest.approx(expected, abs=1e-12)


def test_bad_arguments(photo: Image.Image) -> None:
    with pytest.raises(BadImageError, match="160 x 120 and 120 x 160"):
        ms_ssim(photo, photo.transpose(Image.Transpose.ROTATE_90))
    for array in (np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(BadImageError, match="is no picture"):
            ms_ssim(array, array)


def test_decibels() -> None:
    assert ms_ssim_db(0.9) == pytest.approx(10.0)
    assert ms_ssim_db(0.99) == pytest.approx(20.0)
    assert ms_ssim_db(1.0) == float("inf")
