"""``beholder prepare``: published classifiers made ready to judge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(prepare)


def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An observer; `beholder observers` lists them.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            "-w",
            metavar="FILE",
            show_default=False,
            help="Keras weights of this network: .weights.h5, .h5 or .keras. Default: the published ones, downloaded.",
        ),
    ] = None,
    gradient: Annotated[
        bool,
        typer.Option(
            "--gradient",
            help="Write the gradient, too, which `compress --observer NAME` needs; also of an ONNX file.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Prepare again what is ready.")] = False,
) -> None:
    """Make a published ImageNet classifier ready: download its weights, freeze it for inference, check it.

    This needs the extra [train]; afterwards the core install runs it.
    """
    from beholder import observers
    from beholder.observers import specs
    from beholder.observers.gradient import files

    # Others than the published ones are ready, and only their gradient is missing.
    published = name in specs.NETWORKS and not specs.NETWORKS[name].shipped
    if published or not gradient:
        _prepare(name, weights, force)
    if gradient:
        file = files.make(observers.get(name))
        print(f"The gradient of {name} lies in {file}: `beholder compress --observer {name}` optimises for it.")


def _prepare(name: str, weights: Path | None, force: bool) -> None:
    from beholder import observers
    from beholder.errors import BadOptionError
    from beholder.observers.keras.prepare import check
    from beholder.observers.keras.prepare import prepare as run

    check(name)
    if observers.get(name).ready() and not force:
        if weights is not None:
            raise BadOptionError(f"{name} is ready already: give --force to prepare it again with {weights}.")
        print(f"{name} is ready; --force prepares it again.")
        return
    done = run(name, weights, say=lambda line: print(line, file=sys.stderr))
    print(
        f"{name} is ready: ONNX Runtime and Keras agree on sample photographs to {max(done.difference, 1e-9):.0e}. "
        f"It lies in {done.folder}."
    )
