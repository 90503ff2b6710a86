"""Rate by target: the smallest file that still does what it must, or the best file of a size.

- :mod:`.kinds` -- the targets: Bpp, MaxBytes, MsSsim, Ssimulacra2, Psnr, KeepLabel.
- :mod:`.search` -- the search over one codec's qualities.
- :mod:`.choose` -- several codecs for one target, and which of them wins.
"""

from beholder.targets.choose import AUTO, Choice, choose
from beholder.targets.kinds import (
    Bpp,
    KeepLabel,
    MaxBytes,
    MsSsim,
    Psnr,
    QualityTarget,
    RateTarget,
    Score,
    Ssimulacra2,
    Target,
)
from beholder.targets.search import Found, find

__all__ = [
    "AUTO",
    "Bpp",
    "Choice",
    "Found",
    "KeepLabel",
    "MaxBytes",
    "MsSsim",
    "Psnr",
    "QualityTarget",
    "RateTarget",
    "Score",
    "Ssimulacra2",
    "Target",
    "choose",
    "find",
]
