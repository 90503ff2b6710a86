"""Settings of a codec's training: what a config file says, checked and with defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from beholder.codecs.rnn.layout import ITERATIONS, LAYOUT
from beholder.codecs.rnn.torch.model import CodecConfig
from beholder.training.common_settings import CommonSettings
from beholder.training.config_file import Rule, Section, number, pair, setting, whole

PARTS = ("entropy", "eye", "step", "decoder")
"""Parts that learn alone: the entropy model, the human's picture, the encoder's learned step together with that
picture (:mod:`.step`), and the decoder of machines."""
LARGEST_SIZE = 1024
"""Channels or blocks of a network; ours has 192 at most."""

Range = tuple[int, int, float]


def _is_range(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    low, high, factor = value
    whole_channels = type(low) is int and type(high) is int and 0 < low < high <= LAYOUT.latent
    return whole_channels and isinstance(factor, int | float) and 0.1 <= factor <= 10


def _is_parts(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(part, list) and len(part) == 2 and part[0] in PARTS for part in value):
        return False
    ends = [end for _, end in value]
    return all(type(end) is int for end in ends) and all(a < b for a, b in zip([0, *ends[:-1]], ends, strict=True))


def _ranges(value: Any) -> tuple[Range, ...]:
    return tuple((low, high, factor) for low, high, factor in value)


def _list_of(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(allows, value))


_RANGES = f"[first channel, end, factor] each, channels from 1 to {LAYOUT.latent}, factors from 0.1 to 10"


@dataclass(frozen=True)
class QuantiserSteps:
    """Arguments of :meth:`beholder.codecs.rnn.torch.quantiser.Quantiser.set_steps`."""

    human: tuple[Range, ...] = setting(Rule(_list_of(_is_range), _RANGES, _ranges), ())
    optimised: tuple[tuple[Range, ...], ...] = setting(
        Rule(
            lambda value: _list_of(_list_of(_is_range))(value) and len(value) == ITERATIONS,
            f"{ITERATIONS} lists of {_RANGES}",
            lambda value: tuple(map(_ranges, value)),
        ),
        ((),) * ITERATIONS,
    )


@dataclass(frozen=True, kw_only=True)
class LappedTransformSettings(CommonSettings):
    """The lapped-transform codec's."""

    model: CodecConfig = setting(
        Section(
            CodecConfig,
            {
                entry.name: whole(int(entry.name in ("hidden", "context", "eye_codes")), LARGEST_SIZE)
                for entry in fields(CodecConfig)
            },
        )
    )
    quantiser: QuantiserSteps = setting(Section(QuantiserSteps), QuantiserSteps())
    parts: tuple[tuple[str, int], ...] = setting(
        Rule(
            _is_parts,
            f"a list of [part, step before which it ends], the parts being {', '.join(PARTS)}, the steps rising",
            lambda value: tuple((name, end) for name, end in value),
        )
    )
    quantise_from: int | None = setting(whole(0), None)
    searched: float = setting(number(0, 1), 0.0)
    searched_from: int = setting(whole(0), 0)
    human_share: float = setting(number(0, 1), 0.0)
    dither: tuple[float, float] = setting(pair(1e-3, 1, falling=True), (0.12, 0.045))

    def ends(self) -> tuple[int, ...]:
        return tuple(end for _, end in self.parts)
