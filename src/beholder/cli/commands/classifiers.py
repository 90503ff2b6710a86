"""``beholder train classifier``: from labelled photographs to an observer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from beholder.errors import BadOptionError, NotAvailableError
from beholder.extras import install_command

_LIBRARIES = ("torch", "keras", "h5py", "tensorboard", "onnx")


def register(train: typer.Typer) -> None:
    """Add ``classifier`` to the commands of ``beholder train``."""
    train.command("classifier")(train_classifier)


def train_classifier(
    classifier: Annotated[str, typer.Option(metavar="NAME", help="The network, such as inception_v3 or mobilenet.")],
    train_data: Annotated[
        str, typer.Option("--train-data", metavar="DATA", help="Class folders, shards, or a data set's own folder.")
    ],
    val_data: Annotated[
        str, typer.Option("--val-data", metavar="DATA", help="The same for measuring progress; same classes.")
    ],
    job_id: Annotated[
        str, typer.Option("--job-id", metavar="ID", help="Names the run (files in RUNS/ID) and the new observer.")
    ],
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME", help="stanford_dogs, cub200, imagenet as published, or folder: other labels."),
    ] = "folder",
    pretrained: Annotated[
        str | None,
        typer.Option(metavar="imagenet|FILE", show_default=False, help="First weights; without it they are random."),
    ] = None,
    train_layers: Annotated[
        str,
        typer.Option("--train-layers", metavar="all|head|NAMES", help="What learns: NAME,NAME+ (and all after)..."),
    ] = "all",
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", show_default=False, help="Hyperparameters, by default the data set's."),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where jobs keep their files.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where the job stopped.")] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
) -> None:
    """Train a classifier; it becomes an observer called ID.  Ctrl-C saves and stops; --resume goes on exactly there.

    Several GPUs: torchrun --nproc-per-node=4 -m beholder train classifier ...
    """
    from beholder.observers import store

    store.check_name(job_id)
    if device not in ("auto", "cpu", "cuda"):
        raise BadOptionError(f"There is no device {device!r}: choose auto, cpu or cuda.")
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise NotAvailableError(f"Training needs {missing[0]}: {install_command('train')}.")
    from beholder.training.classifier.run import train_classifier as run
    from beholder.training.classifier.settings import ClassifierJob, read_settings

    settings = read_settings(config, dataset, classifier)
    job = ClassifierJob(
        classifier=classifier,
        train_data=train_data,
        val_data=val_data,
        job_id=job_id,
        settings=settings,
        dataset=dataset,
        pretrained=pretrained,
        train_layers=train_layers,
        runs=runs,
        resume=resume,
        device=device,
    )
    outcome = run(job)
    if not outcome.finished:
        print(f"Stopped in epoch {outcome.epoch + 1} after {outcome.step} steps; go on with --resume.")
    elif outcome.observer is not None:
        print(f"Best validation accuracy: {100 * outcome.accuracy:.1f} %")
        print(f"Observer {job_id}: {outcome.observer}")
