"""The eight networks of keras.applications: through preparation and the ONNX graph they answer as in Keras."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import observers as observer_help
from helpers.observers import SMALL_VGG, empty_cache, enliven, keras_or_skip, noise, save_legacy

from beholder import observers
from beholder.observers import specs
from beholder.observers.base import preprocess
from beholder.observers.keras.prepare import prepare

# name -> module and builder in keras.applications
EIGHT = {
    "densenet_121": ("densenet", "DenseNet121"),
    "inception_resnet_v2": ("inception_resnet_v2", "InceptionResNetV2"),
    "inception_v3": ("inception_v3", "InceptionV3"),
    "mobilenet": ("mobilenet", "MobileNet"),
    "resnet_50": ("resnet", "ResNet50"),
    "vgg16": ("vgg16", "VGG16"),
    "vgg19": ("vgg19", "VGG19"),
    "xception": ("xception", "Xception"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", EIGHT)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    keras_or_skip()
    info = observers.get(name).info
    image = noise(info.input_size, seed=3)
    module = import_module(f"keras.applications.{EIGHT[name][0]}")
    expected = module.preprocess_input(np.asarray(image, np.float32)[np.newaxis].copy())
    np.testing.assert_allclose(preprocess([image], info).transpose(0, 2, 3, 1), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", EIGHT)
def test_weights_are_those_that_keras_publishes(name: str) -> None:
    keras_or_skip()
    weights = specs.get(name).weights
    assert isinstance(weights, specs.Download)
    module = import_module(f"keras.src.applications.{EIGHT[name][0]}")
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert weights.md5 is None or weights.md5 in source
    folder = weights.url.rsplit("/", 1)[0]
    assert folder.rsplit("/", 1)[1] in source
    assert weights.url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")


@pytest.mark.slow
@pytest.mark.parametrize("name", EIGHT)
def test_prepared_from_a_file_it_answers_as_keras_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = keras_or_skip()
    module_name, builder = EIGHT[name]
    module = import_module(f"keras.applications.{module_name}")
    if name.startswith("vgg"):
        # Most of VGG's 140 million weights join its last picture to its first vector: gigabytes for a test.
        network = specs.get(name)
        info = replace(network.info, input_size=SMALL_VGG)
        builder = f"helpers.observers:small_{name}"
        monkeypatch.setitem(specs.NETWORKS, name, replace(network, info=info, builder=builder))
        model: Any = getattr(observer_help, f"small_{name}")(weights=None)
        missing = (7 * 7 - 2 * 2) * 512 * 4096
    else:
        info, missing = specs.get(name).info, 0
        model = getattr(module, builder)(weights=None)
    assert model.input_shape == (None, info.input_size, info.input_size, 3)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) + missing == info.parameters
    images = [noise(info.input_size, seed) for seed in range(2)]
    pixels = module.preprocess_input(np.stack([np.asarray(image, np.float32) for image in images]))
    # On some processors the deepest network's rounding errors come to 1e-4 with larger logits.
    enliven(keras, model, pixels, largest=60 if name == "inception_resnet_v2" else 100)
    expected = np.asarray(model.predict(pixels, verbose=0))
    file = tmp_path / f"{name}_weights_tf_dim_ordering_tf_kernels.h5"
    save_legacy(model, file)
    del model

    done = prepare(name, file)
    file.unlink()
    assert done.difference < 1e-4
    found = observers.get(name)
    assert found.ready()
    assert found.info.top1 is None  # that of the published weights says nothing about these
    result = found.predict(images)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert (expected.max(axis=1) > 0.005).all()
    assert len(set(expected.argmax(axis=1))) == 2  # the pictures matter
    top5 = np.argsort(-expected, axis=1)[:, :5].tolist()
    assert [[p.index for p in found.best(row)] for row in result] == top5
    assert found.features(images).shape == (2, _width(name))


def _width(name: str) -> int:
    widths = {"densenet_121": 1024, "inception_resnet_v2": 1536, "mobilenet": 1024, "vgg16": 4096, "vgg19": 4096}
    return widths.get(name, 2048)
