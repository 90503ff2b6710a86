"""Distortions: the differentiable MS-SSIM against the metric, the machine's features, and their blend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo
from PIL import Image, ImageFilter

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from beholder import metrics  # noqa: E402
from beholder.codecs.rnn.torch.human_distortion import C1, C2, human_distortion, ms_ssim  # noqa: E402
from beholder.codecs.rnn.torch.machine_distortion import CAFFE_MEAN, FeatureDistortion, Lite0, SqueezeNet, Vgg16  # noqa: E402
from beholder.errors import BadFileError, BadOptionError, NotAvailableError  # noqa: E402
from beholder.training.codec import module as swift  # noqa: E402
from beholder.training.codec.run import build, read_settings  # noqa: E402
from beholder.training.weber2020 import module as paper  # noqa: E402

SMALL = {"hidden": 16, "context": 8}


def tensor(image: Image.Image) -> Any:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255


def damaged(image: Image.Image, damage: str) -> Image.Image:
    if damage == "blur":
        return image.filter(ImageFilter.GaussianBlur(2))
    pixels = np.asarray(image).astype(float)
    if damage == "noise":
        pixels += np.random.default_rng(0).normal(0, 25, pixels.shape)
    else:
        pixels = pixels * 0.6 + 20
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(176, 176), (201, 183), (256, 192)])
@pytest.mark.parametrize("damage", ["blur", "noise", "faded"])
def test_ms_ssim_is_the_metric(size: tuple[int, int], damage: str) -> None:
    a = make_photo(*size)
    b = damaged(a, damage)
    expected = metrics.ms_ssim(a, b)
    assert expected < 0.99
    assert float(ms_ssim(tensor(a), tensor(b))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [(48, 64), (96, 81)])
def test_ms_ssim_is_the_metric_at_training_crops(size: tuple[int, int]) -> None:
    a = make_photo(*size)
    b = damaged(a, "noise")
    assert float(ms_ssim(tensor(a), tensor(b))) == pytest.approx(metrics.ms_ssim(a, b), abs=1e-3)


def test_banded_filter_is_the_convolution() -> None:
    """One scale (short side under 21 pixels) against SSIM by direct convolution with the 11 x 11 window."""
    torch.manual_seed(0)
    a = torch.rand(2, 3, 20, 33, dtype=torch.float64)
    b = (a + 0.2 * torch.randn_like(a)).clamp(0, 1)
    taps = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(taps, taps) / taps.sum() ** 2

    def blur(x: Any) -> Any:
        return F.conv2d(x, window.expand(3, 1, 11, 11), groups=3)

    ma, mb = blur(a), blur(b)
    luminance = (2 * ma * mb + C1) / (ma**2 + mb**2 + C1)
    contrast = (2 * (blur(a * b) - ma * mb) + C2) / (blur(a * a) - ma**2 + blur(b * b) - mb**2 + C2)
    expected = (luminance * contrast).mean((1, 2, 3))
    torch.testing.assert_close(ms_ssim(a, b), expected, atol=1e-10, rtol=0)


def test_each_sample_has_its_own_value() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(3, 3, 48, 48), torch.rand(3, 3, 48, 48)
    together = ms_ssim(a, b)
    assert together.shape == (3,)
    for i in range(3):
        torch.testing.assert_close(together[i], ms_ssim(a[i : i + 1], b[i : i + 1])[0])


def test_gradient_is_finite_at_the_extremes() -> None:
    photo = tensor(make_photo(64, 64))
    for a, b in ((photo, photo), (torch.zeros_like(photo), photo), (1 - photo, photo), (photo * 0, photo * 0)):
        a = a.clone().requires_grad_()
        value = human_distortion(a, b).sum()
        value.backward()
        assert value.isfinite()
        assert a.grad.isfinite().all()


def test_more_noise_is_worse() -> None:
    torch.manual_seed(0)
    photo = tensor(make_photo(64, 64))
    noise = torch.randn_like(photo)
    values = [float(human_distortion(photo + s * noise, photo)) for s in (0.0, 0.02, 0.1, 0.4)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(np.log(1e-4), abs=1e-2)


@pytest.fixture(scope="module")
def machine() -> FeatureDistortion:
    pytest.importorskip("onnx")
    return FeatureDistortion()


def test_machine_prefers_the_less_damaged(machine: FeatureDistortion) -> None:
    photo = tensor(make_photo(96, 96))
    torch.manual_seed(0)
    noise = torch.randn_like(photo)
    levels = [photo + s * noise for s in (0.0, 0.05, 0.3)]
    values = [float(machine(x, photo)) for x in levels]
    assert values == sorted(values)
    together = machine(torch.cat(levels), photo.repeat(3, 1, 1, 1))
    torch.testing.assert_close(together, torch.tensor(values), atol=1e-3, rtol=1e-3)
    decoded = levels[1].clone().requires_grad_()
    machine(decoded, photo).sum().backward()
    assert decoded.grad.isfinite().all()
    assert decoded.grad.abs().max() > 0
    assert not any(p.requires_grad for p in machine.parameters())


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_the_classifier_is_the_published_network(machine: FeatureDistortion, size: tuple[int, int]) -> None:
    """Given the weights that ship, the package that they come from has the same features and logits at any size."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    ours: Any = machine.networks[0]
    net = package.EfficientNet.from_name("efficientnet-lite0").eval()
    parts = [(net._conv_stem, "_bn0", net, "stem_conv"), (net._conv_head, "_bn1", net, "head_conv")]
    for number, block in enumerate(net._blocks):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if hasattr(block, f"_{part}_conv"):
                parts.append((getattr(block, f"_{part}_conv"), norm, block, f"block{number}_{part}_conv"))
    for convolution, norm, owner, name in parts:  # the file's convolutions hold the normalisations
        convolution.weight.data = getattr(ours, f"{name}_w")
        convolution.bias = torch.nn.Parameter(getattr(ours, f"{name}_b"))
        setattr(owner, norm, torch.nn.Identity())
    net._fc.weight.data, net._fc.bias.data = ours.predictions_w, ours.predictions_b
    photo = tensor(make_photo(*size))
    with torch.no_grad():
        x = net._swish(net._conv_stem((photo * 255 - 127) / 128))
        maps = [x := block(x) for block in net._blocks]
        logits = net._fc(net._swish(net._conv_head(x)).mean((2, 3)))
        features, found = ours(photo)
    for ours_map, index in zip(features, ours.COMPARED, strict=True):
        torch.testing.assert_close(ours_map, maps[index], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "network"), [("efficientnet_lite0", Lite0), ("squeezenet", SqueezeNet)])
def test_training_sees_what_the_observer_sees(name: str, network: Any) -> None:
    """The loss' networks give the class probabilities of the observers that ship."""
    pytest.importorskip("onnx")
    from beholder import observers

    observer = observers.get(name)
    view = make_photo(observer.info.input_size, observer.info.input_size)
    with torch.no_grad():
        _, logits = network()(tensor(view))
    np.testing.assert_allclose(logits.softmax(1).numpy(), observer.predict([view]), atol=1e-4)
    assert int(logits.argmax()) == int(observer.predict([view]).argmax())


def test_decisions_count_as_much_as_they_should() -> None:
    pytest.importorskip("onnx")
    photo = tensor(make_photo(96, 96))
    other = (photo + 0.1 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    values = {}
    for weight in (0.0, 0.25, 1.0):
        values[weight] = float(FeatureDistortion(["squeezenet"], weight)(other, photo))
        assert float(FeatureDistortion(["squeezenet"], weight)(photo, photo)) < values[weight]
    assert values[0.25] == pytest.approx(0.75 * values[0.0] + 0.25 * values[1.0], abs=1e-5)


@pytest.mark.parametrize("options", [{"networks": ["lenet"]}, {"networks": []}, {"logits": 2}])
def test_impossible_machines_are_one_sentence(options: dict[str, Any]) -> None:
    with pytest.raises(BadOptionError, match="correct `machine`"):
        FeatureDistortion(**options)


def vgg_weights(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    widths = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
    weights, inputs = {}, 3
    for layer in Vgg16.LAYERS:
        outputs = widths[layer[0]]
        kernel = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (3, 3, inputs, outputs)).astype(np.float32)
        weights[layer] = kernel, rng.normal(0, 0.1, outputs).astype(np.float32)
        inputs = outputs
    return weights


def test_vgg_reads_both_kinds_of_files(tmp_path: Path) -> None:
    """Keras' notop HDF5 and the reference's pickled vgg16.npy hold the same network; relu1_1 is as computed by hand."""
    h5py = pytest.importorskip("h5py")
    weights = vgg_weights()
    np.save(tmp_path / "vgg16.npy", {f"conv{k}": list(v) for k, v in weights.items()}, allow_pickle=True)  # type: ignore[arg-type]
    with h5py.File(tmp_path / "vgg.h5", "w") as archive:
        for layer, (kernel, bias) in weights.items():
            name = f"block{layer[0]}_conv{layer[2]}"
            archive[f"{name}/{name}_W_1:0"], archive[f"{name}/{name}_b_1:0"] = kernel, bias
    image = tensor(make_photo(48, 32))
    with torch.no_grad():
        (first, last), logits = Vgg16(tmp_path / "vgg16.npy")(image)
        (first_h5, last_h5), _ = Vgg16(tmp_path / "vgg.h5")(image)
    assert logits is None
    assert torch.equal(first, first_h5)
    assert torch.equal(last, last_h5)
    assert last.shape == (1, 512, 2, 3)
    pixels = image.flip(1) * 255 - torch.tensor(CAFFE_MEAN)[:, None, None]
    kernel, bias = (torch.from_numpy(x) for x in weights["1_1"])
    by_hand = F.relu(F.conv2d(pixels, kernel.permute(3, 2, 0, 1), bias, padding=1))
    torch.testing.assert_close(first, by_hand)


def test_paper_uses_vgg_where_it_is_given(tmp_path: Path, pair: tuple[Any, Any]) -> None:
    np.save(tmp_path / "vgg16.npy", {f"conv{k}": list(v) for k, v in vgg_weights().items()}, allow_pickle=True)  # type: ignore[arg-type]
    settings = {"model": {"width": 0.0625}, "vgg16": str(tmp_path / "vgg16.npy")}
    module: Any = build(read_settings("paper_gru") | settings, 1.0)
    with torch.no_grad():
        found = module.distortion(*pair)
        network = Vgg16(tmp_path / "vgg16.npy")
        (a, c), (b, d) = (network(image)[0] for image in pair)
    torch.testing.assert_close(found, (a - b).square().mean((1, 2, 3)) + (c - d).square().mean((1, 2, 3)))


def test_weight_files_run_no_code_and_fail_in_one_sentence(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "hacked"),))

    np.save(tmp_path / "evil.npy", {"conv1_1": Evil()}, allow_pickle=True)  # type: ignore[arg-type]
    (tmp_path / "no.h5").write_bytes(b"nothing")
    for name in ("evil.npy", "no.h5", "missing.npy"):
        with pytest.raises(BadFileError, match="notop"):
            Vgg16(tmp_path / name)
    assert not (tmp_path / "hacked").exists()


class Stub(torch.nn.Module):
    """A machine whose distortion is the mean absolute difference (its logarithm, as the real one's)."""

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def forward(self, decoded: Any, original: Any) -> Any:
        return torch.log((decoded - original).abs().mean((1, 2, 3)))


@pytest.fixture
def pair() -> tuple[Any, Any]:
    photo = tensor(make_photo(64, 64)).repeat(3, 1, 1, 1)
    return photo * 0.8 + 0.1 * torch.arange(3)[:, None, None, None] / 2, photo


@pytest.mark.parametrize("human_share", [0.0, 0.25])
def test_swift_blends_by_sample(monkeypatch: pytest.MonkeyPatch, pair: tuple[Any, Any], human_share: float) -> None:
    monkeypatch.setattr(swift, "FeatureDistortion", Stub)
    module = build(read_settings("swift") | {"model": SMALL, "human_share": human_share}, None)
    alpha = torch.tensor([0.0, 0.3, 1.0])
    expected = (1 - alpha + human_share * alpha) * human_distortion(*pair) + alpha * Stub()(*pair)
    torch.testing.assert_close(module.distortion(*pair, alpha), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_paper_blends(monkeypatch: pytest.MonkeyPatch, pair: tuple[Any, Any], alpha: float) -> None:
    monkeypatch.setattr(paper, "FeatureDistortion", Stub)
    module = build(read_settings("paper_gru") | {"model": {"width": 0.0625}}, alpha)
    human = 5000 * (1 - ms_ssim(*pair))
    machine = 1000 * (pair[0] - pair[1]).abs().mean((1, 2, 3))
    torch.testing.assert_close(module.distortion(*pair), (1 - alpha) * human + alpha * machine)


@pytest.mark.parametrize("architecture", ["swift", "paper"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_end_points_compute_one_side_only(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Any, Any], architecture: str, alpha: float
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("the other side was computed")

    module = swift if architecture == "swift" else paper
    monkeypatch.setattr(module, "FeatureDistortion", Stub if alpha else never)
    if alpha:
        name = "human_distortion" if architecture == "swift" else "ms_ssim"
        monkeypatch.setattr(module, name, never)
    if architecture == "swift":
        module = build(read_settings("swift") | {"model": SMALL, "human_share": 0.0}, alpha)
        value = module.distortion(*pair, torch.full((3,), alpha))
    else:
        module = build(read_settings("paper_gru") | {"model": {"width": 0.0625}}, alpha)
        value = module.distortion(*pair)
    assert value.shape == (3,)


def test_missing_classifier_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(NotAvailableError, match="pip install"):
        FeatureDistortion()
