"""``beholder evaluate``: codecs, alphas and qualities over a data set, judged by observers."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.cli import options, target_sweep
from beholder.cli.progress import bars, terminal
from beholder.errors import BadOptionError, InterruptedWorkError, NotAvailableError

if TYPE_CHECKING:
    from beholder.evaluation.sweep.run import Outcome, Progress
    from beholder.evaluation.sweep.settings import Settings
    from beholder.evaluation.sweep.workers import Runner

_LOG_EVERY = 30.0  # seconds between lines where there is no terminal


_OF_QUALITIES = ("qualities", "metrics", "protocol", "labels", "ray", "gallery", "keep_metadata")
"""Options without a meaning for a sweep over targets."""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    data: Annotated[
        str, typer.Option("--data", metavar="D", help="A folder of images, a data set, or shards (folder or URL).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where results go.")],
    codecs: Annotated[str, typer.Option(metavar="C,C,...", help="`beholder codecs` lists them.")] = "rnn,jpeg,webp,bpg",
    alpha: Annotated[
        str, typer.Option(metavar="A,A,...", help="Who looks, for codecs that take it: 0 people, 1 a machine.")
    ] = "0,0.5,1",
    qualities: Annotated[
        str,
        typer.Option(
            metavar="Q", show_default=False, help='Such as "rnn=1,2,4,8;jpeg=5,10,20"; a grid for codecs not named.'
        ),
    ] = "",
    classifiers: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="`beholder observers` lists them; also ONNX files, or none."),
    ] = options.DEFAULT_CLASSIFIER,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="The classes of ONNX files, one a line."),
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="M,M,...", help="Also ssim, feature_distance and others, or none.")
    ] = "ms_ssim,psnr",
    protocol: Annotated[
        str,
        typer.Option(metavar="native|paper", help="Compress images as they are, or the squares of the paper."),
    ] = "native",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            show_default=False,
            help="Instead of qualities: the bytes that each codec needs. keep-label (of each classifier in turn), "
            "keep-label=90%, ms-ssim=0.97, psnr=32, ...",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", show_default=False, help="Only the first N images.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            "--workers",
            metavar="N",
            show_default=False,
            help="Processes of one thread each (default: this one alone).",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS|local", show_default=False, help="Work on a Ray cluster."),
    ] = None,
    model: options.Model = None,
    effort: options.Effort = 0,
    keep_metadata: options.KeepMetadata = False,
    max_pixels: options.MaxPixels = None,
    gallery: Annotated[int, typer.Option(metavar="N", help="Images whose pictures are kept for the report.")] = 6,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep in DIR.")] = False,
) -> None:
    """Measure codecs over a data set: one row per image, codec, quality, alpha and classifier.

    DIR then holds results.parquet, settings.json, summary.csv, plots and report.html.  Kill it at any moment and go
    on with --resume.
    """
    from beholder.evaluation.sweep import run as sweep
    from beholder.evaluation.sweep import settings as sweep_settings

    if jobs is not None and jobs < 1:
        raise BadOptionError(f"{jobs} jobs do nothing: give 1 or more.")
    if target is not None:
        useless = [name for name in _OF_QUALITIES if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
        if useless:
            raise BadOptionError(
                f"--{useless[0].replace('_', '-')} has no effect with --target: leave one of them out."
            )
        target_sweep.run(
            data,
            output,
            target,
            options.names(codecs),
            options.numbers(alpha),
            options.names(classifiers),
            limit=limit,
            jobs=jobs,
            model=model,
            effort=effort,
            max_pixels=max_pixels,
            resume=resume,
        )
        return
    settings = sweep_settings.prepare(
        data,
        codecs=options.names(codecs),
        qualities=sweep_settings.parse_qualities(qualities),
        alphas=options.numbers(alpha),
        classifiers=options.names(classifiers),
        labels=labels,
        metrics=options.names(metrics),
        protocol=protocol,
        limit=limit,
        model=model,
        effort=effort,
        keep_metadata=keep_metadata,
        max_pixels=max_pixels,
        gallery=gallery,
    )
    _warn(settings)
    given = context.get_parameter_source("alpha")
    if not settings.alphas and given is not None and given.name == "COMMANDLINE":
        _say("None of these codecs takes an alpha: --alpha has no effect.")
    words = (context.find_root().obj or {}).get(options.COMMAND)
    try:
        with _display() as progress:
            outcome = sweep.run(
                settings,
                output,
                resume=resume,
                runner=_runner(jobs, ray),
                progress=progress,
                tell=_say,
                command=words,
            )
    except KeyboardInterrupt:
        raise InterruptedWorkError(
            f"Interrupted. What is done lies in {output}: the same command with --resume goes on."
        ) from None
    _finish(outcome, settings)


def _runner(jobs: int | None, ray: str | None) -> Runner:
    if ray is not None:
        from beholder.evaluation.sweep import cluster

        return cluster.tasks(ray, jobs)
    from beholder.evaluation.sweep import workers as sweep_workers

    return sweep_workers.inline if jobs in (None, 1) else sweep_workers.processes(jobs or 1)


def _finish(outcome: Outcome, settings: Settings) -> None:
    """Tables, figures and the report; figures that lack their library are left out with a word."""
    from beholder.cli import tables
    from beholder.cli.commands import reports
    from beholder.evaluation.plots import figures as plots
    from beholder.evaluation.report import write as report
    from beholder.evaluation.summary import summarise as summary
    from beholder.evaluation.sweep import results

    _failures(outcome, settings)
    if not outcome.rows:
        raise BadOptionError(f"Not one image could be evaluated: {outcome.folder / results.FAILURES} says why.")
    with tables.working("Summing up ..."):
        found = summary.write(outcome.folder)
        try:
            plots.write(outcome.folder, found)
        except NotAvailableError as error:
            _say(f"No figures: {error}")
        page = report.write(outcome.folder, found)
    reports.show(found)
    print(f"{outcome.rows:,} rows of {outcome.images - len(outcome.failures):,} images: {outcome.folder}")
    print(f"Report: {page}")


def _warn(settings: Settings) -> None:
    """Say before hours of work what will not be in the results."""
    lost = [name for name in settings.classifier_names if name not in settings.accurate]
    if lost:
        _say(
            f"The data has no labels, or none that {', '.join(lost)} knows: agreement with the original's top-1 is "
            "reported, not accuracy."
        )


def _failures(outcome: Outcome, settings: Settings) -> None:
    from beholder.evaluation.sweep import results

    if outcome.failures:
        first = outcome.failures[0]
        _say(
            f"{len(outcome.failures):,} of {settings.images:,} images were left out, see "
            f"{outcome.folder / results.FAILURES}; the first: {first.file or first.index}: {first.error}"
        )


@contextlib.contextmanager
def _display() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, a line now and then elsewhere; both on standard error."""
    console = terminal()
    if not console.is_terminal:
        yield _Log()
        return
    with bars(console) as bar:
        task = bar.add_task("images", total=None)

        def show(progress: Progress) -> None:
            broken = f", {progress.failures:,} broken" if progress.failures else ""
            bar.update(task, total=progress.total, completed=progress.images, description=f"images{broken}")

        yield show


class _Log:
    """Lines for a log file."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now, fresh = time.monotonic(), progress.images - progress.resumed
        if not fresh:
            self._start = now
        if fresh and progress.images < progress.total and now - self._last < _LOG_EVERY:
            return
        self._last = now
        left = (progress.total - progress.images) * (now - self._start) / max(fresh, 1)
        rest = f" after {_duration(now - self._start)}" if fresh else ""
        rest += f", about {_duration(left)} left" if fresh and progress.images < progress.total else ""
        broken = f", {progress.failures:,} broken" if progress.failures else ""
        _say(f"{progress.images:,} of {progress.total:,} images{rest}{broken}")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
