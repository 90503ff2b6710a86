"""`beholder train codec` as a whole, at toy size: it learns, resumes exactly, survives accidents and says so."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_training import PAPER_SETTINGS, SWIFT_SETTINGS, job

torch = pytest.importorskip("torch")

from beholder.codecs.rnn.optimise import human, loop  # noqa: E402
from beholder.codecs.rnn.optimise.objective import MS_SSIM_LAMBDA, OptimiserSchedule  # noqa: E402
from beholder.codecs.rnn.torch.objective import TorchObjective  # noqa: E402
from beholder.codecs.rnn.torch.weights import load_checkpoint  # noqa: E402
from beholder.training.codec import module as swift  # noqa: E402
from beholder.training.codec.run import CodecTraining, train_codec  # noqa: E402
from beholder.training.photos import PhotoCrops  # noqa: E402

BOTH = pytest.mark.parametrize("settings", [SWIFT_SETTINGS, PAPER_SETTINGS], ids=["swift", "paper"])


def same(a: Any, b: Any) -> bool:
    """Bit-identical tensors in nested dictionaries and lists."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def state(run: CodecTraining) -> dict[str, Any]:
    """A copy of everything that training changes, but for the count of steps."""
    parts = {
        "model": run.model.state_dict(),
        "average": [m.state_dict() for m in run.average],
        "optimiser": run.optimiser.state_dict()["state"],
    }

    def copy(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: copy(v) for k, v in x.items()}
        return [copy(v) for v in x] if isinstance(x, list) else x.clone() if hasattr(x, "clone") else x

    return copy(parts)


@BOTH
def test_loss_falls_on_the_same_photographs(photos: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    changes = {"steps": 30, "lr": 0.005}
    if settings is SWIFT_SETTINGS:
        changes |= {"parts": [["entropy", 30]], "quantise_from": 30}
    run = CodecTraining(job(photos, tmp_path, settings | changes))
    batch = PhotoCrops(photos, 48).batch(0, 8 if settings is SWIFT_SETTINGS else 2)
    losses = [run.train_step(batch)["train/loss"] for _ in range(9)]
    assert run.skipped == 0
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@BOTH
def test_interrupted_and_resumed_is_the_same_run(
    photos: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT after three steps saves; three more steps give the weights of six in one go, bit by bit."""
    whole = load_checkpoint(train_codec(job(photos, tmp_path / "whole", settings)))
    step = CodecTraining.train_step

    def interrupted(run: CodecTraining, pixels: np.ndarray) -> dict[str, float]:
        figures = step(run, pixels)
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return figures

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(CodecTraining, "train_step", interrupted)
    path = train_codec(job(photos, tmp_path / "parts", settings))
    assert signal.getsignal(signal.SIGINT) is handler
    half = load_checkpoint(path)
    assert half["step"] == 3
    assert not same(half["model"], whole["model"])
    train_codec(job(photos, tmp_path / "parts", settings, resume=True))
    resumed = load_checkpoint(path)
    assert resumed["step"] == whole["step"] == 6
    assert same(resumed, whole)
    assert not path.with_suffix(".tmp").exists()


@BOTH
def test_what_a_job_leaves(photos: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = settings | {"steps": 2}
    path = train_codec(job(photos, tmp_path, settings))
    assert path == tmp_path / "toy" / "last.pt"
    assert json.loads((tmp_path / "toy" / "settings.json").read_text()) == settings
    events = EventAccumulator(str(tmp_path / "toy" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    qualities = settings["model"].get("iterations", 8)
    for i in range(1, qualities + 1):
        assert f"val_alpha0/quality_{i}" in tags["images"]
        assert {f"val_alpha0/ms_ssim_{i}", f"val_alpha0/bpp_{i}", f"train/bpp_{i}"} <= set(tags["scalars"])
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2]
    rates = [events.Scalars(f"val_alpha0/bpp_{i}")[-1].value for i in range(1, qualities + 1)]
    assert rates == sorted(rates)
    assert rates[0] > 0
    picture = events.Images(f"val_alpha0/quality_{qualities}")[-1]
    assert (picture.width, picture.height) == (512, 256)  # original beside reconstruction


@BOTH
@pytest.mark.parametrize("accident", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(
    photos: Path, tmp_path: Path, settings: dict[str, Any], accident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings is SWIFT_SETTINGS:
        settings = settings | {"parts": [["eye", 6]]}
    run = CodecTraining(job(photos, tmp_path, settings))
    batch = PhotoCrops(photos, 48).batch(0, 2)
    run.train_step(batch)
    distortion = run.model.distortion

    def broken(*arguments: Any) -> Any:
        d = distortion(*arguments)
        return d * float("nan") if accident == "loss" else d + (d - d.detach()).sqrt()

    with monkeypatch.context() as patch:
        patch.setattr(run.model, "distortion", broken)
        before = state(run)
        run.train_step(batch)
    after = state(run)
    assert same(after, before)
    assert (run.step, run.skipped) == (2, 1)
    figures = run.train_step(batch)
    assert np.isfinite(list(figures.values())).all()
    assert not same(state(run), before)
    assert run.skipped == 1


def test_learning_rate_warms_up_then_falls(photos: Path, tmp_path: Path) -> None:
    run = CodecTraining(job(photos, tmp_path, PAPER_SETTINGS | {"steps": 100, "warmup": 10}))
    rates = []
    for run.step in range(100):
        rates.append(run.learning_rate(1.0))
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == pytest.approx(rates[9])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)


class Machine(torch.nn.Module):
    """Stands in for the classifiers of the loss, which take long."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, decoded: Any, original: Any) -> Any:
        return torch.log(self.weight * (decoded - original).square().mean((1, 2, 3)) + 1e-4)


def test_one_network_for_every_observer(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alpha `any`: half the samples the human's, a quarter a machine's, the rest between; the machine is frozen."""

    monkeypatch.setattr(swift, "FeatureDistortion", Machine)
    run = CodecTraining(job(photos, tmp_path, SWIFT_SETTINGS, alpha=None))
    alpha = run.model.draw_alpha(8, torch.Generator().manual_seed(0))
    assert alpha[:4].tolist() == [0] * 4
    assert alpha[4:6].tolist() == [1] * 2
    assert all(0 < float(a) < 1 for a in alpha[6:])
    batch = PhotoCrops(photos, 48).batch(0, 8)
    assert np.isfinite(run.train_step(batch)["train/loss"])
    assert run.skipped == 0
    run.checkpoint.parent.mkdir()
    run.save()
    assert not [name for name in load_checkpoint(run.checkpoint)["model"] if name.startswith("machine")]
    resumed = CodecTraining(job(photos, tmp_path, SWIFT_SETTINGS, alpha=None, resume=True))
    assert same(state(resumed), state(run))


@pytest.mark.parametrize("part", ["entropy", "decoder", "eye"])
def test_codes_stay_once_a_part_learns_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Analysis never moves, and of the rest only the named part."""
    settings = SWIFT_SETTINGS | {"parts": [[part, 6]], "quantise_from": 6, "lr": 0.01}
    monkeypatch.setattr(swift, "FeatureDistortion", Machine)
    run = CodecTraining(job(photos, tmp_path, settings, alpha=None))
    batch = PhotoCrops(photos, 48).batch(0, 8)
    before = {k: v.clone() for k, v in run.model.codec.state_dict().items()}
    learning = {k: v.clone() for k, v in run.model.context.state_dict().items()}
    for _ in range(3):
        run.train_step(batch)
    after = dict(run.model.codec.state_dict())
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    context = run.model.context.state_dict()
    entropy_moved = any(not torch.equal(value, learning[name]) for name, value in context.items())
    if part == "entropy":
        assert moved == set()
        assert entropy_moved
    else:
        assert moved == ({"quantiser", "synthesis"} if part == "eye" else {"quantiser", "recurrence", "synthesis"})
        assert not entropy_moved
        for name in ("eye_linear", "eye_borders", "eye_network.leave.weight"):
            assert torch.equal(after[f"synthesis.{name}"], before[f"synthesis.{name}"]) == (part != "eye")
        assert torch.equal(after["synthesis.linear.weight"], before["synthesis.linear.weight"]) == (part == "eye")


@pytest.mark.parametrize("part", ["entropy", "decoder"])
def test_networks_learn_from_codes_that_were_searched_for(
    photos: Path, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second sample's codes serve its own iteration; the others', and the search's weights, stay."""
    monkeypatch.setitem(human.SCHEDULES, 2, human.SCHEDULES[1])  # 8 rounds instead of 20
    settings = SWIFT_SETTINGS | {"parts": [[part, 6]], "quantise_from": 0, "searched": 0.5}
    run = CodecTraining(job(photos, tmp_path, settings))
    batch = next(PhotoCrops(photos, 48, 1).batches(0, 8))
    run.model.begin_step(0, run.average)
    image, alpha, t = torch.from_numpy(batch).float() / 255, torch.zeros(8), torch.arange(8)
    before = [p.detach().clone() for p in run.model.parameters()]
    latent, every, target = run.model.latent(image, alpha, t)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, run.model.parameters(), strict=True))
    changed = (latent != run.model.codec.analysis(image)).flatten(1).any(1)
    assert not changed[1::2].any()
    assert changed[::2].sum() >= 2
    assert every.sum(1).tolist() == [1, 8, 3, 8, 5, 8, 7, 8]
    assert target.tolist() == [1, 0, 3, 0, 5, 0, 7, 0]
    assert np.isfinite(run.train_step(batch)["train/loss"])
    assert run.skipped == 0


@pytest.mark.parametrize(("alpha", "t"), [(0.0, 0), (0.0, 3), (1.0, 1)])
def test_a_batch_is_optimised_as_each_of_its_pictures(photos: Path, tmp_path: Path, alpha: float, t: int) -> None:
    """The objective ends far below where it began, and no sample knows of another."""
    model = CodecTraining(job(photos, tmp_path, SWIFT_SETTINGS)).model
    model.objectives.__dict__["machine"] = Machine() if alpha else None
    model.context.set_quantise(True)
    image = torch.from_numpy(PhotoCrops(photos, 64, 1).batch(0, 3)).float() / 255
    latent = model.codec.analysis(image).detach()
    schedule = OptimiserSchedule(rounds=8, rate=0.25, refresh=4)
    batch = model.objectives.improve(image, latent, alpha, t, schedule).numpy()
    multiplier = loop.MACHINE_LAMBDA if alpha else MS_SSIM_LAMBDA[t]
    for one in range(3):
        rows = slice(one, one + 1)
        alone = model.objectives.improve(image[rows], latent[rows], alpha, t, schedule).numpy()
        objective = TorchObjective(model.objectives, image[rows], alpha, t)
        gains = [
            model.codec.quantiser.gain(objective.observer, i, objective.optimised_for)[0].numpy()
            for i in objective.iterations
        ]
        costs = []
        for y in (latent[rows].numpy(), batch[rows], alone):
            whole = [np.trunc(y * gain) for gain in gains]
            bits = float(objective.rate_estimate(whole).bits(whole)[0])
            costs.append((bits, float(objective.distortion(whole)[0])))
        before, ours, by_itself = (multiplier / costs[0][0] * bits + distortion for bits, distortion in costs)
        assert before - ours > 0.03
        assert by_itself == pytest.approx(ours, abs=0.1 * (before - ours))


def test_16_bit_networks_and_compiling_learn_the_same(photos: Path, tmp_path: Path) -> None:
    """Distortions differ by rounding."""
    crops = next(PhotoCrops(photos, 48, 1).batches(0, 8))
    figures = {}
    for name, extra in {"plain": {}, "mixed": {"mixed": True}, "compiled": {"compile": "eager"}}.items():
        run = CodecTraining(
            job(photos, tmp_path / name, SWIFT_SETTINGS | {"parts": [["decoder", 6]]} | extra, alpha=1.0)
        )
        figures[name] = run.train_step(crops)
        run.train_step(crops)
        assert run.skipped == 0
    for name in ("mixed", "compiled"):
        assert figures[name]["train/distortion"] == pytest.approx(figures["plain"]["train/distortion"], rel=2e-2)


def test_two_threads_learn_what_one_does(photos: Path, tmp_path: Path) -> None:
    batch = PhotoCrops(photos, 48).batch(0, 2)
    losses = []
    usual = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            run = CodecTraining(job(photos, tmp_path / str(threads), PAPER_SETTINGS))
            losses.append([run.train_step(batch)["train/loss"] for _ in range(2)])
            assert run.skipped == 0
    finally:
        torch.set_num_threads(usual)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[0][0] != losses[0][1]
