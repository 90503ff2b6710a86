"""``beholder evaluate --target``: the bytes that each codec needs, instead of curves over its qualities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beholder.cli import targets
from beholder.errors import BadOptionError, InterruptedWorkError

if TYPE_CHECKING:
    from beholder.batch.target_sweep import Need
    from beholder.targets import Target

KEEP_LABEL = "keep-label"
_VALUES = {"bpp": "bpp", "max-bytes": "max_bytes", "ms-ssim": "ms_ssim", "ssimulacra2": "ssimulacra2", "psnr": "psnr"}


def parse(text: str, classifiers: list[str]) -> list[Target]:
    """``keep-label`` or ``keep-label=90%`` (each classifier in turn), or ``ms-ssim=0.97`` and the like.

    Raises:
        BadOptionError: the text is none of these, or there is no classifier to ask.
    """
    name, _, value = (part.strip() for part in text.partition("="))
    found: Target | None = None
    if name == KEEP_LABEL:
        if not classifiers:
            raise BadOptionError("--target keep-label asks classifiers: name one or more.")
        every = [targets.parse(None, keep_label=observer, confidence=value or None) for observer in classifiers]
        return [target for target in every if target is not None]
    if name in _VALUES and value:
        try:
            number = int(value) if name == "max-bytes" else float(value)
        except ValueError:
            raise BadOptionError(f"--target {text}: {value!r} is no number; write it like ms-ssim=0.97.") from None
        found = targets.parse(None, **{_VALUES[name]: number})  # type: ignore[arg-type]
    if found is None:
        known = ", ".join([KEEP_LABEL, *(f"{name}=X" for name in _VALUES)])
        raise BadOptionError(f"There is no target {text!r}: choose one of {known}.")
    return [found]


def run(
    data: str,
    output: Path,
    target: str,
    codecs: list[str],
    alphas: list[float],
    classifiers: list[str],
    *,
    limit: int | None,
    jobs: int | None,
    model: Path | None,
    effort: int,
    max_pixels: int | None,
    resume: bool,
) -> None:
    """Sweep and print the table.

    Raises:
        BeholderError: an option is impossible, or no image could be examined.
    """
    from beholder.batch import target_sweep
    from beholder.batch.plan import collect
    from beholder.batch.run import run as run_batch
    from beholder.cli import progress, tables

    if not Path(data).is_dir():
        raise BadOptionError(f"{data} is no folder of images, which --target needs: name one.")
    own = None if model is None else str(model)
    wanted = tuple(parse(target, classifiers))
    task = target_sweep.TargetSweep(tuple(codecs), tuple(alphas), wanted, tuple(classifiers), own, effort, max_pixels)
    task.check()
    items = collect([data], task.wanted, output=output, recursive=True).items[:limit]
    try:
        with progress.counted("images") as show:
            summary = run_batch(
                task,
                items,
                output,
                jobs=jobs,
                resume=resume,
                progress=lambda now: show(now.done, now.total, now.failed, now.resumed),
            )
    except KeyboardInterrupt:
        on = f"What is done lies in {output}: the same command with --resume goes on."
        raise InterruptedWorkError(f"Interrupted. {on}") from None
    tables.show(tables.table(_COLUMNS, [_line(need) for need in target_sweep.summarise(summary, output)], _RIGHT, 3))
    print(f"{len(summary.rows) - len(summary.failures):,} images: {output / target_sweep.TABLE}")
    if summary.errors is not None:
        print(f"{len(summary.failures):,} failed, listed in {summary.errors}")


_COLUMNS = ("codec", "alpha", "target", "bytes", "bpp", "reached", "unasked agree", "tries")
_RIGHT = range(3, 8)


def _line(need: Need) -> tuple[str, ...]:
    return (
        need.codec,
        "" if need.alpha is None else f"{need.alpha:g}",
        need.target,
        f"{need.bytes:,.0f}",
        f"{need.bpp:.4f}",
        f"{100 * need.reached:.1f} %",
        "" if need.unasked is None else f"{100 * need.unasked:.1f} %",
        f"{need.tries:.1f}",
    )
