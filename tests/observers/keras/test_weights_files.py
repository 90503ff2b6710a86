"""Weights of every format into a small network, and files that must not get in."""

import contextlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.observers import empty_cache, enliven, keras_or_skip, noise, save_legacy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder import observers
from beholder.errors import BadFileError, BadOptionError
from beholder.observers import specs
from beholder.observers.base import preprocess
from beholder.observers.keras import backend
from beholder.observers.keras import zoo as keras_zoo
from beholder.observers.keras.prepare import prepare

pytestmark = pytest.mark.xdist_group("weights")  # one process, for its fixtures take seconds

FORMATS = ["x.weights.h5", "x.keras", "x_tf_dim_ordering_tf_kernels.h5", "whole_model.h5"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keras_or_skip()
    return empty_cache(tmp_path, monkeypatch)


def save(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif "kernels" in path.name:
        save_legacy(model, path)
    else:
        model.save(path)
    return path


def same(first: Any, second: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small network, and a folder with its weights in every format."""
    keras_or_skip()
    model = keras_zoo.build("squeezenet", 7)
    folder = tmp_path_factory.mktemp("weights")
    for name in FORMATS:
        save(model, folder / name)
    return model, folder


@pytest.fixture(scope="module")
def mobilenet() -> tuple[Any, Image.Image, np.ndarray]:
    """Keras' network with weights that matter, a picture, and its answer to that."""
    keras = keras_or_skip()
    model = keras.applications.MobileNet(weights=None)
    image = noise(224, seed=1)
    pixels = preprocess([image, noise(224, seed=2)], specs.get("mobilenet").info).transpose(0, 2, 3, 1)
    enliven(keras, model, pixels)
    return model, image, np.asarray(model.predict(pixels, verbose=0))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_mobilenet_from_every_format(name: str, mobilenet: tuple[Any, Image.Image, np.ndarray], tmp_path: Path) -> None:
    model, image, expected = mobilenet
    prepare("mobilenet", save(model, tmp_path / name))
    observer = observers.get("mobilenet")
    assert observer.info.source == str(tmp_path / name)
    np.testing.assert_allclose(observer.predict([image])[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_the_content_tells_the_format_and_the_number_of_classes(
    name: str, squeezenet: tuple[Any, Path], tmp_path: Path
) -> None:
    model, folder = squeezenet
    disguised = tmp_path / "weights.bin"
    disguised.write_bytes((folder / name).read_bytes())
    loaded = keras_zoo.load("squeezenet", disguised)
    assert loaded.output_shape == (None, 7)
    assert same(loaded, model)


def test_weights_after_training_have_an_optimiser(squeezenet: tuple[Any, Path], tmp_path: Path) -> None:
    model = keras_zoo.load("squeezenet", squeezenet[1] / "x.keras")
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    model.fit(np.zeros((1, 227, 227, 3), np.float32), np.eye(7, dtype=np.float32)[:1], verbose=0)
    model.save(tmp_path / "trained.keras")
    assert same(keras_zoo.load("squeezenet", tmp_path / "trained.keras"), model)


def test_build_moves_all_but_the_head_to_other_classes(squeezenet: tuple[Any, Path]) -> None:
    model, folder = squeezenet
    other = keras_zoo.build("squeezenet", 5, folder / "x.weights.h5")
    assert other.output_shape == (None, 5)
    head = backend.head(other)
    for old, new in zip(model.layers, other.layers, strict=True):
        assert new is head or same(old, new)
    assert head.name == "predictions"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("network", ["mobilenet", "efficientnet_lite0"])
def test_another_networks_weights(name: str, network: str, squeezenet: tuple[Any, Path]) -> None:
    with pytest.raises(
        BadFileError, match=rf"{name} does not hold weights of {network}: \d+ of its arrays are missing"
    ):
        keras_zoo.load(network, squeezenet[1] / name)


@pytest.mark.slow
def test_a_sister_with_more_layers(tmp_path: Path) -> None:
    path = save(keras_zoo.build("efficientnet_lite1"), tmp_path / "x.weights.h5")
    with pytest.raises(
        BadFileError, match=r"does not hold weights of efficientnet_lite0: \d+ of its arrays have no place"
    ):
        keras_zoo.load("efficientnet_lite0", path)


def test_weights_without_a_head(tmp_path: Path) -> None:
    keras = keras_or_skip()
    path = save(keras.applications.MobileNet(weights=None, include_top=False), tmp_path / "no_top.weights.h5")
    with pytest.raises(BadFileError, match=r'with its last layer \(it is a "notop" file\): get the'):
        keras_zoo.load("mobilenet", path)


def test_an_observer_stands_for_imagenets_classes(tmp_path: Path) -> None:
    path = save(keras_zoo.build("mobilenet", 3), tmp_path / "x.weights.h5")
    with pytest.raises(BadFileError, match=r"tells 3 classes apart, not ImageNet's 1000"):
        prepare("mobilenet", path)
    assert not observers.get("mobilenet").ready()


def test_broken_weights_do_not_become_an_observer(tmp_path: Path) -> None:
    model = keras_zoo.build("mobilenet")
    kernel, bias = backend.head(model).get_weights()
    kernel[0, 0, 0, 0] = np.nan
    backend.head(model).set_weights([kernel, bias])
    with pytest.raises(BadFileError, match="weights of mobilenet are damaged: its answers are no numbers"):
        prepare("mobilenet", save(model, tmp_path / "x.weights.h5"))
    assert not observers.get("mobilenet").ready()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.999, 0.5, 0.01])
def test_truncated(name: str, share: float, squeezenet: tuple[Any, Path], tmp_path: Path) -> None:
    data = (squeezenet[1] / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadFileError, match="is damaged or truncated"):
        keras_zoo.load("squeezenet", path)


@pytest.mark.parametrize("data", [b"", b"<html>", bytes(10_000)])
def test_no_weights_at_all(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(BadFileError, match="is no file of Keras weights: give a"):
        keras_zoo.load("squeezenet", tmp_path / "x.h5")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="There is no file"):
        keras_zoo.load("squeezenet", tmp_path / "none.h5")
    with pytest.raises(BadFileError, match="cannot be read"):
        keras_zoo.load("squeezenet", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.weights.h5", "x_tf_dim_ordering_tf_kernels.h5"])
def test_changed_bytes_never_crash(
    name: str, squeezenet: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = (squeezenet[1] / name).read_bytes()
    path = tmp_path_factory.mktemp("changed") / name

    @settings(max_examples=20)
    @given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), min_size=1, max_size=6))
    def run(changes: list[tuple[int, int]]) -> None:
        broken = bytearray(data)
        for place, value in changes:
            broken[place] = value
        path.write_bytes(broken)
        with contextlib.suppress(BadFileError):
            keras_zoo.load("squeezenet", path)

    run()


# -- files of ill will ------------------------------------------------------------------------------


def hdf5(path: Path, write: Callable[[Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        write(file)
    return path


def test_declared_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    def huge(file: Any) -> None:
        file.create_dataset("layers/conv2d/vars/0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))

    path = hdf5(tmp_path / "huge.weights.h5", huge)
    assert path.stat().st_size < 100_000
    with pytest.raises(BadFileError, match="does not hold weights of squeezenet"):
        keras_zoo.load("squeezenet", path)


def test_links_and_other_files_are_not_followed(squeezenet: tuple[Any, Path], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.h5"
    secret.write_bytes((squeezenet[1] / "x.weights.h5").read_bytes())

    def soft(file: Any) -> None:
        file["layers"] = h5py.SoftLink("/elsewhere")

    def external(file: Any) -> None:
        file["layers"] = h5py.ExternalLink(str(secret), "/layers")

    def raw(file: Any) -> None:
        file.create_dataset("layers/a", (16,), "f4", external=[(str(secret), 0, 64)])

    def circle(file: Any) -> None:
        group = file.create_group("a")
        group["b"] = group

    for number, write in enumerate((soft, external, raw, circle)):
        path = hdf5(tmp_path / f"{number}.weights.h5", write)
        with pytest.raises(BadFileError, match="damaged or truncated"):
            keras_zoo.load("squeezenet", path)


def test_code_in_a_keras_file_is_not_run(squeezenet: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = squeezenet
    evil, marker = tmp_path / "evil.keras", tmp_path / "marker"
    with zipfile.ZipFile(folder / "x.keras") as source, zipfile.ZipFile(evil, "w") as target:
        for name in set(source.namelist()) - {"config.json"}:
            target.writestr(name, source.read(name))
        lambda_layer = {"module": "builtins", "class_name": "function", "config": f"open({str(marker)!r}, 'w')"}
        target.writestr("config.json", json.dumps({"module": "os", "class_name": "system", "config": lambda_layer}))
    assert same(keras_zoo.load("squeezenet", evil), model)
    assert not marker.exists()


def test_a_keras_file_without_weights_and_one_that_explodes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(BadFileError, match="holds no Keras weights"):
        keras_zoo.load("squeezenet", tmp_path / "empty.keras")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(200 << 20))
    assert (tmp_path / "bomb.keras").stat().st_size < 1 << 20
    with pytest.raises(BadFileError, match="far too large"):
        keras_zoo.load("squeezenet", tmp_path / "bomb.keras")


# -- build ------------------------------------------------------------------------------------------


def test_names_and_specs() -> None:
    assert keras_zoo.names() == list(specs.NETWORKS)
    assert keras_zoo.spec("mobilenet") == specs.get("mobilenet").info
    with pytest.raises(BadOptionError, match="no network 'alexnet': choose one of efficientnet_lite0"):
        keras_zoo.build("alexnet")
    with pytest.raises(BadOptionError, match="at least 2"):
        keras_zoo.build("squeezenet", 1)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet"])
def test_a_network_that_preprocesses_its_pixels(name: str, tmp_path: Path) -> None:
    keras = keras_or_skip()
    plain = keras_zoo.build(name, 4)
    info = keras_zoo.spec(name)
    image = noise(info.input_size, seed=1)
    pixels = preprocess([image, noise(info.input_size, seed=2)], info).transpose(0, 2, 3, 1)
    enliven(keras, plain, pixels)
    file = save(plain, tmp_path / "x.weights.h5")
    whole = keras_zoo.build(name, 4, file, include_preprocessing=True)
    found = np.asarray(whole.predict(np.asarray(image, np.float32)[np.newaxis], verbose=0))
    np.testing.assert_allclose(found, np.asarray(plain.predict(pixels[:1], verbose=0)), atol=1e-4)
