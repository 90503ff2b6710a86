"""Settings of the `paper` architecture's training."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.training.common_settings import CommonSettings
from beholder.training.config_file import TEXT, Section, choice, number, setting, whole
from beholder.training.weber2020.model import CELLS, MODES, Weber2020Config


@dataclass(frozen=True, kw_only=True)
class Weber2020Settings(CommonSettings):
    """``vgg16`` names the file of the machine's weights."""

    model: Weber2020Config = setting(
        Section(
            Weber2020Config,
            {
                "cell": choice(*CELLS),
                "mode": choice(*MODES),
                "iterations": whole(1, 8),
                "width": number(0.01, 4),
            },
        ),
        Weber2020Config(),
    )
    vgg16: str | None = setting(TEXT, None)
