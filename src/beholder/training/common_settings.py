"""Settings that the training of every codec architecture knows."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.codecs.rnn.torch.machine_distortion import NETWORKS
from beholder.training.config_file import FLAG, Rule, Section, Sections, choice, names, number, setting, whole


@dataclass(frozen=True)
class Phase:
    """Crops of the steps before ``until``."""

    until: int = setting(whole(1))
    crop: int = setting(whole(16, 4096, multiple=16))
    batch: int = setting(whole(1, 65536))


@dataclass(frozen=True)
class MachineLoss:
    """Arguments of :class:`~beholder.codecs.rnn.torch.machine_distortion.FeatureDistortion`."""

    networks: tuple[str, ...] = setting(names(*NETWORKS), ("efficientnet_lite0",))
    logits: float = setting(number(0, 1), 0.0)


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """Keys that every architecture knows."""

    architecture: str = setting(choice("swift", "paper"))
    steps: int = setting(whole(1))
    phases: tuple[Phase, ...] = setting(Sections(Phase))
    lr: float = setting(number(1e-9, 1))
    warmup: int = setting(whole(1), 1)
    ema: float = setting(number(0, 1), 0.999)
    clip: float = setting(number(1e-9, 1e9), 1.0)
    seed: int = setting(whole(0, 2**31 - 1), 0)
    machine: MachineLoss = setting(Section(MachineLoss), MachineLoss())
    mixed: bool | None = setting(FLAG, None)
    compile: bool | str | None = setting(
        Rule(lambda value: isinstance(value, bool | str), "true, false, or a backend of torch.compile"), None
    )
    validate_every: int = setting(whole(1), 500)
    log_every: int = setting(whole(1), 50)

    def ends(self) -> tuple[int, ...]:
        """Steps before which the learning rate has fallen, and begins anew."""
        return (self.steps,)
