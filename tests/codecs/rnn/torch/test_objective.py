"""Both objectives of latent optimisation, NumPy's in the encoder and torch's in training, agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")

from beholder.codecs.rnn import Rnn  # noqa: E402
from beholder.codecs.rnn.entropy.coder import EntropyModel  # noqa: E402
from beholder.codecs.rnn.entropy.tables import laplace_tables  # noqa: E402
from beholder.codecs.rnn.layout import LAYOUT  # noqa: E402
from beholder.codecs.rnn.optimise import classifier, machine  # noqa: E402
from beholder.codecs.rnn.optimise.human import HumanObjective  # noqa: E402
from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion  # noqa: E402
from beholder.codecs.rnn.optimise.objective import SinglePictureRate  # noqa: E402
from beholder.codecs.rnn.torch import objective  # noqa: E402
from beholder.codecs.rnn.torch.entropy.models import ContextModel  # noqa: E402
from beholder.codecs.rnn.torch.model import LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import exported  # noqa: E402


@pytest.fixture(scope="module")
def plain() -> Rnn:
    return Rnn()


def in_torch(folder: Path) -> tuple[LappedTransformCodec, ContextModel]:
    """Codec and entropy model of an exported folder."""
    config, (weights, entropy) = exported(folder)
    codec, context = LappedTransformCodec(config), ContextModel(LAYOUT, config.context)
    for module, state in ((codec, weights), (context, entropy)):
        module.load_state_dict(module.state_dict() | state)
        module.eval().requires_grad_(False)
    context.set_quantise(True)
    return codec, context


def torch_objective(folder: Path, alpha: float, t: int, pixels: np.ndarray) -> objective.TorchObjective:
    codec, context = in_torch(folder)
    objectives = objective.TorchObjectives(codec, lambda latents: objective.EntropyModelRate(context, latents))
    return objective.TorchObjective(objectives, torch.from_numpy(pixels)[None].float() / 255, alpha, t)


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
        torch_objective(model.folder, 0.0, t, pixels),
    )
    estimates = [
        SinglePictureRate(EntropyModel(arrays, LAYOUT).rate_estimate([latent[0] for latent in latents])),
        objective.EntropyModelRate(in_torch(model.folder)[1], latents),
    ]
    assert estimates[0].bits(latents) == pytest.approx(estimates[1].bits(latents), rel=0.003)
    assert numpy_side.distortion(latents) == pytest.approx(torch_side.distortion(latents), abs=0.003)
    ours, theirs = (side.gradient(soft, latents)[:, 1:] for side in (numpy_side, torch_side))
    assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(theirs)
    gradients = [estimate.rate_gradient(latents, direction) for estimate in estimates]
    for have, want in zip(*gradients, strict=True):
        # Tables have no probability below 2^-16, and beyond their ends values cost 16 bits more.
        assert (np.abs(have - want)[np.abs(want) < 8] < 0.05).mean() > 0.998


@pytest.mark.parametrize("alpha", [1.0, 0.75])
def test_both_objectives_for_machines_agree(
    plain: Rnn, big_photo: Image.Image, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pictures of whole numbers, which are the encoder's."""
    model, t = plain.model, 2
    pixels = np.ascontiguousarray(np.asarray(big_photo)[:96, :128].transpose(2, 0, 1))
    gains = [model.steps.gain(alpha, i, t + 1) for i in range(t + 1)]
    codes = np.trunc(model.analyse(pixels, alpha) * gains[-1])[None]
    latents = [np.trunc(codes * gain / np.where(gains[-1] > 0, gains[-1], 1)) for gain in gains]
    soft = codes + 0.2
    soft[:, 0] = codes[:, 0]
    theirs = torch_objective(model.folder, alpha, t, pixels)
    ours = machine.MachineObjective(model, classifier.load(classifier.DEFAULT), alpha, t, pixels)
    assert ours.distortion(latents) == pytest.approx(theirs.distortion(latents), abs=0.02)

    def one_view(decoded: torch.Tensor, original: torch.Tensor, chance: object) -> list[objective.Pair]:
        return [(decoded + (torch.round(decoded * 255) / 255 - decoded).detach(), original)]

    monkeypatch.setattr(objective, "varied_views", one_view)
    monkeypatch.setattr(machine.views, "varied", lambda height, width, chance: [machine.views.whole(height, width)])
    found, wanted = (side.gradient(soft, latents)[:, 1:] for side in (ours, theirs))
    assert np.linalg.norm(found - wanted) < 0.06 * np.linalg.norm(wanted)
