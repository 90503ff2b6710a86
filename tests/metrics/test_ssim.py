"""SSIM: agreement with pytorch_msssim, closed forms, and what every similarity must obey."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.photos import damage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder.errors import BadImageError
from beholder.metrics import ssim


@pytest.mark.parametrize("size", [(11, 11), (64, 41), (333, 201)])
@pytest.mark.parametrize("how", ["jpeg", "blur", "negative", "noise"])
def test_agrees_with_pytorch_msssim(photo: Image.Image, size: tuple[int, int], how: str) -> None:
    reference = pytest.importorskip("pytorch_msssim").ssim
    torch = pytest.importorskip("torch")
    a = photo.resize(size)
    b = damage(a, how)
    tensors = [torch.from_numpy(np.array(i)).permute(2, 0, 1)[None].double() for i in (b, a)]
    expected = float(reference(*tensors, data_range=255))
    assert ssim(a, b) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=40)
@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 9))
def test_bounds_symmetry_and_identity_at_any_size(width: int, height: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert -1.0 <= ssim(a, b) <= 1.0
    assert ssim(b, a) == pytest.approx(ssim(a, b), abs=1e-12)


def test_flat_pictures_compare_by_luminance() -> None:
    a, b = np.full((20, 30, 3), 50, np.uint8), np.full((20, 30, 3), 200, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 50 * 200 + c1) / (50**2 + 200**2 + c1), rel=1e-6)


def test_sizes_must_agree(photo: Image.Image) -> None:
    with pytest.raises(BadImageError, match="160 x 120 and 120 x 160"):
        ssim(photo, photo.transpose(Image.Transpose.ROTATE_90))
