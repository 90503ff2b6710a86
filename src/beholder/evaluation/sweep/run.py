"""Sweeps: every image x codec x alpha x quality x observer, one row each, on one machine or many.

    settings = sweep_settings.prepare("photos/", codecs=["rnn", "jpeg"], protocol="paper")
    outcome = sweep.run(settings, Path("results"))

- :mod:`.settings` -- what is to be done.
- :mod:`.jobs` -- how one batch of images is done.
- :mod:`.workers`, :mod:`.cluster` -- who does it.
- :mod:`.results` -- the rows on disk.

Only this process writes. A batch is one file, which appears whole. A sweep that is killed loses the batches under way
(one, or one a worker) and resumes with the others.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from beholder import data
from beholder.data import Source
from beholder.errors import BadFileError, BadImageError, BadOptionError, OutputError
from beholder.evaluation.sweep import provenance, results
from beholder.evaluation.sweep.images_digest import digest
from beholder.evaluation.sweep.jobs import Batch, batches
from beholder.evaluation.sweep.results import BatchResult, Failure, Part
from beholder.evaluation.sweep.settings import Settings, check_source
from beholder.evaluation.sweep.workers import Runner, inline
from beholder.files import LEFTOVER, save_atomically

_HOPELESS = 20  # images that fail in the beginning, before none of the others is tried


@dataclass(frozen=True)
class Progress:
    """Progress of a sweep."""

    images: int
    """Done, broken ones included."""
    total: int
    failures: int
    """Images that were left out."""
    resumed: int
    """Images of ``images`` that were done before this run began."""


@dataclass(frozen=True)
class Outcome:
    """Result of a sweep."""

    folder: Path
    images: int
    rows: int
    failures: tuple[Failure, ...]


def run(
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    runner: Runner = inline,
    progress: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    command: Sequence[str] | None = None,
) -> Outcome:
    """Do the sweep, or the rest of it, and write its rows, ``settings.json`` and ``errors.csv`` to ``folder``.

    Args:
        settings: from :func:`beholder.evaluation.sweep.settings.prepare`.
        folder: where results go; it must be empty or missing unless ``resume`` is true.
        resume: go on with a sweep of the same settings in ``folder``; begin one if there is none.  What was measured of
            images that have been renamed or edited since is measured again.
        runner: who does the work.
        progress: called after each batch.
        tell: called with a sentence for people where something unexpected is done.
        command: the program and its arguments, for the record; None for this process's own.

    Raises:
        OutputError: ``folder`` holds something else, or cannot be written.
        BadOptionError: ``folder`` holds a sweep with other settings.
        BeholderError: data, codecs or observers failed altogether.
    """
    check_folder(settings, folder, resume)
    source = data.open_source(settings.data)
    check_source(source, settings)
    todo = batches(source.parts(), settings.images, settings.batch)
    _make(folder)
    results.clean(folder)
    save_atomically(folder / results.SETTINGS, (json.dumps(settings.as_dict(), indent=2) + "\n").encode())
    provenance.record(folder, command)
    done = _done(folder, source, todo)
    changed = {part.number for part in results.parts(folder)} - set(done)
    if changed:
        tell(f"Images have changed since {len(changed)} finished parts were measured: they are measured again.")
        _clean_gallery(folder, source, [batch for batch in todo if batch.number in done])
    failures = [failure for part in done.values() for failure in part.failures]
    images = resumed = sum(part.images for part in done.values())
    rows = sum(part.rows for part in done.values())
    progress(Progress(images, settings.images, len(failures), resumed))
    work = cast("Generator[BatchResult]", runner(settings, [batch for batch in todo if batch.number not in done]))
    with contextlib.closing(work):
        for result in work:
            results.write(folder, result, settings.metrics)
            failures += result.failures
            images += result.images
            rows += len(result.columns.get("image", []))
            progress(Progress(images, settings.images, len(failures), resumed))
            if not rows and len(failures) >= _HOPELESS:
                results.write_failures(folder, failures)
                raise BadImageError(
                    f"All of the first {len(failures)} images failed, one with: {failures[0].error} "
                    f"({folder / results.FAILURES} has the others.)"
                )
    failures.sort(key=lambda failure: failure.index)
    results.write_failures(folder, failures)
    return Outcome(folder, images, rows, tuple(failures))


def check_folder(settings: Settings, folder: Path, resume: bool) -> None:
    """Refuse a folder that holds something else, before any work.

    Raises:
        OutputError, BadOptionError: as :func:`run`.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is no folder: choose another.")
    if "://" not in settings.data and folder.resolve().is_relative_to(settings.data):
        raise OutputError(f"{folder} lies inside of the data, which it would change: choose another place.")
    if not folder.is_dir() or all(path.match(LEFTOVER) for path in folder.iterdir()):
        return
    if not resume:
        raise OutputError(f"{folder} is not empty: choose another folder, or go on with the sweep in it by --resume.")
    try:
        there = results.read_settings(folder)
    except BadFileError:
        raise OutputError(f"{folder} holds no sweep that could be resumed: choose an empty folder.") from None
    differences = settings.differences(there)
    if differences:
        raise BadOptionError(
            f"The sweep in {folder} was begun with other settings ({'; '.join(differences)}): give the same, or "
            "another folder."
        )


def _done(folder: Path, source: Source, todo: Sequence[Batch]) -> dict[int, Part]:
    """The finished parts by number, without those whose images are no longer what they were."""
    batches = {batch.number: batch for batch in todo}
    return {
        part.number: part
        for part in results.parts(folder)
        if part.number in batches and part.images_digest == digest(source, batches[part.number].indices)
    }


def _clean_gallery(folder: Path, source: Source, done: Sequence[Batch]) -> None:
    """Remove the pictures of images that are measured again, or have another name now."""
    keys = {source.key(index) for batch in done for index in batch.indices}
    for place in (folder / results.GALLERY).glob("*/original.png"):
        if place.parent.name not in keys:
            shutil.rmtree(place.parent, ignore_errors=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be created ({error.strerror or error}): choose another place.") from None
