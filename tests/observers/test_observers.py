"""The registry, and what holds for every observer in it."""

from pathlib import Path

import numpy as np
import pytest
from helpers.observers import empty_cache, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder import observers
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.observers import specs
from beholder.observers.base import Observer, ObserverInfo, preprocess
from beholder.observers.onnx_observer import OnnxObserver

LITE0 = specs.get("efficientnet_lite0").info
SHIPPED = [name for name, network in specs.NETWORKS.items() if network.shipped]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


@pytest.fixture(scope="module", params=SHIPPED)
def observer(request: pytest.FixtureRequest) -> Observer:
    return observers.get(request.param)


def test_registry_names_and_infos_belong_together() -> None:
    assert observers.names()[0] == "efficientnet_lite0"
    assert [info.name for info in observers.infos()] == observers.names()
    assert set(observers.names()) == {
        *(
            "densenet_121",
            "inception_resnet_v2",
            "inception_v3",
            "mobilenet",
            "resnet_50",
            "vgg16",
            "vgg19",
            "xception",
        ),
        *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "squeezenet"),
    }


def test_two_observers_need_no_preparation() -> None:
    assert [name for name in observers.names() if observers.get(name).ready()] == ["efficientnet_lite0", "squeezenet"]


@pytest.mark.parametrize("name", [name for name in specs.NETWORKS if name not in SHIPPED])
def test_an_observer_that_is_not_ready_names_the_command(name: str) -> None:
    found = observers.get(name)
    assert f"run `beholder prepare {name}`." in str(found.unavailable())
    with pytest.raises(NotAvailableError, match=f"beholder prepare {name}"):
        found.classify(noise(300, seed=0))


@pytest.mark.parametrize("info", observers.infos(), ids=lambda info: info.name)
def test_info_is_complete(info: ObserverInfo) -> None:
    assert info.title
    assert info.licence
    assert info.source
    assert "arXiv" in info.paper
    assert info.input_size >= 32
    assert info.parameters > 0
    assert info.top1 is not None
    assert 50 < info.top1 < 100
    assert all(value > 0 for value in info.std)


def test_unknown_classifier_names_the_known_ones() -> None:
    with pytest.raises(BadOptionError, match=r"'resnet_9000': choose one of .*efficientnet_lite0"):
        observers.get("resnet_9000")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (300, 200), (1, 5000), (40_000, 8)])
def test_view_of_any_mode_and_size(observer: Observer, mode: str, size: tuple[int, int]) -> None:
    seen = observer.view(Image.new(mode, size))
    assert seen.mode == "RGB"
    assert seen.size == (observer.info.input_size,) * 2


def test_view_of_a_very_long_strip_needs_little_memory(observer: Observer) -> None:
    assert observer.view(Image.new("L", (1, 10_000_000))).size == (observer.info.input_size,) * 2


@settings(max_examples=20)
@given(width=st.integers(1, 400), height=st.integers(1, 400), grey=st.integers(0, 255))
def test_view_keeps_flat_colours(width: int, height: int, grey: int) -> None:
    seen = observers.get("efficientnet_lite0").view(Image.new("RGB", (width, height), (grey, 7, 200)))
    assert seen.getextrema() == ((grey, grey), (7, 7), (200, 200))


def test_view_is_resize_and_centre_crop(observer: Observer) -> None:
    side = observer.info.input_size
    resized, image = round(side / 0.875), noise(700, seed=1)
    margin = (resized - side) // 2
    expected = image.resize((resized, resized), Image.Resampling.BICUBIC)
    expected = expected.crop((margin, margin, margin + side, margin + side))
    assert observer.view(image).tobytes() == expected.tobytes()
    # The ends of a panorama are not seen, its middle is.
    panorama = Image.new("RGB", (2100, 700), "red")
    panorama.paste(image, (700, 0))
    assert observer.view(panorama).tobytes() == expected.tobytes()
    assert observer.view(panorama.rotate(90, expand=True)) == observer.view(image.rotate(90))


def test_view_puts_transparency_on_white(observer: Observer) -> None:
    assert observer.view(Image.new("RGBA", (50, 50), (9, 9, 9, 0))).getextrema() == ((255, 255),) * 3


def test_view_leaves_the_image_alone(observer: Observer) -> None:
    image = noise(100, seed=2)
    before = image.tobytes()
    observer.view(image)
    assert image.tobytes() == before


def test_preprocessing_order_and_layout() -> None:
    info = ObserverInfo("x", "x", 2, 1, 70.0, "x", "x", "x", (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), "BGR")
    image = Image.new("RGB", (2, 2), (43, 22, 11))
    image.putpixel((1, 0), (3, 2, 1))
    batch = preprocess([image], info)
    assert batch.dtype == np.float32
    assert batch[0].tolist() == [[[5, 0], [5, 5]], [[5, 0], [5, 5]], [[5, 0], [5, 5]]]


def test_probabilities(observer: Observer) -> None:
    side = observer.info.input_size
    images = [noise(side, seed) for seed in range(3)] + [Image.new("RGB", (side, side), c) for c in ("black", "white")]
    result = observer.predict(images)
    assert result.shape == (5, 1000)
    assert result.dtype == np.float32
    assert result.min() >= 0
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-5)


def test_batch_equals_single_predictions_also_beyond_the_inner_batch(observer: Observer) -> None:
    images = [noise(observer.info.input_size, seed) for seed in range(19)]
    single = np.concatenate([observer.predict([image]) for image in images])
    np.testing.assert_allclose(observer.predict(images), single, atol=1e-5)


def test_empty_batch(observer: Observer) -> None:
    assert observer.predict([]).shape == (0, 1000)


@pytest.mark.parametrize(("mode", "extra"), [("L", 0), ("RGB", 1)])
def test_predict_wants_exact_images(observer: Observer, mode: str, extra: int) -> None:
    side = observer.info.input_size
    with pytest.raises(BadImageError, match=rf"RGB images of {side} x {side} pixels, not {mode}"):
        observer.predict([Image.new(mode, (side + extra, side))])


def test_classify_is_predict_of_view(observer: Observer) -> None:
    image = noise(300, seed=5).convert("L")
    predictions = observer.classify(image, topk=1000)
    probabilities = observer.predict([observer.view(image)])[0]
    assert [p.probability for p in predictions] == sorted((float(p) for p in probabilities), reverse=True)
    assert {p.index for p in predictions} == set(range(1000))
    assert predictions[0].index == probabilities.argmax()
    assert observer.classify(image) == predictions[:5]


def test_best_breaks_ties_by_index(observer: Observer) -> None:
    values = np.zeros(1000, np.float32)
    values[[5, 7]] = 0.4, 0.4
    assert [p.index for p in observer.best(values, 3)] == [5, 7, 0]


def test_features_tell_pictures_apart(observer: Observer) -> None:
    side = observer.info.input_size
    first, second, again = observer.features([noise(side, 1), noise(side, 2), noise(side, 1)])
    np.testing.assert_allclose(first, again, atol=1e-4)
    assert np.abs(first - second).mean() > 0.05 * np.abs(first).mean() > 0
    assert len(first) in (512, 1280)
    with pytest.raises(BadOptionError, match="at least one image"):
        observer.features([])


@pytest.mark.parametrize("topk", [0, -1, 1001])
def test_classify_checks_topk(observer: Observer, topk: int) -> None:
    with pytest.raises(BadOptionError, match=f"Top {topk} is not possible"):
        observer.classify(noise(30, seed=0), topk=topk)


def test_missing_weights(tmp_path: Path) -> None:
    broken = OnnxObserver(LITE0, tmp_path / "none.onnx")
    assert not broken.ready()
    with pytest.raises(NotAvailableError, match="weights of efficientnet_lite0 are missing"):
        broken.classify(noise(30, seed=0))


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08" + bytes(500)])
def test_damaged_weights(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    with pytest.raises(NotAvailableError, match="cannot be opened"):
        OnnxObserver(LITE0, path).classify(noise(30, seed=0))
