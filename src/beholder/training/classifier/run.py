"""``beholder train classifier``: from labelled photographs to an observer.

Under ``runs/JOB``: ``last.pt`` (everything needed to go on exactly where it stopped), ``best.weights.h5`` (Keras'
format, highest validation accuracy), ``history.csv``, ``tensorboard/``, ``settings.json``.  At the end the best
weights become the observer ``JOB``.

An interrupted and resumed run computes the same as an undisturbed one, on a CPU bit for bit. Pictures, augmentation
and dropout depend on the seed, the epoch and the step alone. The checkpoint holds the rest. (This takes the same
number of torch threads and processes, for sums have an order.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from beholder.errors import BadOptionError, NotAvailableError
from beholder.observers.base import ObserverInfo
from beholder.observers.keras import zoo as keras_zoo
from beholder.observers.keras.backend import require_keras
from beholder.training.classifier.place import check_place
from beholder.training.classifier.settings import ClassifierJob


@dataclass(frozen=True)
class Outcome:
    """Result of a job."""

    finished: bool
    """Whether all epochs are done; otherwise it was asked to stop and can be resumed."""
    epoch: int
    step: int
    accuracy: float
    """Best validation accuracy, 0 to 1."""
    observer: Path | None = None
    """The folder of the observer that the job became."""


def train_classifier(job: ClassifierJob) -> Outcome:
    """Run or resume a job to its last epoch and install the observer.  SIGINT and SIGTERM save and stop.

    Raises:
        BadOptionError: impossible options, such as unknown layers, or other options than the job to resume has.
        BadImageError, BadFileError: see :func:`beholder.data.open_source`; checkpoints and weights that do not fit.
        NotAvailableError: a library or a file is missing.
        OutputError: the job exists, or its folder cannot be written.
    """
    spec = _spec(job)
    check_place(job)
    keras = require_keras()
    if keras.backend.backend() != "torch":
        raise NotAvailableError("Training needs Keras on torch: unset KERAS_BACKEND.")
    from beholder.training import distributed as processes

    cuda = _use_cuda(job.device)
    group = processes.start(cuda)
    try:
        with keras.device(f"cuda:{group.local}" if cuda else "cpu"), _quiet(group.first):
            from beholder.training.classifier.loop import Training

            training = Training(job, spec, group, cuda)
            finished = training.run()
            progress = training.progress
            observer = None
            if finished and group.first:
                from beholder.training.classifier.finish import make_observer

                observer = make_observer(job, spec, training.classes, progress)
            group.wait()
            return Outcome(finished, progress.epoch, progress.step, progress.best, observer)
    finally:
        processes.stop(group)


def _spec(job: ClassifierJob) -> ObserverInfo:
    spec = keras_zoo.spec(job.classifier)
    size = job.settings.input_size
    if size is not None and size != spec.input_size:
        raise BadOptionError(
            f"{job.classifier} takes {spec.input_size} x {spec.input_size} pixels, not {size}: leave out input_size."
        )
    return spec


def _use_cuda(device: str) -> bool:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise NotAvailableError("There is no CUDA device that torch can use: choose --device auto or cpu.")
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


@contextmanager
def _quiet(first: bool) -> Iterator[None]:
    """Print in the first process only."""
    if first:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield
