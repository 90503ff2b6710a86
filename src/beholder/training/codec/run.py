"""`beholder train codec`: the loop that every architecture shares.

Photographs in; under ``runs/JOB``: ``last.pt`` (everything needed to go on exactly where it stopped),
``tensorboard/`` (scalars, reconstructions at every rate) and ``settings.json``.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn.damage import one_sentence
from beholder.codecs.rnn.torch.human_distortion import ms_ssim
from beholder.codecs.rnn.torch.weights import begin_from, load_checkpoint
from beholder.errors import BadOptionError, OutputError
from beholder.files import replacing
from beholder.training import distributed as processes
from beholder.training.codec.settings import LappedTransformSettings
from beholder.training.common_settings import Phase
from beholder.training.config_file import CONFIGS, LONGEST_VALUE, Section, check, read_object
from beholder.training.config_file import build as build_settings
from beholder.training.distributed import Processes
from beholder.training.photos import PhotoCrops, find_photos, validation_set
from beholder.training.speed import Speed
from beholder.training.weber2020.settings import Weber2020Settings

CHECKPOINT_SECONDS = 180
FROZEN = "machine."
"""Prefix of weights that never change (the observers' in the loss) and stay out of checkpoints."""


@dataclass(frozen=True)
class CodecJob:
    """Options of the command line.  ``alpha`` None trains one network for every observer; ``start`` are the weights to
    begin from, instead of random ones: a checkpoint or an exported codec."""

    train_data: Path
    val_data: Path
    job_id: str
    alpha: float | None
    settings: dict[str, Any]
    runs: Path = Path("runs")
    resume: bool = False
    device: str = "auto"
    start: Path | None = None

    @property
    def folder(self) -> Path:
        """The job's folder, which holds its checkpoint and log."""
        return self.runs / self.job_id


def read_settings(config: str | Path) -> dict[str, Any]:
    """A JSON config: a path, or the name of one that ships (swift, paper_gru, ...).

    Raises:
        BadOptionError: there is none, or :func:`parse` refuses it.
    """
    path = Path(config)
    if not path.is_file():
        path = CONFIGS / f"{config}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.json") if not p.stem.startswith("classifier_")))
        raise BadOptionError(f"There is no config {config}: give a JSON file or one of {known}.")
    settings = read_object(path)
    parse(settings, str(path))
    return settings


def parse(settings: dict[str, Any], where: str = "of the job") -> LappedTransformSettings | Weber2020Settings:
    """The values of a config, with defaults.

    Raises:
        BadOptionError: a key is unknown, missing or out of its range.
    """
    kinds: dict[str, type[LappedTransformSettings | Weber2020Settings]] = {
        "swift": LappedTransformSettings,
        "paper": Weber2020Settings,
    }
    if "architecture" not in settings:
        raise BadOptionError(f"The config {where} lacks architecture: add swift or paper.")
    architecture = settings["architecture"]
    if architecture not in list(kinds):
        raise BadOptionError(
            f"In the config {where}, architecture is {str(architecture)[:LONGEST_VALUE]!r}: give swift or paper."
        )
    kind = kinds[architecture]
    check(settings, Section(kind), where)
    found = build_settings(kind, settings)
    ends = [phase.until for phase in found.phases]
    if ends != sorted(set(ends)):
        raise BadOptionError(f"In the config {where}, the phases end before steps {ends}: give rising numbers.")
    return found


def build(settings: LappedTransformSettings | Weber2020Settings | dict[str, Any], alpha: float | None) -> nn.Module:
    """The training module of a config's architecture."""
    if isinstance(settings, dict):
        settings = parse(settings)
    if isinstance(settings, LappedTransformSettings):
        from beholder.training.codec.module import CodecModule

        return CodecModule(settings, alpha)
    from beholder.training.weber2020.module import Weber2020Module

    return Weber2020Module(settings, alpha)


class CodecTraining:
    """State of one run: model, optimiser, moving average, step.

    Each process of ``group`` takes every n-th picture of a batch.  Gradients are averaged: all hold equal weights.

    Raises:
        BadOptionError: the processes cannot share a batch evenly, or the config has a fault.
        BadFileError: a checkpoint is damaged or does not fit.
    """

    def __init__(self, job: CodecJob, group: Processes | None = None) -> None:
        self.job = job
        self.group = group or Processes()
        self.settings = settings = parse(job.settings)
        batches = {phase.batch for phase in settings.phases}
        if any(size % self.group.world for size in batches):
            raise BadOptionError(f"Batches of {min(batches)} cannot be shared by {self.group.world} processes evenly.")
        self.device = torch.device(_device(job.device))
        if self.group.world > 1 and self.device.type == "cuda":
            self.device = torch.device("cuda", self.group.local)
        torch.manual_seed(settings.seed)
        self.model = cast(Any, build(settings, job.alpha))
        if job.start is not None and not job.resume:
            anew = begin_from(job.start, self.model.averaged())
            if self.group.first:
                print(f"Weights from {job.start}; {anew} tensors begin anew.")
        self.model.group = self.group
        self.model.to(self.device)
        if self.device.type == "cpu":
            self.model.to(memory_format=torch.channels_last)
        cuda = self.device.type == "cuda"
        self.mixed = cuda if settings.mixed is None else settings.mixed
        if hasattr(self.model, "accelerate"):
            backend = cuda if settings.compile is None else settings.compile
            self.model.accelerate(self.mixed, "inductor" if backend is True else backend or None)
        self.optimiser = torch.optim.Adam(self.model.parameter_groups(settings.lr), betas=(0.9, 0.99))
        self.average = [copy.deepcopy(m).requires_grad_(False) for m in self.model.averaged()]
        self.step = 0
        self.skipped = 0
        if job.resume:
            self._load()

    @property
    def checkpoint(self) -> Path:
        """The file that ``--resume`` goes on from."""
        return self.job.folder / "last.pt"

    def save(self) -> None:
        """Write ``last.pt`` whole or not at all.

        Raises:
            OutputError: the disk is full, the folder has gone, ...
        """
        state = {
            "step": self.step,
            "skipped": self.skipped,
            "settings": self.job.settings,
            "alpha": self.job.alpha,
            "model": {k: v for k, v in self.model.state_dict().items() if not k.startswith(FROZEN)},
            "average": [m.state_dict() for m in self.average],
            "optimiser": self.optimiser.state_dict(),
        }
        try:
            with replacing(self.checkpoint) as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # torch's own for a full disk
            reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
            raise OutputError(f"{self.checkpoint} cannot be written ({reason}): make room, then --resume.") from None

    def _load(self) -> None:
        state = load_checkpoint(self.checkpoint)
        with one_sentence(f"{self.checkpoint} does not fit these settings: give those of the job's settings.json."):
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        if state["alpha"] != self.job.alpha:
            raise BadOptionError(f"The job was started with --alpha {state['alpha']}: resume with the same.")
        self.step, self.skipped = state["step"], state["skipped"]
        frozen = {k: v for k, v in self.model.state_dict().items() if k.startswith(FROZEN)}
        self.model.load_state_dict({k: v for k, v in state["model"].items() if not k.startswith(FROZEN)} | frozen)
        for module, saved in zip(self.average, state["average"], strict=True):
            module.load_state_dict(saved)
        self.optimiser.load_state_dict(state["optimiser"])

    def phase(self, step: int) -> Phase:
        """Crop and batch in force at ``step``; phases are listed with the step before which they end."""
        phases = self.settings.phases
        return next((p for p in phases if step < p.until), phases[-1])

    def learning_rate(self, peak: float) -> float:
        """Linear warm-up, then a cosine to 2 % of the peak, in each part of the schedule anew."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        ends = self.settings.ends()
        end = next((until for until in ends if self.step < until), ends[-1])
        start = max((until for until in ends if until <= self.step and until < end), default=0)
        done = min(1.0, (self.step - start) / max(1, end - start))
        return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def train_step(self, pixels: np.ndarray) -> dict[str, float]:
        """One optimiser step on (N, 3, H, W) uint8 pixels, all processes' batch; not finite, it changes nothing."""
        settings = self.settings
        self.model.begin_step(self.step, self.average)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        torch.manual_seed(self.step)  # binarizers draw from the global generator
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(group["peak"])
        mine = np.ascontiguousarray(self.group.rows(pixels))
        image = torch.from_numpy(mine).to(self.device).float() / 255
        loss, figures = self.model.loss(image, generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.group.average([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            self._follow(settings.ema)
        else:
            self.skipped += 1
        self.step += 1
        mean = loss.detach().clone()
        self.group.average([mean])
        return figures | {"train/loss": float(mean), "train/gradient": float(norm)}

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for slow, fast in zip(self.average, self.model.averaged(), strict=True):
            for a, b in zip(slow.parameters(), fast.parameters(), strict=True):
                a.lerp_(b.detach(), 1 - decay)

    def with_average(self) -> Any:
        """A copy of the model that holds the averaged weights."""
        model = copy.deepcopy(self.model)
        for average, source in zip(model.averaged(), self.average, strict=True):
            average.load_state_dict(source.state_dict())
        return model.eval()


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def train_codec(job: CodecJob) -> Path:
    """Run or resume a job to its last step; the checkpoint's path.  SIGINT and SIGTERM save and stop.

    Under ``torchrun`` all processes train one network together; the first one writes and prints.

    Raises:
        BadImageError: there are no photographs.
        BadOptionError: the config has a fault.
        OutputError: the job exists, or its folder cannot be written.
    """
    if (job.folder / "last.pt").exists() and not job.resume:
        raise OutputError(f"The job {job.folder} exists: add --resume, or choose another --job-id.")
    find_photos(job.train_data)  # complain before anything is written
    group = processes.start(cuda=_device(job.device) == "cuda")
    try:
        return _train(CodecTraining(job, group))
    finally:
        processes.stop(group)


def _train(run: CodecTraining) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    job = run.job
    validation = torch.from_numpy(validation_set(job.val_data)).float() / 255
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "settings.json").write_text(json.dumps(job.settings, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{job.folder} cannot be written ({error.strerror}): choose another.") from None
    first = run.group.first
    writer = SummaryWriter(str(job.folder / "tensorboard"), purge_step=run.step) if first else None
    stop: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        _loop(run, validation.to(run.device), writer, stop)
    finally:
        if writer is not None:
            run.save()
            writer.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stop and first:
        print(f"Stopped at step {run.step}; go on with --resume.")
    return run.checkpoint


def _loop(run: CodecTraining, validation: Tensor, writer: Any, stop: list[int]) -> None:
    settings = run.settings
    saved = printed = time.monotonic()
    done = 0
    speed = Speed(run.device, run.mixed)
    phase: Phase | None = None
    batches: Any = None
    while run.step < settings.steps and not run.group.most(len(stop), run.device):
        if run.phase(run.step) != phase:
            phase = run.phase(run.step)
            crops = PhotoCrops(run.job.train_data, phase.crop, settings.seed)
            batches = crops.batches(run.step, phase.batch)
        pixels = next(batches)
        with speed.counting(asdict(phase), getattr(run.model, "part", "")):
            figures = run.train_step(pixels)
        done += len(pixels)
        now = time.monotonic()
        if writer is None:
            continue
        if run.step % settings.log_every == 0:
            for name, value in figures.items():
                writer.add_scalar(name, value, run.step)
            rate = done / (now - printed)
            fraction = speed.fraction(rate / phase.batch / run.group.world)
            writer.add_scalar("speed/images_per_second", rate, run.step)
            writer.add_scalar("speed/fraction_of_peak", fraction, run.step)
            bpp = " ".join(f"{v:.3f}" for k, v in figures.items() if "/bpp_" in k)
            print(
                f"step {run.step}/{settings.steps}  loss {figures['train/loss']:.4f}"
                f"  {rate:.1f} images/s ({fraction:.1%} of the peak)" + (f"  bpp {bpp}" if bpp else ""),
                flush=True,
            )
            printed, done = now, 0
        if run.step % settings.validate_every == 0 or run.step == settings.steps:
            validate(run, validation, writer)
            printed, done = time.monotonic(), 0
        if now - saved > CHECKPOINT_SECONDS:
            run.save()
            saved = now


def validate(run: CodecTraining, validation: Tensor, writer: Any) -> None:
    """Write MS-SSIM and estimated bpp of the averaged weights at every quality, and pictures, to TensorBoard.

    Args:
        run: the training.
        validation: (N, 3, H, W) in [0, 1].
        writer: TensorBoard's.
    """
    model = run.with_average()
    alphas = (0.0, 1.0) if run.job.alpha is None else (run.job.alpha,)
    for alpha in alphas:
        parts = [model.reconstruct(batch, alpha) for batch in torch.split(validation, 8)]
        line = []
        for i in range(len(parts[0])):
            decoded = torch.cat([p[i][0] for p in parts])
            bpp = float(torch.cat([p[i][1] for p in parts]).mean())
            quality = float(ms_ssim(decoded, validation).mean())
            writer.add_scalar(f"val_alpha{alpha:g}/ms_ssim_{i + 1}", quality, run.step)
            writer.add_scalar(f"val_alpha{alpha:g}/bpp_{i + 1}", bpp, run.step)
            strip = torch.cat([validation[0], decoded[0]], 2)
            writer.add_image(f"val_alpha{alpha:g}/quality_{i + 1}", strip, run.step)
            line.append(f"{bpp:.3f}:{quality:.4f}")
        print(f"  val alpha {alpha:g}  bpp:MS-SSIM  {'  '.join(line)}", flush=True)
