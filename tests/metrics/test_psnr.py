"""PSNR against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from beholder.errors import BadImageError
from beholder.metrics import psnr


def test_values() -> None:
    black = np.zeros((5, 7, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 255) == pytest.approx(0.0)
    # A mean squared error of 1 is 20 log10 255.
    assert psnr(black, black + 1) == pytest.approx(48.1308036)
    one = black.copy()
    one[0, 0, 0] = 105
    assert psnr(black, one) == pytest.approx(10 * math.log10(255**2 / (105**2 / 105)))
    tall = np.zeros((200, 1), np.uint8)
    low = tall.copy()
    low[[63, 64, 199]] = 10
    assert psnr(tall, low) == pytest.approx(10 * math.log10(255**2 / (3 * 10**2 / 200)))


def test_symmetry_modes_and_transparency(photo: Image.Image) -> None:
    noisy = Image.fromarray(np.asarray(photo) ^ 3)
    assert psnr(photo, noisy) == psnr(noisy, photo) == psnr(np.asarray(photo), noisy)
    clear = Image.new("RGBA", photo.size, (9, 9, 9, 0))
    assert psnr(clear, Image.new("RGB", photo.size, "white")) == math.inf
    with pytest.raises(BadImageError):
        psnr(photo, photo.crop((0, 0, 9, 9)))
