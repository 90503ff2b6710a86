"""Targets refuse impossible values and say what a file reaches."""

import pickle

import pytest
from PIL import Image

import beholder
from beholder import codecs, observers
from beholder.errors import BadImageError, BadOptionError
from beholder.targets import Bpp, KeepLabel, MaxBytes, MsSsim, Psnr, Ssimulacra2, find
from beholder.targets.kinds import Target


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(Bpp, value) for value in (0, -1, float("nan"), float("inf"), "0.25")],
        *[(MaxBytes, value) for value in (0, -5, 2.5, True)],
        *[(MsSsim, value) for value in (0, 1.01, float("nan"))],
        *[(Psnr, value) for value in (0, float("inf"))],
        *[(Ssimulacra2, value) for value in (100.5, float("nan"))],
    ],
)
def test_impossible_values_are_refused(kind: type[Target], value: float) -> None:
    with pytest.raises(BadOptionError, match="give"):
        kind(value)  # type: ignore[call-arg]


def test_a_confidence_is_a_probability() -> None:
    for options in ({"confidence": 1.2}, {"fraction": -0.1}, {"confidence": 0.5, "fraction": 0.5}):
        with pytest.raises(BadOptionError):
            KeepLabel(**options)


@pytest.mark.parametrize("target", [Bpp(0.5), MaxBytes(10), MsSsim(0.9), Psnr(30), KeepLabel("squeezenet", 0.5)])
def test_targets_travel_to_other_processes(target: Target) -> None:
    assert pickle.loads(pickle.dumps(target)) == target
    assert "0.5" in target.describe() or any(word in target.describe() for word in ("10", "0.9", "30", "50 %"))


def test_keep_label_keeps_the_label(photo: Image.Image) -> None:
    observer = observers.get("squeezenet")
    before = observer.classify(photo, 1)[0]
    found = find(codecs.get("jpeg"), photo, KeepLabel("squeezenet"))
    after = observer.classify(codecs.get("jpeg").decode(found.data), 1)[0]
    assert found.reached
    assert after.index == before.index
    assert found.score.value == pytest.approx(after.probability)
    assert found.score.facts["label_original"] == before.label


def test_confidence_asks_for_more(photo: Image.Image) -> None:
    before = observers.get("squeezenet").classify(photo, 1)[0].probability
    fraction = find(codecs.get("jpeg"), photo, KeepLabel("squeezenet", fraction=0.9))
    assert fraction.reached
    assert fraction.score.value >= 0.9 * before
    absolute = find(codecs.get("jpeg"), photo, KeepLabel("squeezenet", confidence=min(1.0, 1.3 * before)))
    assert absolute.reached == (absolute.score.value >= min(1.0, 1.3 * before))


def test_a_metric_that_a_tiny_picture_lacks() -> None:
    with pytest.raises(BadImageError, match="not defined"):
        find(codecs.get("jpeg"), Image.new("RGB", (5, 5)), Ssimulacra2(50))


def test_transparency_and_grey(modes: dict[str, Image.Image]) -> None:
    for mode in ("L", "LA", "RGBA"):
        found = find(codecs.get("webp"), modes[mode], MsSsim(0.95))
        assert found.reached
        assert codecs.get("webp").decode(found.data).size == modes[mode].size


def test_python_gets_bytes_and_a_warning_where_the_target_is_missed(photo: Image.Image) -> None:
    data = beholder.compress(photo, "jpeg", target=beholder.Bpp(0.8))
    assert 8 * len(data) / (photo.width * photo.height) <= 0.8
    with pytest.warns(beholder.TargetMissedWarning, match="at most 10 bytes"):
        data = beholder.compress(photo, "jpeg", target=beholder.MaxBytes(10))
    assert len(data) == min(len(beholder.compress(photo, "jpeg", quality=q)) for q in range(1, 6))
    with pytest.raises(BadOptionError, match="quality and a target"):
        beholder.compress(photo, quality=3, target=beholder.Bpp(1))
    with pytest.raises(BadOptionError, match="There is no classifier"):
        beholder.compress(photo, target=beholder.KeepLabel("nobody"))
