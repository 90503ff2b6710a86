"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.errors import BadOptionError

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="A photo in any format Pillow reads.")]
Codec = Annotated[
    str,
    typer.Option("--codec", "-c", "--compression", metavar="C", help="The codec; `beholder codecs` lists them."),
]
Alpha = Annotated[
    float,
    typer.Option("--alpha", "-a", metavar="A", help="Who looks: 0 people, 1 a machine, or between. For rnn."),
]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality",
        "-q",
        metavar="Q",
        show_default=False,
        help="On the codec's own scale: rnn 1 to 12 (default 4), jpeg and webp 1 to 100 (75), "
        "bpg 0 to 51, lower is better (29).",
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="DIR",
        show_default=False,
        help="A trained rnn codec of your own, as `beholder export` wrote it.",
    ),
]
Effort = Annotated[
    int,
    typer.Option(
        "--effort",
        metavar="0|1|2|3",
        help="Of rnn: 1 to 3 optimise the codes for the observer; any decoder reads them.",
    ),
]
Human = Annotated[
    str | None,
    typer.Option(
        "--human",
        metavar="D",
        show_default=False,
        help="Of rnn at alpha 0, what codes serve: ms-ssim, ssimulacra2, blend (of both, default), psnr (with effort).",
    ),
]
Observer = Annotated[
    str | None,
    typer.Option(
        "--observer",
        metavar="NAME|FILE",
        show_default=False,
        help="For --effort 1 to 3 above alpha 0: the classifier to optimise for, default efficientnet_lite0. "
        "`beholder prepare NAME --gradient` makes others ready.",
    ),
]
KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata",
        help="Compress and count EXIF data and colour profiles, too. Default: none, so that rates are comparable.",
    ),
]
Classifier = Annotated[
    str,
    typer.Option(
        "--classifier", metavar="NAME|FILE", help="The observer; `beholder observers` lists them. Or an ONNX file."
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        show_default=False,
        help="What the classes of an ONNX file are called, one a line.",
    ),
]
Strip = Annotated[
    bool,
    typer.Option("--strip", help="Leave out EXIF data, GPS position included, and convert colours to sRGB."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        show_default=False,
        help="The largest width x height to open. Default: 200 million.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

HIDDEN_NAMES = frozenset({"--compression", "--data-dir", "--save", "--target-dir", "--workers"})
"""Second names of options (docs/glossary.md): they work, and no help shows them."""
COMMAND = "command"
"""Where the context keeps the program and its arguments."""
DEFAULT_CLASSIFIER = "efficientnet_lite0"

_NONE = "none"


def names(text: str) -> list[str]:
    """``a,b`` as a list; empty for ``none``."""
    found = [name.strip() for name in text.split(",")]
    return [] if found == [_NONE] else [name for name in found if name]


def numbers(text: str) -> list[float]:
    """``0,0.5,1`` as a list of alphas; BadOptionError for anything else."""
    try:
        return [float(number) for number in names(text)]
    except ValueError:
        raise BadOptionError(f"Alpha {text!r} is no list of numbers: write it like 0,0.5,1.") from None
