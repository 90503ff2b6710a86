"""A job's folder: whether it may be used, and what it was started with."""

from __future__ import annotations

import json

from beholder.errors import BadFileError, BadOptionError, OutputError
from beholder.files import save_atomically
from beholder.observers import names as observer_names
from beholder.training.classifier.settings import ClassifierJob, difference


def check_place(job: ClassifierJob) -> None:
    """Complain about a job that exists, or lacks, or is another, before anything slow begins.

    Raises:
        BadOptionError: an observer has this name, or the job to resume has other settings.
        OutputError: the job exists, and is not to be resumed.
        BadFileError: there is no job to resume, or its checkpoint is damaged.
    """
    if job.job_id in observer_names() and not (job.resume and job.last.exists()):
        raise BadOptionError(f"There is an observer {job.job_id} already: choose another --job-id.")
    if not job.resume and job.last.exists():
        raise OutputError(f"The job {job.folder} exists: add --resume, or choose another --job-id.")
    if job.resume:
        if not job.last.is_file():
            raise BadFileError(f"There is no job {job.folder} to resume: check --job-id and --runs.")
        _compare(job)


def _compare(job: ClassifierJob) -> None:
    from beholder.training.classifier import state

    changed = difference(state.read(job.last)["terms"], job.terms())
    if changed:
        raise BadOptionError(f"The job {job.job_id} was started with {changed}: resume with the same, or start anew.")


def prepare_folder(job: ClassifierJob) -> None:
    """Make the job's folder and write down what it was started with.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.folder} cannot be written ({error.strerror}): choose another.") from None
    text = json.dumps(job.terms() | {"train_data": str(job.train_data), "val_data": str(job.val_data)}, indent=2)
    save_atomically(job.folder / "settings.json", (text + "\n").encode())
