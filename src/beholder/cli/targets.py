"""The options that say what a file must reach, and how the answer is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beholder.errors import BadOptionError

if TYPE_CHECKING:
    from beholder.targets import Choice, Found, Target

_PANEL = "Instead of --quality, what the file must reach"

Bpp = Annotated[
    float | None,
    typer.Option("--bpp", metavar="X", show_default=False, help="At most X bits a pixel.", rich_help_panel=_PANEL),
]
MaxBytes = Annotated[
    int | None,
    typer.Option("--max-bytes", metavar="N", show_default=False, help="At most N bytes.", rich_help_panel=_PANEL),
]
MsSsim = Annotated[
    float | None,
    typer.Option("--ms-ssim", metavar="X", show_default=False, help="MS-SSIM of X or more.", rich_help_panel=_PANEL),
]
Ssimulacra2 = Annotated[
    float | None,
    typer.Option(
        "--ssimulacra2", metavar="X", show_default=False, help="SSIMULACRA 2 of X or more.", rich_help_panel=_PANEL
    ),
]
Psnr = Annotated[
    float | None,
    typer.Option("--psnr", metavar="X", show_default=False, help="PSNR of X dB or more.", rich_help_panel=_PANEL),
]
KeepLabel = Annotated[
    str | None,
    typer.Option(
        "--keep-label",
        metavar="CLASSIFIER",
        show_default=False,
        help="The smallest file in which the classifier (a name of `beholder observers`, or an ONNX file) still sees "
        "what it sees in the original.",
        rich_help_panel=_PANEL,
    ),
]
Confidence = Annotated[
    str | None,
    typer.Option(
        "--confidence",
        metavar="P",
        show_default=False,
        help="With --keep-label: at a probability of P or more (0.8), or of this fraction of the original's (90%).",
        rich_help_panel=_PANEL,
    ),
]


def parse(
    quality: int | None,
    *,
    bpp: float | None = None,
    max_bytes: int | None = None,
    ms_ssim: float | None = None,
    ssimulacra2: float | None = None,
    psnr: float | None = None,
    keep_label: str | None = None,
    confidence: str | None = None,
    labels: Path | None = None,
) -> Target | None:
    """The one target that the options name; None if they name none.

    Raises:
        BadOptionError: there are several, or one beside a quality, or its value is impossible.
    """
    given = {
        "--bpp": bpp,
        "--max-bytes": max_bytes,
        "--ms-ssim": ms_ssim,
        "--ssimulacra2": ssimulacra2,
        "--psnr": psnr,
        "--keep-label": keep_label,
    }
    named = [option for option, value in given.items() if value is not None]
    for option, value in (("--confidence", confidence), ("--labels", labels)):
        if value is not None and keep_label is None:
            raise BadOptionError(f"{option} belongs to --keep-label: add a classifier, or leave it out.")
    if not named:
        return None
    if len(named) > 1 or quality is not None:
        both = " and ".join(named if len(named) > 1 else [*named, "--quality"])
        raise BadOptionError(f"{both} are given: choose one of them.")
    from beholder import targets

    if bpp is not None:
        return targets.Bpp(bpp)
    if max_bytes is not None:
        return targets.MaxBytes(max_bytes)
    if ms_ssim is not None:
        return targets.MsSsim(ms_ssim)
    if ssimulacra2 is not None:
        return targets.Ssimulacra2(ssimulacra2)
    if psnr is not None:
        return targets.Psnr(psnr)
    assert keep_label is not None
    probability, fraction = _confidence(confidence)
    return targets.KeepLabel(keep_label, probability, fraction, labels)


def line(choice: Choice) -> str:
    """Result that was reached, with which codec and quality, and how many tries it took."""
    from beholder.targets import RateTarget

    best = choice.best
    which = f"{best.codec} quality {best.quality:.4g}"
    if choice.others:
        prize = "best picture" if isinstance(best.target, RateTarget) else "smallest"
        which += f", the {prize} of {len(choice.others) + 1} codecs"
    tries = f"{choice.tries} {'try' if choice.tries == 1 else 'tries'}"
    if not best.reached:
        return f"{which}; NOT reached: {best.target.describe()}; nearest: {best.target.told(best.score)}, {tries}"
    if isinstance(best.target, RateTarget):
        return f"{which}; reached: {best.target.describe()}, {tries}"
    return f"{which}; reached: {best.target.told(best.score)}, {tries}"


def facts(choice: Choice) -> dict[str, Any]:
    """Result that was reached, for ``--json``."""
    result = {"target": choice.best.target.name, "wanted": choice.best.target.describe(), **_facts(choice.best)}
    result["tries"] = choice.tries
    if choice.others or choice.left_out:
        result["others"] = [_facts(found) for found in choice.others]
        result["left_out"] = [{"codec": name, "reason": reason} for name, reason in choice.left_out]
    return result


def _facts(found: Found) -> dict[str, Any]:
    return {
        "codec": found.codec,
        "quality": found.quality,
        "bytes": len(found.data),
        "bpp": found.bpp,
        "reached": found.reached,
        "value": found.score.value,
        "tries": found.tries,
        **found.score.facts,
    }


def _confidence(text: str | None) -> tuple[float | None, float | None]:
    """(probability, None) or (None, fraction of the original's)."""
    if text is None:
        return None, None
    number = text.strip()
    try:
        if number.endswith("%"):
            return None, float(number[:-1]) / 100
        return float(number), None
    except ValueError:
        raise BadOptionError(f"A confidence of {text!r} cannot be read: write 0.8, or 90% of the original's.") from None
