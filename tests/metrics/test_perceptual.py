"""SSIMULACRA 2 and VIF: what their authors promise, and their limits."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from beholder import codecs, metrics
from beholder.errors import BadImageError
from beholder.metrics import ssimulacra2
from beholder.reading import load

NEEDS = {"ssimulacra2": "numpy", "vif": "torchmetrics"}
PERFECT = {"ssimulacra2": 100.0, "vif": 1.0}
SMALLEST = {"ssimulacra2": 8, "vif": 41}


@pytest.fixture(params=sorted(NEEDS))
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(NEEDS[request.param])
    return str(request.param)


def test_a_perfect_copy_and_worse_ones(name: str, photo: Image.Image) -> None:
    metric, jpeg = metrics.get(name), codecs.get("jpeg")
    assert metric(photo, photo) == pytest.approx(PERFECT[name], abs=1e-4)
    values = [metric(photo, jpeg.decode(jpeg.encode(photo, quality))) for quality in (95, 50, 20, 5)]
    assert values == sorted(values, reverse=True)
    assert metric(photo, photo.filter(ImageFilter.GaussianBlur(4))) < values[0] < PERFECT[name]


def test_arrays_and_grey(name: str, photo: Image.Image) -> None:
    metric = metrics.get(name)
    blurred = photo.filter(ImageFilter.GaussianBlur(1))
    assert metric(np.asarray(photo), np.asarray(blurred)) == metric(photo, blurred)
    grey, grey_blurred = photo.convert("L"), blurred.convert("L")
    assert metric(grey, grey_blurred) == pytest.approx(metric(grey.convert("RGB"), grey_blurred.convert("RGB")))


def test_too_small_is_not_a_number(name: str, photo: Image.Image) -> None:
    metric = metrics.get(name)
    for size, measurable in ((SMALLEST[name] - 1, False), (SMALLEST[name], True)):
        a = photo.resize((size, 60))
        assert math.isnan(metric(a, a.filter(ImageFilter.BLUR))) != measurable
    with pytest.raises(BadImageError):
        metric(photo, photo.crop((0, 0, 60, 60)))


def test_vif_grows_with_contrast(photo: Image.Image) -> None:
    """The property that no other metric here has: enhanced contrast is more information."""
    pytest.importorskip("torchmetrics")
    soft = photo.point(lambda value: int(64 + value / 2))
    assert metrics.get("vif")(soft, photo) > 1.0 > metrics.get("vif")(photo, soft)


@pytest.mark.parametrize("size", [(300, 226), (255, 257), (61, 130), (33, 17), (8, 9)])
def test_ssimulacra2_is_that_of_the_package(photo: Image.Image, size: tuple[int, int]) -> None:
    """At six scales and fewer, odd and even, in one strip of rows and in several."""
    package = pytest.importorskip("ssimulacra2")
    original, file = photo.resize(size), BytesIO()
    original.save(file, "BMP")
    for quality in (3, 40, 95):
        copy = BytesIO()
        original.save(copy, "JPEG", quality=quality)
        expected = package.compute_ssimulacra2(BytesIO(file.getvalue()), BytesIO(copy.getvalue()))
        assert metrics.get("ssimulacra2")(original, Image.open(copy)) == pytest.approx(expected, abs=1e-8)


def test_ssimulacra2_in_strips(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """The height of strips changes nothing but the order of sums."""
    blurred = photo.filter(ImageFilter.GaussianBlur(1))
    whole = metrics.get("ssimulacra2")(photo, blurred)
    monkeypatch.setattr(ssimulacra2, "STRIP", 1)
    assert metrics.get("ssimulacra2")(photo, blurred) == pytest.approx(whole, abs=1e-9)


def test_ssimulacra2_agrees_with_its_documented_scale(shared_data: Path) -> None:
    """Its authors: 30 is what libjpeg-turbo reaches at quality 20, 50 at 35, 70 at 65, 90 at 95 (4:2:0, on average)."""
    metric, jpeg = metrics.get("ssimulacra2"), codecs.get("jpeg")
    images = [load(path).resize((384, 256)) for path in sorted((shared_data / "kodak").glob("kodim*"))[::6]]
    means = {q: np.mean([metric(i, jpeg.decode(jpeg.encode(i, q))) for i in images]) for q in (20, 35, 65, 95)}
    assert means == pytest.approx({20: 30, 35: 50, 65: 70, 95: 90}, abs=8)
