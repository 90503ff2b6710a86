"""Parts of `beholder train classifier` that need no training: pictures, batches, configs, names of layers."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

from beholder.errors import BadOptionError
from beholder.observers.keras import zoo as keras_zoo
from beholder.training.classifier.batches import InTurn, Order
from beholder.training.classifier.pictures import augment
from beholder.training.classifier.settings import (
    DATASETS,
    Augmentation,
    ClassifierSettings,
    Optimizer,
    difference,
    read_settings,
)
from beholder.training.config_file import CONFIGS, Section, build, keys
from beholder.training.distributed import Processes

INCEPTION = Augmentation(area=(0.05, 1), aspect=(0.75, 1.33), flip=0.5, brightness=0.125, saturation=(0.5, 1.5))
VGG = Augmentation(short_side=(256, 512), flip=0.5)


def ramp(width: int, height: int) -> Image.Image:
    """Red rises to the right, green downwards, blue is constant."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([255 * x / (width - 1), 255 * y / (height - 1), np.full(x.shape, 90)], -1).astype("u1")
    )


# Pictures.


@pytest.mark.parametrize("options", [Augmentation(), INCEPTION, VGG, replace(INCEPTION, contrast=(0.5, 1.5))], ids=str)
@given(width=st.integers(1, 70), height=st.integers(1, 70), side=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_any_picture_gives_a_square(options: Augmentation, width: int, height: int, side: int, seed: int) -> None:
    image = Image.linear_gradient("L").resize((width, height))
    pixels = augment(image, side, options, np.random.default_rng(seed))
    assert pixels.shape == (side, side, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, augment(image, side, options, np.random.default_rng(seed)))


def test_random_numbers_do_not_depend_on_the_picture() -> None:
    after = []
    for size in ((300, 20), (20, 300), (64, 64)):
        rng = np.random.default_rng(5)
        augment(Image.new("RGB", size), 16, INCEPTION, rng)
        after.append(rng.random())
    assert len(set(after)) == 1


def test_crops_have_the_areas_and_aspects_asked_for() -> None:
    """Measured on a ramp: what the crop's left, right, top and bottom see tells where they are."""
    image, side = ramp(200, 100), 50
    areas, aspects = [], []
    options = Augmentation(area=(0.2, 0.5), aspect=(0.8, 1.25))
    for seed in range(300):
        pixels = augment(image, side, options, np.random.default_rng(seed)) / 255
        width = (pixels[25, -1, 0] - pixels[25, 0, 0]) * side / (side - 1) * 200
        height = (pixels[-1, 25, 1] - pixels[0, 25, 1]) * side / (side - 1) * 100
        areas.append(width * height / 200 / 100)
        aspects.append(width / height)
    assert np.quantile(areas, [0, 0.5, 1]) == pytest.approx([0.2, 0.33, 0.5], abs=0.04)
    assert np.quantile(aspects, [0, 1]) == pytest.approx([0.8, 1.25], abs=0.1)


def test_vgg_crops_are_squares_of_the_short_side() -> None:
    image, side = ramp(400, 200), 56
    sides = []
    for seed in range(200):
        pixels = augment(image, side, Augmentation(short_side=(256, 512)), np.random.default_rng(seed)) / 255
        width = (pixels[28, -1, 0] - pixels[28, 0, 0]) * side / (side - 1) * 400
        height = (pixels[-1, 28, 1] - pixels[0, 28, 1]) * side / (side - 1) * 200
        assert width == pytest.approx(height, abs=4)
        sides.append(width / 200)
    assert np.quantile(sides, [0, 1]) == pytest.approx([224 / 512, 224 / 256], abs=0.02)


def test_flips_and_colours() -> None:
    image = ramp(64, 64)
    flipped = [augment(image, 32, Augmentation(flip=0.25), np.random.default_rng(n))[16] for n in range(400)]
    share = np.mean([row[0, 0] > row[-1, 0] for row in flipped])
    assert share == pytest.approx(0.25, abs=0.06)
    plain = augment(image, 32, Augmentation(), np.random.default_rng(0)).astype(float)
    for n in range(20):
        rng = np.random.default_rng(n)
        brighter = augment(image, 32, Augmentation(brightness=0.1), rng).astype(float)
        inside = (brighter > 0) & (brighter < 255)
        shifts = np.unique((brighter - plain)[inside])
        assert len(shifts) == 1
        assert abs(shifts[0]) <= 26
    grey = augment(image, 32, Augmentation(saturation=(0, 0)), np.random.default_rng(0))
    assert (grey.max(-1) - grey.min(-1) <= 1).all()
    assert np.abs(grey[..., 0] - plain @ [0.299, 0.587, 0.114]).max() <= 1
    flat = augment(image, 32, Augmentation(contrast=(0, 0)), np.random.default_rng(0))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


# Batches.


def batches(order: Order, epoch: int) -> list[list[tuple[int, int, int]]]:
    order.epoch = epoch
    return list(order)


@given(count=st.integers(1, 60), batch=st.integers(1, 20), epoch=st.integers(0, 5), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_an_epoch_shows_each_picture_once(count: int, batch: int, epoch: int, seed: int) -> None:
    order = Order(np.arange(count) * 3, batch, seed, Processes())
    found = batches(order, epoch)
    assert len(found) == len(order)
    size = min(batch, count)
    assert [len(places) for places in found] == [size] * (count // size)
    indices = [index for places in found for index, _, _ in places]
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(0, 3 * count, 3))
    assert {e for places in found for _, e, _ in places} == {epoch}


@given(world=st.sampled_from([1, 2, 4]), first=st.integers(0, 4))
@settings(max_examples=20)
def test_shares_make_up_the_batch_and_the_rest_of_an_epoch_is_its_end(world: int, first: int) -> None:
    whole = batches(Order(np.arange(45), 8, 1, Processes()), 2)
    shares = [batches(Order(np.arange(45), 8, 1, Processes(rank, world), first=first), 2) for rank in range(world)]
    assert len(shares[0]) == 5 - first
    for number, places in enumerate(whole[first:]):
        assert sorted(place for share in shares for place in share[number]) == sorted(places)


def test_orders_differ_by_epoch_and_seed_and_may_be_cut_short() -> None:
    found = {
        (epoch, seed): str(batches(Order(np.arange(64), 8, seed, Processes()), epoch)[0])
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(set(found.values())) == 9
    assert len(Order(np.arange(64), 8, 1, Processes(), steps=3)) == 3
    with pytest.raises(BadOptionError, match="cannot be shared by 3"):
        Order(np.arange(64), 8, 1, Processes(0, 3))
    with pytest.raises(BadOptionError, match="too few for 4"):
        Order(np.arange(3), 8, 1, Processes(0, 4))


@given(count=st.integers(2, 40), batch=st.integers(1, 9), world=st.integers(1, 2))
@settings(max_examples=40)
def test_validation_shows_each_picture_once(count: int, batch: int, world: int) -> None:
    orders = [InTurn(np.arange(count), batch, Processes(rank, world)) for rank in range(world)]
    assert [len(list(order)) for order in orders] == [len(order) for order in orders]
    assert sorted(index for order in orders for places in order for index, _, _ in places) == list(range(count))


# Configs.


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("classifier", keras_zoo.names())
def test_shipped_configs(dataset: str, classifier: str) -> None:
    found = read_settings(None, dataset, classifier)
    if dataset in ("stanford_dogs", "cub200"):  # the paper's
        assert (found.batch, found.epochs) == (32, 100)
        assert found.optimizer == Optimizer(name="adam", epsilon=1.0)
        assert found.learning_rate.factor == 0.94
        assert found.learning_rate.initial == {"stanford_dogs": 1e-3, "cub200": 1e-2}[dataset]
    unknown = set(json.loads((CONFIGS / f"classifier_{dataset}.json").read_text()).get("networks", {}))
    assert unknown <= set(keras_zoo.names())


def test_sections_for_networks_replace_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config = {
        "epochs": 3,
        "batch": 4,
        "optimizer": {"name": "sgd"},
        "learning_rate": {"initial": 1},
        "networks": {"vgg16": {"batch": 2}},
    }
    path.write_text(json.dumps(config))
    assert read_settings(path, "folder", "vgg16").batch == 2
    assert read_settings(path, "folder", "mobilenet").batch == 4
    assert read_settings("cub200", "folder", "vgg16") == read_settings(None, "cub200", "vgg16")


BASE = '{"epochs": 3, "batch": 4, "optimizer": {"name": "sgd"}, "learning_rate": {"initial": 1}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ("3", "no JSON object"),
        ("{}", "lacks epochs, batch, optimizer, learning_rate"),
        (BASE + ', "bach": 3}', "unknown key bach: write batch"),
        (BASE + ', "augmentation": {"area": [1, 0.1]}}', r"augmentation.area is \[1, 0.1\]: give two rising numbers"),
        (BASE + ', "augmentation": []}', "augmentation must be a JSON object"),
        (BASE + ', "limits": {"train": 0}}', "limits.train is 0: give a whole number from 1"),
        (BASE + ', "seed": true}', "seed is true"),
        (BASE + ', "networks": {"vgg16": {"lr": 3}}}', "unknown key networks.vgg16.lr"),
        (BASE + ', "networks": 3}', "networks must be a JSON object"),
        (BASE.replace('"name": "sgd"', "") + "}", "lacks optimizer.name"),
        (BASE.replace('"sgd"', '"lion"') + "}", 'optimizer.name is "lion": give one of adam'),
    ],
)
def test_bad_configs(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(BadOptionError, match=words) as caught:
        read_settings(path, "folder", "vgg16")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_documented_keys_are_those_that_there_are() -> None:
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "train-classifier.md"
    table = re.findall(r"^\| (`.*?) \|", guide.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [key for cell in table for key in re.findall(r"`([\w.]+)`", cell)]
    assert len(documented) == len(set(documented))
    assert set(documented) == {*keys(Section(ClassifierSettings)), "networks"}


def test_configs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="no config"):
        read_settings(tmp_path / "missing.json", "folder", "vgg16")
    with pytest.raises(
        BadOptionError, match="no data set 'cats': choose one of folder, stanford_dogs, cub200, imagenet"
    ):
        read_settings(None, "cats", "vgg16")


def test_what_differs_between_two_jobs() -> None:
    old = {"a": 1, "settings": {"b": {"c": 2}, "d": [3]}}
    assert difference(old, old) is None
    assert difference(old, old | {"a": None}) == "a 1, now null"
    assert difference(old, old | {"settings": {"b": {"c": 5}, "d": [3]}}) == "b.c 2, now 5"
    assert difference(old, old | {"settings": {"b": {"c": 2}}}) == "d [3], now null"


# Layers.


def test_layers_are_called_the_same_in_every_model() -> None:
    """Keras numbers unnamed layers through all models of a process."""
    from beholder.observers.keras.backend import require_keras
    from beholder.training.classifier.network import layer_names, select

    layers = require_keras().layers

    def build() -> Any:
        keras = require_keras()
        x = start = keras.Input((8, 8, 3), name="pixels")
        for _ in range(3):
            x = layers.SeparableConv2D(4, 1)(layers.BatchNormalization()(x))
        return keras.Model(start, layers.Dense(2, name="predictions")(layers.Flatten(name="flat")(x)))

    first, second = build(), build()
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    expected = ["pixels"]
    for number in ("", "_1", "_2"):
        expected += [f"batch_normalization{number}", f"separable_conv2d{number}"]
    assert layer_names(first) == layer_names(second) == [*expected, "flat", "predictions"]
    select(second, "separable_conv2d_1+")
    assert [layer.trainable for layer in second.layers] == [False] * 4 + [True] * 5


@pytest.mark.parametrize("name", ["mobilenet", "squeezenet"])
def test_logits_of_networks(name: str) -> None:
    """A softmax over what the network is trained on gives its probabilities."""
    from beholder.training.classifier.network import logits

    model = keras_zoo.build(name, classes=3)
    side = keras_zoo.spec(name).input_size
    pixels = np.random.default_rng(0).normal(0, 1, (1, side, side, 3)).astype(np.float32)
    expected = np.asarray(model.predict(pixels, verbose=0))
    inner = type(model)(model.inputs, logits(model))
    found = np.exp(np.asarray(inner.predict(pixels, verbose=0), np.float64))
    assert found.shape == (1, 3)
    assert found / found.sum() == pytest.approx(expected, abs=1e-5)


# Optimisers.


def made(optimizer: dict[str, Any], rate: dict[str, Any], epochs: int) -> ClassifierSettings:
    config = {"batch": 1, "epochs": epochs, "optimizer": optimizer, "learning_rate": rate}
    return build(ClassifierSettings, config)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ({"initial": 1}, [1, 1, 1]),
        ({"initial": 0.1, "schedule": "exponential", "factor": 0.5, "epochs_per_decay": 2}, [0.1, 0.05, 0.025]),
        ({"initial": 0.1, "schedule": "cosine"}, [0.1, 0.05, 0.0]),
    ],
)
def test_learning_rates(rate: dict[str, Any], expected: list[float]) -> None:
    """After 0, 2 and 4 of 4 epochs of 10 steps; the reference's falls in stairs."""
    from beholder.training.classifier.module import optimizer

    found = optimizer(made({"name": "adam"}, rate, 4), 10)
    values = []
    for step in (0, 20, 40, 19):
        found.iterations.assign(step)
        values.append(float(found.learning_rate))
    assert values[:3] == pytest.approx(expected, abs=1e-7)
    if rate.get("schedule") == "exponential":
        assert values[3] == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_optimisers_take_their_options(name: str) -> None:
    from beholder.training.classifier.module import optimizer

    options = {"name": name, "epsilon": 0.5, "momentum": 0.8, "clip": 3.0}
    found = optimizer(made(options, {"initial": 0.1}, 1), 1)
    assert type(found).__name__.lower() == name
    assert found.global_clipnorm == 3.0
    assert (found.beta_1 if name == "adam" else found.momentum) == 0.8
    assert name == "sgd" or found.epsilon == 0.5
    assert optimizer(made({"name": name}, {"initial": 1}, 1), 1) is not None


# The groups of WordNet relatives.


def test_folds_of_the_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each photograph is held out in one fold and trained on in the others; unknown ones are left out."""
    script = Path(__file__).parents[3] / "scripts" / "wordnet_groups.py"
    if not script.is_file():
        pytest.skip("the scripts are not here")
    monkeypatch.syspath_prepend(str(script.parent))
    import wordnet_groups

    from beholder.observers.labels import label

    assert wordnet_groups.group(207) == "dog"
    assert wordnet_groups.group(999) is None
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(0, 1000, 8):
        (photos / f"{index:04}_{label(index)[0]}_x.jpg").write_bytes(b"")
    (photos / "notes.txt").write_text("")
    held_out: list[str] = []
    for fold in range(3):
        monkeypatch.setattr("sys.argv", ["x", str(photos), "--output", str(tmp_path / str(fold)), "--fold", str(fold)])
        wordnet_groups.main()
        train, val = (
            {path.name for path in (tmp_path / str(fold) / split).rglob("*.jpg")} for split in ("train", "val")
        )
        assert not train & val
        assert len(train | val) == sum(wordnet_groups.group(index) is not None for index in range(0, 1000, 8))
        held_out += val
    assert len(held_out) == len(set(held_out)) == len(train | val)
