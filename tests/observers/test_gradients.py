"""Gradient graphs of classifiers: equal to torch's, for the networks that ship and for every operator they know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from beholder import BeholderWarning, api, cli, weights  # noqa: E402
from beholder.errors import BadFileError, BadOptionError, NotAvailableError  # noqa: E402
from beholder.observers import specs  # noqa: E402
from beholder.observers.base import ObserverInfo  # noqa: E402
from beholder.observers.gradient import files  # noqa: E402
from beholder.observers.gradient.build import build  # noqa: E402
from beholder.observers.gradient.network import Network  # noqa: E402

SHIPPED = ("efficientnet_lite0", "squeezenet")
INFO = ObserverInfo("toy", "toy", 64, None, None, "", "", "", (100.0, 110.0, 120.0), (50.0, 60.0, 70.0), "BGR")


def pair(height: int, width: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and noisy copies, (count, 3, height, width), 0 to 255."""
    rng = np.random.default_rng(height)
    walk = np.clip(128 + np.cumsum(rng.normal(0, 6, (count, 3, height, width)), 3), 0, 255)
    return tuple(x.astype(np.float32) for x in (np.clip(walk + rng.normal(0, 6, walk.shape), 0, 255), walk))  # type: ignore[return-value]


def run(file: Path, decoded: np.ndarray, original: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"decoded": decoded, "original": original})
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_the_graphs_that_ship_are_those_of_the_classifiers_that_ship(name: str) -> None:
    file = weights.OBSERVERS / f"{name}.onnx"
    assert build(file, specs.get(name).info) == (weights.OBSERVERS / f"{name}.gradient.onnx").read_bytes()


def test_the_shipped_gradient_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion

    distortion = FeatureDistortion(logits=0.05)
    decoded, original = pair(64, 96, 2)
    inputs = torch.from_numpy(decoded / 255).requires_grad_(True)
    wanted = distortion(inputs, torch.from_numpy(original / 255))
    (gradient,) = torch.autograd.grad(wanted.sum(), inputs)
    found = run(weights.OBSERVERS / "efficientnet_lite0.gradient.onnx", decoded, original)
    np.testing.assert_allclose(found[0], wanted.detach().numpy(), atol=1e-4)
    difference = np.linalg.norm(found[1] * 255 - gradient.numpy())
    assert difference < 2e-3 * np.linalg.norm(gradient.numpy())


def toy(kind: str = "Softmax", side: int = 64) -> onnx.ModelProto:
    """A network of every operator that has a gradient, (n, 3, side, side) to (n, 5)."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(*shape: int, values: Any = None) -> str:
        array = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:]) + 1), shape) if values is None else values
        name = f"c{len(constants)}"
        kind = np.int64 if np.asarray(array).dtype.kind == "i" else np.float32
        constants.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    x = add("Conv", "pixels", constant(8, 3, 3, 3), constant(8), strides=[2, 2], pads=[0, 0, 1, 1])
    x = add("Clip", x, constant(values=np.float32(-0.5)), constant(values=np.float32(1.5)))
    x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    a = add("Sigmoid", add("Conv", x, constant(8, 2, 3, 3), group=4, pads=[2, 2, 2, 2], dilations=[2, 2]))
    b = add("Tanh", add("Mul", x, a))
    squeezed = add("HardSigmoid", add("Conv", add("GlobalAveragePool", x), constant(8, 8, 1, 1)), alpha=0.3)
    c = add("Mul", add("HardSwish", x), squeezed)
    d = add("Transpose", add("Transpose", add("Sub", b, c), perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    x = add("Relu", add("Concat", add("Sum", a, b, x), add("Sub", d, x), axis=1))
    x = add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    norm = [constant(values=np.full(16, v, np.float32)) for v in (0.7, 0.2, 0.1, 1.3)]
    x = add("BatchNormalization", x, *norm)
    x = add("Pad", x, constant(values=np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    x = add("Conv", x, constant(16, 1, 3, 3), group=16)
    x = add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)
    x = add("Div", add("Identity", x), constant(values=np.float32(1.7)))
    x = add("Add", x, constant(1, 16, 1, 1))
    x = add("Flatten", add("GlobalAveragePool", x))
    x = add("MatMul", x, constant(16, 6))
    x = add(kind, add("Gemm", x, constant(5, 6), constant(5), transB=1))
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", 5])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    graph = helper.make_graph(nodes, "toy", [pixels], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (45, 70)])
def test_every_operators_gradient_is_the_change_of_the_distortion(tmp_path: Path, size: tuple[int, int]) -> None:
    file = save(toy(), tmp_path / "toy.onnx")
    gradient = tmp_path / "toy.gradient.onnx"
    gradient.write_bytes(build(file, INFO))
    decoded, original = pair(*size, 2)
    _, found = run(gradient, decoded, original)
    session = onnxruntime.InferenceSession(str(gradient), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    for _ in range(4):
        # Along smooth directions: kinks of one pixel do not matter there.
        direction = rng.normal(0, 1, decoded.shape).astype(np.float32) + 3 * np.sign(found)
        ends = [
            session.run(["distortion"], {"decoded": decoded + s * 0.02 * direction, "original": original})[0]
            for s in (1, -1)
        ]
        told = (found * direction).sum((1, 2, 3))
        np.testing.assert_allclose((ends[0] - ends[1]) / 0.04, told, rtol=0.03)


def test_weights_stay_in_the_classifiers_file(tmp_path: Path) -> None:
    model = toy()
    file = save(model, tmp_path / "toy.onnx")
    graph = onnx.load_from_string(build(file, INFO)).graph
    outside = {t.name for t in graph.initializer if t.data_location == TensorProto.EXTERNAL}
    large = {t.name for t in model.graph.initializer if len(t.raw_data) >= 64 and t.data_type == TensorProto.FLOAT}
    assert large
    assert outside >= large


def test_features_are_of_every_resolution() -> None:
    network = Network(onnx.load(str(weights.OBSERVERS / "efficientnet_lite0.onnx")), 224)
    names = network.features()
    assert [network.shape(name)[1:3] for name in names] == [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)]
    assert network.logits() == "predictions.gemm"


def test_classes_of_one_size_only_are_left_out(tmp_path: Path) -> None:
    """A dense layer over the area fits no other size, so features alone are compared."""
    rng = np.random.default_rng(0)
    kernel = numpy_helper.from_array(rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32), "w")
    dense = numpy_helper.from_array(rng.normal(0, 0.1, (4 * 16 * 16, 5)).astype(np.float32), "d")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "d"], ["y"]),
    ]
    shapes = [helper.make_tensor_value_info("x", 1, ["n", 3, 32, 32]), helper.make_tensor_value_info("y", 1, ["n", 5])]
    graph = helper.make_graph(nodes, "dense", shapes[:1], shapes[1:], [kernel, dense])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    file = save(model, tmp_path / "dense.onnx")
    info = ObserverInfo("d", "d", 32, None, None, "", "", "", (0.0,) * 3, (255.0,) * 3)
    gradient = tmp_path / "dense.gradient.onnx"
    gradient.write_bytes(build(file, info))
    decoded, original = pair(64, 96)
    value, found = run(gradient, decoded, original)
    assert np.isfinite(value).all()
    assert found.shape == decoded.shape
    assert np.abs(found).max() > 0


def test_what_cannot_be_differentiated_is_one_sentence(tmp_path: Path) -> None:
    model = toy()
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Erf"
    with pytest.raises(NotAvailableError, match="operator Erf cannot be differentiated"):
        build(save(model, tmp_path / "toy.onnx"), INFO)
    old = toy()
    old.opset_import[0].version = 9
    with pytest.raises(BadFileError, match="version 9"):
        build(save(old, tmp_path / "old.onnx"), INFO)
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(BadFileError, match="cannot be read"):
        build(tmp_path / "noise.onnx", INFO)
    picture = tmp_path / "picture.onnx"
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    with pytest.raises(BadFileError, match="cannot be read"):
        build(picture, INFO)


def test_another_file_of_the_same_name_is_told(tmp_path: Path) -> None:
    """Weights are found by their place in the classifier's file."""
    from beholder.codecs.rnn.optimise.classifier import Classifier

    file, gradient = save(toy(), tmp_path / "toy.onnx"), tmp_path / "toy.gradient.onnx"
    gradient.write_bytes(build(file, INFO))
    Classifier(gradient)
    save(toy("LogSoftmax"), file)
    with pytest.raises(BadFileError, match=r"another toy\.onnx"):
        Classifier(gradient)


def own_classifier(folder: Path) -> Path:
    """An ONNX file with a sidecar and labels."""
    file = save(toy(), folder / "mine.onnx")
    sidecar = {
        "input_size": 64,
        "mean": [100, 110, 120],
        "std": [50, 60, 70],
        "channel_order": "BGR",
        "labels": "labels.txt",
    }
    file.with_suffix(".json").write_text(json.dumps(sidecar))
    (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    return file


def test_prepare_makes_the_gradient_that_compress_asks_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], photo: Image.Image
) -> None:
    file = own_classifier(tmp_path)
    photo.save(tmp_path / "photo.png")
    command = ["compress", str(tmp_path / "photo.png"), "--alpha=1", "--effort=1", "--quality=1", f"--observer={file}"]
    assert cli.main(command) == 2
    assert "--gradient" in capfd.readouterr().err
    assert cli.main(["prepare", str(file), "--gradient"]) == 0
    assert cli.main(command) == 0
    mine = (tmp_path / "photo.bhd").read_bytes()
    assert mine != api.compress(photo, alpha=1, effort=1, quality=1)
    assert api.decompress(mine).size == photo.size


def test_observers_without_a_gradient_say_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path))
    with pytest.raises(NotAvailableError, match="beholder prepare mobilenet --gradient"):
        files.find("mobilenet")
    with pytest.raises(BadOptionError, match="no classifier"):
        files.find("nobody")
    assert files.find("squeezenet").is_file()


@pytest.mark.parametrize(("effort", "alpha"), [(0, 1.0), (1, 0.0)])
def test_an_observer_that_nothing_is_optimised_for_is_told(photo: Image.Image, effort: int, alpha: float) -> None:
    with pytest.warns(BeholderWarning, match="observer to optimise for has no effect"):
        api.compress(photo.crop((0, 0, 32, 32)), alpha=alpha, effort=effort, observer="squeezenet", quality=1)
