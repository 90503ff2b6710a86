"""`--human`: distances that latent optimisation minimises for people, their gradients, and what the files gain."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder import BeholderWarning, api, cli, samples
from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.layout import ITERATIONS
from beholder.codecs.rnn.optimise import adjust, distortions
from beholder.codecs.rnn.optimise.distortions import (
    HUMAN_DISTANCES,
    LARGE,
    BlendDistortion,
    Distortion,
    LargeBlend,
    MseDistortion,
)
from beholder.codecs.rnn.optimise.ssimulacra2 import Ssimulacra2Distortion
from beholder.errors import BadOptionError
from beholder.metrics import psnr
from beholder.metrics.ssimulacra2 import ssimulacra2

SQUARE = (64, 32, 320, 288)


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    with Image.open(samples.path("chelsea")) as picture:
        return picture.convert("RGB")


def planes(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A random walk and a noisy copy, (3, height, width) uint8, one grey level away from both ends."""
    rng = np.random.default_rng(height)
    walk = 128 + np.cumsum(rng.normal(0, 4, (3, height, width)), 2)
    noisy = walk + rng.normal(0, 9, walk.shape)
    return tuple(np.clip(x, 1, 254).astype(np.uint8) for x in (walk, noisy))  # type: ignore[return-value]


ONCE = functools.partial(BlendDistortion, keep=False)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        *product([MseDistortion, Ssimulacra2Distortion, BlendDistortion], [(11, 12), (65, 80), (243, 171)]),
        *product([ONCE, LargeBlend], [(16, 18), (32, 80), (244, 172)]),
    ],
)
def test_gradients_are_finite_differences(make: Callable[[np.ndarray], Distortion], size: tuple[int, int]) -> None:
    """Along random steps of a grey level, and along the gradient; the mean of both ways, so that curvature cancels."""
    original, decoded = pair(*size)
    human = make(original)
    gradient = human.gradient(decoded)
    tolerance = 0.02 * float(np.abs(gradient).sum())
    rng = np.random.default_rng(0)
    directions = [rng.integers(-1, 2, decoded.shape) for _ in range(3)]
    directions.append(np.sign(gradient) * (np.abs(gradient) > np.median(np.abs(gradient))))
    for direction in directions:
        ends = [human.distortion((decoded + sign * direction).astype(np.uint8)) for sign in (1, -1)]
        # A grey level is no small step where the gradient jumps.
        assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=0.12, abs=tolerance)


@pytest.mark.parametrize(("quality", "sides"), [(5, (288, 240)), (30, (241, 255)), (60, (225, 300)), (80, (320, 257))])
def test_ssimulacra2_is_that_of_the_package(cat: Image.Image, quality: int, sides: tuple[int, int]) -> None:
    original = cat.resize(sides)
    file = BytesIO()
    original.save(file, "JPEG", quality=quality)
    decoded = Image.open(file)
    expected = ssimulacra2(original, decoded)
    assert Ssimulacra2Distortion(planes(original)).score(planes(decoded)) == pytest.approx(expected, abs=0.02)


def test_large_pictures_have_a_gradient_of_fewer_comparisons(cat: Image.Image) -> None:
    """It points where that of all comparisons points, and small pictures do without."""
    blend = HUMAN_DISTANCES["blend"]
    small, large = blend.step_for(LARGE - 1), blend.step_for(LARGE)
    assert small is blend.step
    assert HUMAN_DISTANCES["psnr"].step_for(LARGE) is HUMAN_DISTANCES["psnr"].step
    original = planes(cat.crop(SQUARE))
    decoded = (original // 24 * 24 + 12).astype(np.uint8)
    whole, fewer = (step.scale * step.make(original).gradient(decoded).ravel() for step in (small, large))
    assert whole @ fewer > 0.9 * np.linalg.norm(whole) * np.linalg.norm(fewer)
    assert np.linalg.norm(fewer) == pytest.approx(np.linalg.norm(whole), rel=0.15)


def test_the_encoder_uses_it(cat: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = cat.crop(SQUARE)
    codec = Rnn()
    small = codec.encode(picture, 4)
    monkeypatch.setattr(distortions, "LARGE", 1)
    large = codec.encode(picture, 4)
    assert large != small
    assert len(large) == pytest.approx(len(small), rel=0.03)
    scores = [ssimulacra2(picture, codec.decode(data)) for data in (small, large)]
    assert scores[1] == pytest.approx(scores[0], abs=1)


def test_equal_pictures_have_finite_distortions(cat: Image.Image) -> None:
    pixels = planes(cat.resize((240, 240)))
    assert Ssimulacra2Distortion(pixels).score(pixels) == pytest.approx(100, abs=0.01)
    for name, distance in HUMAN_DISTANCES.items():
        human = distance.make(pixels)
        assert math.isfinite(human.distortion(pixels)), name
        assert np.isfinite(human.gradient(pixels)).all(), name


def test_every_distance_has_a_multiplier_for_each_quality() -> None:
    for name, distance in HUMAN_DISTANCES.items():
        assert len(distance.lambdas) == ITERATIONS, name
        assert min(distance.lambdas) > 0, name


@pytest.fixture(scope="module")
def usual_files(cat: Image.Image) -> list[bytes]:
    """Files of two qualities, made for MS-SSIM."""
    usual = Rnn(effort=1, human="ms-ssim")
    return [usual.encode(cat.crop(SQUARE), quality) for quality in (2, 4)]


@pytest.mark.parametrize(
    ("human", "score"),
    [("psnr", psnr), ("ssimulacra2", ssimulacra2)],
)
def test_files_are_better_by_the_distance_they_are_made_for(
    cat: Image.Image, usual_files: list[bytes], human: str, score: Callable[..., float]
) -> None:
    """At no higher rate: the file for the distance lies above the line between two qualities of the other."""
    picture, special = cat.crop(SQUARE), Rnn(effort=1, human=human)
    ends = [(len(data), score(picture, special.decode(data))) for data in usual_files]
    data = special.encode(picture, 3)
    rates, scores = zip(*ends, strict=True)
    assert rates[0] < len(data) < rates[1]
    between = float(np.interp(math.log(len(data)), np.log(rates), scores))
    assert score(picture, special.decode(data)) > between + {"psnr": 0.2, "ssimulacra2": 2.0}[human]


@pytest.mark.parametrize("human", ["blend", "ssimulacra2"])
def test_the_learned_step_serves_another_distance(cat: Image.Image, human: str) -> None:
    picture = cat.crop(SQUARE)
    usual, special = Rnn(human="ms-ssim"), Rnn(human=human)
    files = [codec.encode(picture, 4) for codec in (usual, special)]
    assert len(files[1]) == pytest.approx(len(files[0]), rel=0.05)
    scores = [ssimulacra2(picture, usual.decode(data)) for data in files]
    assert scores[1] > scores[0] + 0.5
    assert special.without_effect(0.0) is None
    assert "has no effect" in str(special.without_effect(1.0))


def test_even_activity_changes_steps_and_not_the_picture(cat: Image.Image) -> None:
    model = Rnn().model
    latent = model.analyse(planes(cat.crop((64, 32, 160, 112))), 0.0)
    mean = float(latent[0].mean())
    flat = adjust.even_activity(latent, mean, 0.0)
    assert np.ptp(latent[0]) > 1
    assert (flat[0] == np.round(mean)).all()
    pictures = [model.reconstruction.picture(part).astype(int) for part in (latent, flat)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    np.testing.assert_allclose(adjust.even_activity(latent, mean, 1.0), latent, rtol=1e-6)


def test_options_without_effect_are_told(photo: Image.Image) -> None:
    with pytest.warns(BeholderWarning, match="--human psnr has no effect without --effort|Effort 0 optimises nothing"):
        data = api.compress(photo, quality=1, human="psnr")
    assert data == api.compress(photo, quality=1)
    assert "has no effect" in str(Rnn(effort=1, human="blend").without_effect(1.0))
    assert Rnn(effort=1, human="blend").without_effect(0.0) is None


def test_bad_distances(photo: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadOptionError, match="no distance 'vmaf' for humans: choose ms-ssim, ssimulacra2, psnr, blend"):
        Rnn(effort=1, human="vmaf")
    with pytest.raises(BadOptionError, match="takes no human: only rnn does"):
        api.compress(photo, "jpeg", human="psnr")
    photo.save(tmp_path / "photo.png")
    assert cli.main(["compress", str(tmp_path / "photo.png"), "--effort=1", "--human=vmaf"]) == 2
    assert "no distance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "photo.png"]
