"""``beholder train codec`` and ``beholder export``: from photographs to a codec of one's own."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from beholder.cli.commands import classifiers
from beholder.cli.progress import bar
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.extras import install_command

_LIBRARIES = ("torch", "tensorboard", "onnx")

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where jobs keep their files.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    train = typer.Typer()
    train.callback(invoke_without_command=True)(_group)
    train.command("codec")(train_codec)
    classifiers.register(train)
    app.add_typer(train, name="train")
    app.command()(export)


def _group(context: typer.Context) -> None:
    """Train networks on your own photographs."""
    if context.invoked_subcommand is None:
        print(context.get_help().rstrip())
        raise typer.Exit


def train_codec(
    train_data: Annotated[
        Path, typer.Option("--train-data", metavar="DIR", help="Photographs to learn from, in any subfolders.")
    ],
    val_data: Annotated[Path, typer.Option("--val-data", metavar="DIR", help="Photographs to measure progress on.")],
    alpha: Annotated[
        str,
        typer.Option(metavar="A|any", help="The observer, 0 to 1; any: one network for all of them."),
    ],
    job_id: Annotated[
        str, typer.Option("--job-id", metavar="ID", help="A name for this run; its files lie in RUNS/ID.")
    ],
    config: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="A JSON file, or the name of a config that ships.")
    ] = "swift",
    runs: Runs = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the job stopped.")] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    start: Annotated[
        Path | None,
        typer.Option(
            "--start-from",
            metavar="CODEC",
            show_default=False,
            help="Begin with the weights of a last.pt, or of a folder that `beholder export` wrote.",
        ),
    ] = None,
) -> None:
    """Train the neural codec.  Ctrl-C saves a checkpoint and stops; --resume goes on exactly there."""
    observer = _alpha(alpha)
    if device not in ("auto", "cpu", "cuda"):
        raise BadOptionError(f"There is no device {device!r}: choose auto, cpu or cuda.")
    for folder in (train_data, val_data):
        if not folder.is_dir():
            raise BadImageError(f"There is no folder {folder}: give one with photographs.")
    _check_job_id(job_id)
    _require_libraries()
    from beholder.training.codec.run import CodecJob, read_settings
    from beholder.training.codec.run import train_codec as run

    settings = read_settings(config)
    if start is not None and not start.exists():
        raise BadOptionError(f"There is no {start}: give --start-from a last.pt or the folder of an exported codec.")
    checkpoint = run(CodecJob(train_data, val_data, job_id, observer, settings, runs, resume, device, start))
    print(f"Checkpoint: {checkpoint}")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write the codec to.")],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(metavar="[CHECKPOINT]", show_default=False, help="A job's last.pt."),
    ] = None,
    job_id: Annotated[
        str | None,
        typer.Option("--job-id", metavar="ID", show_default=False, help="Instead of CHECKPOINT: a job's name."),
    ] = None,
    entropy: Annotated[
        Path | None,
        typer.Option(
            "--entropy",
            metavar="CHECKPOINT",
            show_default=False,
            help="Take the entropy model from another job, trained for the same codes.",
        ),
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit",
            metavar="PHOTOS",
            show_default=False,
            help="Fit tables of probabilities to a folder of photographs: files 0.5 % smaller, for 15 minutes.",
        ),
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Turn a checkpoint into the files that `--model DIR` takes and that run without torch."""
    if (checkpoint is None) == (job_id is None):
        raise BadOptionError("Give either a CHECKPOINT or a --job-id.")
    if job_id is not None:
        _check_job_id(job_id)
    source = checkpoint or runs / str(job_id) / "last.pt"
    _require_libraries()
    from beholder.training.codec.export import SILENT, export_codec

    if fit is None:
        folder = export_codec(source, output, entropy)
    else:
        with bar("Encoding photographs") as progress:
            folder = export_codec(source, output, entropy, fit, progress)
    print(f"Codec: {folder}")
    card = json.loads((folder / "model.json").read_text())
    if card["alpha"] != 0 and card.get("correction", 1) < SILENT:
        print(
            "Its network corrects nothing for machines: for alpha above 0 train the part `decoder`, longer or with a "
            "lower lr.",
            file=sys.stderr,
        )


def _alpha(text: str) -> float | None:
    if text == "any":
        return None
    from beholder.codecs.base import check_alpha

    try:
        value = float(text)
    except ValueError:
        raise BadOptionError(f"Alpha {text!r} is no number: give 0 to 1, or any.") from None
    return check_alpha(value)


def _check_job_id(job_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", job_id):
        raise BadOptionError(
            f"The job id {job_id!r} is no plain name: use letters, digits, dots, dashes and underscores."
        )


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise NotAvailableError(f"Training needs {missing[0]}: {install_command('train')}.")
