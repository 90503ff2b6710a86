"""``beholder data create``, ``info`` and ``verify``: data sets as shards."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.cli import options, progress
from beholder.errors import BadFileError, BadOptionError

_SHOWN = 20

Source = Annotated[str, typer.Argument(metavar="DATA", help="Shards (a folder or URL) or a folder of images.")]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="imagenet, stanford_dogs, cub200, kodak or folder. Default: what is found.",
    ),
]
Split = Annotated[str | None, typer.Option(metavar="train|val", show_default=False, help="Default: val.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    data = typer.Typer()
    data.callback(invoke_without_command=True)(_group)
    data.command("create")(create)
    data.command("info")(info)
    data.command("verify")(verify)
    app.add_typer(data, name="data")


def _group(context: typer.Context) -> None:
    """Turn data sets into shards, describe and check them."""
    if context.invoked_subcommand is None:
        print(context.get_help().rstrip())
        raise typer.Exit


def create(
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="imagenet, stanford_dogs, cub200, kodak, or folder for any images.")
    ],
    root: Annotated[
        Path,
        typer.Option("--data", "--data-dir", metavar="DIR", help="The data set as it was published, unpacked."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", "--target-dir", metavar="DIR", help="Where the shards go; goes on if some are there."
        ),
    ],
    split: Annotated[str, typer.Option(metavar="train|val", help="Which part of the data set.")] = "val",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", "--workers", metavar="N", show_default=False, help="Processes. Default: one a core."
        ),
    ] = None,
    shard_size: Annotated[int, typer.Option(metavar="N", help="Images in a shard.")] = 1000,
    shuffle: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", show_default=False, help="Mix the order, for training that streams. Default: sorted."
        ),
    ] = None,
    max_pixels: options.MaxPixels = None,
    as_json: options.Json = False,
) -> None:
    """Write a data set as WebDataset shards with an index; run it again to finish what was interrupted.

    Image files stay as they are.  One that cannot be opened is left out, reported, and listed in skipped.csv.
    """
    from beholder.data import datasets
    from beholder.data.files import FileSource
    from beholder.data.shards.create import SKIPPED
    from beholder.data.shards.create import create as run

    datasets.check_dataset(dataset, split)
    if jobs is not None and jobs < 1:
        raise BadOptionError(f"{jobs} jobs do nothing: give 1 or more.")
    _check_output(output, root)
    source = FileSource(datasets.read_dataset(dataset, root, split))
    with progress.bar(f"Writing {source.name}") as show:
        result = run(
            source,
            output,
            dataset,
            split,
            shard_size=shard_size,
            shuffle=shuffle,
            workers=jobs or _cores(),
            max_pixels=max_pixels,
            progress=show,
        )
    for path, reason in result.skipped[:_SHOWN]:
        print(f"Skipped {path}: {reason}", file=sys.stderr)
    if len(result.skipped) > _SHOWN:
        print(f"... and {len(result.skipped) - _SHOWN:,} more: see {output / SKIPPED}", file=sys.stderr)
    shards = result.index.shards
    if as_json:
        facts = {"output": str(output), "target": str(output), "samples": result.index.samples, "shards": len(shards)}
        print(json.dumps(facts | {"skipped": len(result.skipped), "resumed": result.resumed}))
        return
    before = f", {result.resumed:,} of them from before" if result.resumed else ""
    skipped = f"; {len(result.skipped):,} skipped, see {SKIPPED}" if result.skipped else ""
    many = "shard" if len(shards) == 1 else "shards"
    print(f"{output}: {result.index.samples:,} images in {len(shards):,} {many}{before}{skipped}")


def info(source: Source, dataset: Dataset = None, split: Split = None, as_json: options.Json = False) -> None:
    """Say what a folder or shards hold: images, classes, bytes."""
    from beholder.data import open_source
    from beholder.data.shards.reading import ShardSource

    opened = open_source(source, dataset, split)
    facts: dict[str, Any] = {
        "name": opened.name,
        "images": len(opened),
        "labelled": opened.labelled,
        "classes": len(opened.classes),
    }
    if opened.labelled:
        facts["classes_present"] = len(set(opened.labels().tolist()))
    if isinstance(opened, ShardSource):
        index = opened.index
        facts |= {"dataset": index.dataset, "split": index.split, "shards": len(index.shards)}
        facts |= {"bytes": sum(shard.bytes for shard in index.shards), "skipped": index.skipped}
    if as_json:
        print(json.dumps(facts))
        return
    from beholder.cli import tables

    tables.show(tables.facts([(key.replace("_", " "), _readable(value)) for key, value in facts.items()]))


def verify(source: Source, dataset: Dataset = None, split: Split = None) -> None:
    """Read everything: compare shards with their checksums, or decode all images of a folder."""
    from beholder.data import open_source
    from beholder.data.shards.verify import verify as run

    opened = open_source(source, dataset, split)
    with progress.bar(f"Checking {opened.name}") as show:
        problems = run(opened, show)
    for problem in problems[1:_SHOWN]:
        print(problem, file=sys.stderr)
    if problems:
        more = f"Besides {len(problems) - 1:,} more: " if len(problems) > 1 else ""
        raise BadFileError(more + problems[0])
    print(f"{source}: all {len(opened):,} images are whole")


def _check_output(output: Path, root: Path) -> None:
    from beholder.cli import files

    files.check_folder(output)
    if output.exists() and root.exists() and output.samefile(root):
        raise BadOptionError(f"{output} is the data set itself: give another folder for the shards.")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _readable(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else value
