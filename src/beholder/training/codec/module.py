"""Training module of the `swift` codec: all eight qualities at once, for observers from alpha 0 to 1.

The transform is fixed, so the codes are too.  Entropy model, human's picture, learned step and decoder learn from them
one after the other (``parts``).  Every batch holds every quality.

``searched`` in the settings is the fraction of samples whose codes are optimised as the encoder does it (optimise/).
It begins at step ``searched_from``, once the entropy model computes in integers. So entropy model and decoder learn
from optimised and from plain codes. ``human_share`` is the weight of d_human in a machine's loss. MS-SSIM in the loss
helps unseen classifiers as much as more weight of the seen ones does (docs/codec.md).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from beholder.codecs.rnn.layout import ITERATIONS
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.machine_distortion import FeatureDistortion
from beholder.codecs.rnn.torch.model import LappedTransformCodec
from beholder.codecs.rnn.torch.objective import EntropyModelRate, TorchObjectives
from beholder.training.codec.settings import LappedTransformSettings
from beholder.training.codec.step import StepObjective, fit_rate
from beholder.training.distributed import Processes

DECODER_QUALITIES = (0, 1, 1, 2, 2, 3, 4, 5, 6, 7)
"""Iterations that the part "decoder" draws from: machines read small files."""


class CodecModule(nn.Module):
    """The codec and its entropy model."""

    def __init__(self, settings: LappedTransformSettings, alpha: float | None) -> None:
        super().__init__()
        self.settings = settings
        self.codec = LappedTransformCodec(settings.model)
        self.codec.quantiser.set_steps(settings.quantiser.human, settings.quantiser.optimised)
        self.context = ContextModel(self.codec.layout, settings.model.context)
        self.alpha = alpha
        self.parts = settings.parts
        self.quantise_from = settings.steps if settings.quantise_from is None else settings.quantise_from
        self.dither = settings.dither[0]
        self.optimising = False
        self.objectives = TorchObjectives(self.codec, lambda latents: EntropyModelRate(self.context, latents))
        self.quantised = False
        self.part = ""
        self.group = Processes()
        self.machine: FeatureDistortion | None = None
        if alpha != 0 and any(name != "entropy" for name, _ in self.parts):
            self.machine = FeatureDistortion(**asdict(settings.machine))

    def accelerate(self, mixed: bool, backend: str | None) -> None:
        """16-bit floats in the networks, and compiled kernels.

        What decides about codes stays as it is: analysis, quantiser and the entropy model's integers need float32.
        """
        codec = self.codec
        networks: list[Any] = [codec.recurrence, codec.synthesis, *([self.machine] if self.machine is not None else [])]
        for network in networks:
            network.mixed = mixed
        if backend is not None:
            parts: list[nn.Module] = [codec.recurrence, codec.synthesis, *self.context.stages]
            for part in [*parts, *(self.machine.networks if self.machine is not None else [])]:
                part.compile(backend=backend)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The linear transforms begin as a lapped DCT and move slowly; per-channel tables have far to go.

        At the full rate the wide convolutions that correct the picture overshoot within their first steps, so far that
        no activation is left that reacts to anything."""
        codec = self.codec
        linear: list[Tensor] = [codec.synthesis.linear.weight, codec.synthesis.borders.weight]
        tables: list[Tensor] = [
            p for name, p in self.context.named_parameters() if "state_" in name or name.endswith("by_pass")
        ]
        human: list[Tensor] = [codec.synthesis.eye_linear, codec.synthesis.eye_borders]
        speeds: dict[float, list[Tensor]] = {
            0.03: linear,
            0.5: human,
            10.0: tables,
        }
        fixed = set(map(id, codec.analysis.parameters()))
        special = fixed | {id(p) for group in speeds.values() for p in group}
        rest = [p for p in (*codec.parameters(), *self.context.parameters()) if id(p) not in special]
        groups = [(lr, rest), *((lr * speed, group) for speed, group in speeds.items() if group)]
        return [{"params": group, "lr": rate, "peak": rate} for rate, group in groups]

    def averaged(self) -> list[nn.Module]:
        """The modules whose exponential moving average is kept."""
        return [self.codec, self.context]

    def begin_step(self, step: int, average: list[nn.Module]) -> None:
        """Switch what the schedule says.

        From ``quantise_from`` on, the entropy model computes in integers, as the files' decoder does.
        """
        if step >= self.quantise_from and not self.quantised:
            self.quantised = True
            self.context.set_quantise(True)
        self.optimising = self.quantised and bool(self.settings.searched) and step >= self.settings.searched_from
        part, begin, end = self._part_at(step)
        first, last = self.settings.dither
        self.dither = first * (last / first) ** ((step - begin) / max(end - begin, 1))
        if part == self.part:
            return
        self.part = part
        if part == "decoder":
            for codec in (self.codec, average[0]):
                assert isinstance(codec, LappedTransformCodec)
                codec.synthesis.begin_machine()
        self.context.requires_grad_(part == "entropy")
        self.codec.requires_grad_(part == "decoder")
        self.codec.analysis.requires_grad_(False)
        for tensor in self.codec.synthesis.human_parameters():
            tensor.requires_grad_(part in ("eye", "step"))
        self.codec.quantiser.requires_grad_(part in ("decoder", "eye", "step"))
        if self.codec.step is not None:
            self.codec.step.requires_grad_(part == "step")
            self.codec.step.rate.requires_grad_(False)

    def _part_at(self, step: int) -> tuple[str, int, int]:
        """Name, first step and end of the part that learns in ``step``."""
        begin = 0
        for name, until in self.parts:
            if step < until:
                return name, begin, until
            begin = until
        return self.parts[-1][0], begin, begin

    def draw_alpha(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw an alpha for each sample, (count,).

        Half the samples have alpha 0, a quarter alpha 1, and a quarter lies between. The part "decoder" trains
        networks that alpha 0 does not use: three quarters have alpha 1, and a quarter lies between.
        """
        if self.alpha is not None or self.part == "eye":
            return torch.full((count,), self.alpha or 0.0)
        # Fixed fractions rather than chances: kernels are prepared once for each shape they meet.
        alpha = torch.rand(count, generator=generator)
        humans, machines = (0, 3 * count // 4) if self.part == "decoder" else (count // 2, count // 4)
        alpha[:humans] = 0
        alpha[humans : humans + machines] = 1
        return alpha

    def loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """image (N, 3, H, W) in [0, 1] -> scalar loss and figures for the log."""
        n, _, height, width = image.shape
        # All processes draw for the whole batch and take their rows.
        count = n * self.group.world
        alpha = self.group.rows(self.draw_alpha(count, generator)).to(image.device)
        qualities = torch.tensor(DECODER_QUALITIES if self.part == "decoder" else range(ITERATIONS))
        order = torch.cat([qualities[torch.randperm(len(qualities), generator=generator)] for _ in range(count)])
        t = self.group.rows(order[:count]).to(image.device)
        if self.part == "step":
            return self._step_loss(image, generator)
        with torch.no_grad():
            latent, every, optimised_for = self.latent(image, alpha, t)
        states = self.codec.quantise(latent, alpha, optimised_for)
        if self.part == "entropy":
            bits = self.context.bits([codes for codes, _ in states]) / (height * width)
            bits = (bits * every).sum(0) / every.sum(0).clamp(min=1)
            return bits.sum(), {f"train/bpp_{i + 1}": float(v) for i, v in enumerate(bits.detach().cumsum(0))}
        decoded = self.codec.decode([y_hat for _, y_hat in states], alpha, t, optimised_for)
        distortion = self.distortion(decoded, image, alpha).mean()
        return distortion, {"train/distortion": float(distortion.detach())}

    def _step_loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        step = self.codec.step
        assert step is not None
        if not step.has_fitted_rate:
            fit_rate(self.codec, self.context, image)
            self.group.average([step.rate])
        t = int(torch.randint(ITERATIONS, (1,), generator=generator))
        objective = StepObjective(self.codec, self.context, image, t)
        loss, distortion, bpp = objective.loss(self.dither, generator)
        return loss, {"train/distortion": float(distortion), f"train/bpp_{t + 1}": float(bpp)}

    def latent(self, image: Tensor, alpha: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the latents that are quantised. Some samples are optimised, as the encoder does with more effort.

        Returns:
            The latent; (N, iterations) 1 where a sample's codes are meant, since optimised ones serve one ``t``;
            and (N,) the number of iterations that they are optimised for, 0 where they are not.
        """
        latent = self.codec.analysis(image)
        every, optimised_for = latent.new_ones(len(image), ITERATIONS), torch.zeros_like(t)
        if self.optimising:
            numbers = torch.arange(len(image)) * self.group.world + self.group.rank
            chosen = ((numbers + 1) * self.settings.searched).ceil() > (numbers * self.settings.searched).ceil()
            rows = chosen.nonzero()[:, 0].to(image.device)
            for row in rows[(alpha[rows] > 0) & (alpha[rows] < 1)].tolist():
                one = slice(row, row + 1)
                latent[one] = self.objectives.improve(image[one], latent[one], float(alpha[row]), int(t[row]))
            for last in range(ITERATIONS):
                for observer in (0.0, 1.0):
                    some = rows[(alpha[rows] == observer) & (t[rows] == last)]
                    if len(some):
                        latent[some] = self.objectives.improve(image[some], latent[some], observer, last)
            optimised_for[rows] = t[rows] + 1
            sent = torch.arange(ITERATIONS, device=image.device)[None] < optimised_for[:, None]
            every[rows] = sent[rows].to(every)
        return latent, every, optimised_for

    def distortion(self, decoded: Tensor, image: Tensor, alpha: Tensor) -> Tensor:
        """(1 - alpha + human_share alpha) d_human + alpha d_machine, one value a sample; a side of weight 0 is not
        computed."""
        total = torch.zeros_like(alpha)
        weight = 1 - alpha + self.settings.human_share * alpha
        human, machine = weight > 0, alpha > 0
        if human.any():
            d = human_distortion(decoded[human], image[human])
            total = total.index_put((human.nonzero()[:, 0],), weight[human] * d, accumulate=True)
        if machine.any():
            assert self.machine is not None
            d = self.machine.forward(decoded[machine], image[machine])
            total = total.index_put((machine.nonzero()[:, 0],), alpha[machine] * d, accumulate=True)
        return total

    @torch.no_grad()
    def reconstruct(self, image: Tensor, alpha: float) -> list[tuple[Tensor, Tensor]]:
        """Per quality: the decoded batch (N, 3, H, W) in [0, 1] and the estimated bpp of each sample, (N,).

        Args:
            image: (N, 3, H, W) in [0, 1].
            alpha: the observer, 0 to 1.
        """
        n, _, height, width = image.shape
        observer = torch.full((n,), alpha, device=image.device)
        if self.part == "step" and alpha == 0:
            return self._reconstruct_adjusted(image)
        states = self.codec.encode(image, observer)
        bpp = (self.context.bits([latent for latent, _ in states]) / (height * width)).cumsum(1)
        y_hats = [y_hat for _, y_hat in states]
        hidden_states = self.codec.recur(y_hats, observer)
        result = []
        for i, (y_hat, hidden) in enumerate(zip(y_hats, hidden_states, strict=True)):
            t = torch.full((n,), i, device=image.device)
            result.append((self.codec.synthesis(y_hat, hidden, observer, t).clamp(0, 1), bpp[:, i]))
        return result

    def _reconstruct_adjusted(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """As :meth:`reconstruct` for the human, with codes that the learned step has moved."""
        pixels = image.shape[2] * image.shape[3]
        objectives = [StepObjective(self.codec, self.context, image, t) for t in range(ITERATIONS)]
        return [(picture, bits / pixels) for picture, bits in (objective.reconstruct() for objective in objectives)]
