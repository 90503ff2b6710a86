"""Commands that take many files: their options, progress, and the summary at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beholder.cli import files, progress
from beholder.cli.streams import one_line
from beholder.errors import BadOptionError, InterruptedWorkError

if TYPE_CHECKING:
    from beholder.batch.plan import Plan
    from beholder.batch.run import Summary
    from beholder.batch.tasks import Row, Task

EXIT_PARTLY = 1
"""Some files failed, or missed their target."""

_PANEL = "Many files"
_SHOWN = 5  # failures in the terminal; errors.csv has all

Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Take the folders in folders, too.", rich_help_panel=_PANEL)
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        show_default=False,
        help="Processes of one thread each. Default: one a core.",
        rich_help_panel=_PANEL,
    ),
]
Measure = Annotated[
    bool,
    typer.Option("--measure/--no-measure", help="Decode each file again for the mean MS-SSIM.", rich_help_panel=_PANEL),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in OUT.", rich_help_panel=_PANEL)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more: of many files, a line for each.")]


@dataclass(frozen=True)
class Options:
    """Options and output that the commands for many files share."""

    recursive: bool = False
    jobs: int | None = None
    resume: bool = False
    force: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.quiet and (self.verbose or self.as_json):
            other = "--verbose" if self.verbose else "--json"
            raise BadOptionError(f"--quiet and {other} contradict each other: leave one out.")


def asked(names: Sequence[str], output: str | None, options: Options) -> bool:
    """Whether the command line is about many files or folders, not about one file."""
    folder = output not in (None, files.STREAM) and (os.path.isdir(str(output)) or str(output).endswith(_SEPARATORS))
    many = len(names) > 1 or os.path.isdir(names[0]) or options.recursive or options.resume or options.jobs is not None
    return many or folder


def run(task: Task, names: Sequence[str], output: str | None, options: Options) -> None:
    """Do ``task`` with all files, print the summary, and exit with 1 if some failed.

    Raises:
        BadOptionError: the names and options do not fit together.
        BeholderError: as :func:`beholder.batch.plan.collect` and :func:`beholder.batch.run.run`.
    """
    from beholder.batch.plan import collect
    from beholder.batch.run import check_new

    if files.STREAM in (*names, output):
        raise BadOptionError("Standard input and output are one file each: give - alone, without options for many.")
    folders = [name for name in names if os.path.isdir(name)]
    if folders and output is None and task.suffixes():
        raise BadOptionError(f"{folders[0]} is a folder: name a folder for the results with -o.")
    folder = None if output is None else Path(output)
    if folder is not None:
        files.check_folder(folder)
    plan = collect(names, task.wanted, output=folder, recursive=options.recursive)
    if not options.quiet:
        _tell_passed_over(plan)
    if options.dry_run:
        if not (options.force or options.resume):
            check_new(task, plan.items, folder)
        _rehearse(task, plan, folder)
        return
    summary = _with_progress(task, plan, folder, options)
    rows = [row for row in summary.rows if row.error is None]
    if options.as_json:
        print(files.json_text(_as_dict(summary, folder)))
    elif not options.quiet:
        _show(task, summary, rows, folder)
    if not options.quiet:
        _tell_notes(summary)
    _tell_failures(summary)
    if summary.failures or summary.missed:
        raise typer.Exit(EXIT_PARTLY)


_SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


def _with_progress(task: Task, plan: Plan, folder: Path | None, options: Options) -> Summary:
    from beholder.batch.run import Progress
    from beholder.batch.run import run as run_batch

    def tell(row: Row) -> None:
        if options.verbose and not options.as_json:
            print(one_line(_line(row, folder)), flush=True)

    try:
        with progress.counted("files", hidden=options.quiet) as show:

            def step(now: Progress) -> None:
                show(now.done, now.total, now.failed, now.resumed)
                if now.row is not None:
                    tell(now.row)

            return run_batch(
                task,
                plan.items,
                folder,
                jobs=options.jobs,
                force=options.force,
                resume=options.resume,
                progress=step,
            )
    except KeyboardInterrupt:
        on = "" if folder is None else f" What is done lies in {folder}: the same command with --resume goes on."
        raise InterruptedWorkError(f"Interrupted.{on}") from None


def _rehearse(task: Task, plan: Plan, folder: Path | None) -> None:
    suffixes = task.suffixes()
    suffix = suffixes[0] if len(suffixes) == 1 else ".*"
    fine = [item for item in plan.items if item.error is None]
    for item in fine:
        target = (folder or Path()) / item.stem.parent / (item.stem.name + suffix)
        print(one_line(f"{item.source} -> {target}" if suffixes else item.source))
    print(f"{_count(len(fine))} would be {task.verb}; nothing was written.")
    for item in plan.items:
        if item.error is not None:
            _say(f"Failed: {item.error}")


def _show(task: Task, summary: Summary, rows: Sequence[Row], folder: Path | None) -> None:
    from beholder.cli import tables

    if not task.suffixes():
        lines = [
            (
                one_line(row.source),
                str(row.codec),
                f"{row.width} x {row.height}",
                f"{row.bytes_before:,}",
                f"{row.bpp:.4f}" if row.bpp is not None else "",
            )
            for row in rows
        ]
        tables.show(tables.table(("file", "codec", "pixels", "bytes", "bpp"), lines, right=(3, 4)))
        print(f"{_count(len(rows))}, {summary.bytes_before:,} bytes")
        return
    print(_total(task, summary, rows, folder))


def _total(task: Task, summary: Summary, rows: Sequence[Row], folder: Path | None) -> str:
    before, after = summary.bytes_before, summary.bytes_after
    parts = [f"{_count(len(rows))} {task.verb}" + (f" ({summary.resumed:,} of them before)" if summary.resumed else "")]
    if before:
        parts.append(f"{_size(before)} -> {_size(after)} ({100 * after / before:.1f} %)")
    if summary.bpp is not None:
        parts.append(f"{summary.bpp:.3f} bpp")
    if summary.ms_ssim is not None:
        parts.append(f"mean MS-SSIM {summary.ms_ssim:.4f}")
    tries = sum(row.tries or 0 for row in rows)
    if tries:
        parts.append(f"{tries:,} tries")
    return ", ".join(parts) + ("" if folder is None else f": {folder}")


def _tell_passed_over(plan: Plan) -> None:
    if plan.passed_over:
        names = _first([path.name for path in plan.passed_over])
        _say(f"Left out, being of no known kind: {_count(len(plan.passed_over))} ({names}).")


def _tell_notes(summary: Summary) -> None:
    """Each note once, with the number of files that it is about."""
    found: dict[str, list[Row]] = {}
    for row in summary.rows:
        if row.notes is not None:
            found.setdefault(row.notes, []).append(row)
    for note, rows in found.items():
        _say(f"Note: {note} ({rows[0].source}" + (f" and {len(rows) - 1:,} more)" if len(rows) > 1 else ")"))


def _tell_failures(summary: Summary) -> None:
    for row in summary.failures[:_SHOWN]:
        _say(f"Failed: {_error(row)}")
    rest = len(summary.failures) - _SHOWN
    if rest > 0:
        _say(f"... and {rest:,} more.")
    if summary.errors is not None:
        _say(f"{_count(len(summary.failures))} failed, listed in {summary.errors}.")
    if summary.missed:
        names = _first([row.source for row in summary.missed])
        _say(f"{_count(len(summary.missed))} missed the target; each is the nearest to it: {names}.")


def _first(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


def _error(row: Row) -> str:
    return str(row.error) if row.source in str(row.error) else f"{row.source}: {row.error}"


def _line(row: Row, folder: Path | None) -> str:
    if row.error is not None:
        return f"failed: {_error(row)}"
    parts = [f"{row.codec}"] + ([f"quality {row.quality:.4g}"] if row.quality is not None else [])
    output = "" if row.output is None else f" -> {row.output if folder is None else folder / row.output}"
    text = f"{row.source}{output}: {' '.join(parts)}"
    if row.bytes_before is not None and row.bytes_after is not None:
        text += f", {row.bytes_before:,} -> {row.bytes_after:,} bytes"
    if row.bpp is not None:
        text += f", {row.bpp:.4f} bpp"
    if row.ms_ssim is not None:
        text += f", MS-SSIM {row.ms_ssim:.4f}"
    if row.tries is not None:
        text += f", target {'reached' if row.reached else 'NOT reached'} in {row.tries} tries"
    return text


def _as_dict(summary: Summary, folder: Path | None) -> dict[str, Any]:
    return {
        "files": len(summary.rows) - len(summary.failures),
        "failed": len(summary.failures),
        "missed": len(summary.missed),
        "resumed": summary.resumed,
        "bytes_before": summary.bytes_before,
        "bytes_after": summary.bytes_after,
        "bpp": summary.bpp,
        "ms_ssim": summary.ms_ssim,
        "output": None if folder is None else str(folder),
        "results": [row.as_dict() for row in summary.rows],
    }


def _count(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"


def _say(sentence: str) -> None:
    print(one_line(sentence), file=sys.stderr, flush=True)
