"""Names of classes: ImageNet's thousand, and label files for classifiers of other classes.

ImageNet's (ILSVRC-2012) are numbered in the order of their sorted WordNet ids, as in Keras, PyTorch and
TensorFlow.  The table lies in ``weights/observers/imagenet_labels.tsv``; its model card there names source
and licence.

A label file has one class a line, in the order of the classifier's outputs. A line holds a readable name, or a
WordNet id, a space or tab, and a readable name (``n02123045 tabby cat``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from beholder import weights
from beholder.errors import BadFileError, BadOptionError

COUNT = 1000
_TABLE = weights.OBSERVERS / "imagenet_labels.tsv"

_MOST_BYTES = 1 << 24
_LINE = re.compile(r"(n\d{8})(?:[ \t]+(.*))?", re.ASCII)


def label(index: int) -> tuple[str, str]:
    """The WordNet id and the readable name of an ImageNet class, such as ``("n01440764", "tench")``.

    Raises:
        BadOptionError: ``index`` is not within 0..999.
    """
    if not 0 <= index < COUNT:
        raise BadOptionError(f"There is no ImageNet class {index}: choose 0 to {COUNT - 1}.")
    return imagenet()[index]


@cache
def imagenet() -> tuple[tuple[str, str], ...]:
    """(WordNet id, readable name) of ImageNet's 1000 classes."""
    lines = _TABLE.read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return tuple((wnid, name) for _index, wnid, name in rows)


def read(path: Path | str) -> tuple[tuple[str, str], ...]:
    """(WordNet id or "", readable name) of each class in a label file.

    Raises:
        BadFileError: the file is missing, no UTF-8 text, too large, empty, or has an empty line between others.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too large")
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadFileError(f"There is no label file {path}: check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise BadFileError(f"{path} is no label file ({reason}): write one class a line.") from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    for number, line in enumerate(lines, 1):
        if not line or not line.replace("\t", " ").isprintable():
            raise BadFileError(f"Line {number} of the label file {path} is no name: write one class a line.")
    return tuple(parse(line) for line in lines)


def to_text(labels: Sequence[tuple[str, str]]) -> str:
    """The text of a label file that :func:`read` turns back into ``labels``."""
    return "".join(f"{wnid}\t{name}\n" if wnid else f"{name}\n" for wnid, name in labels)


def parse(line: str) -> tuple[str, str]:
    """(WordNet id or "", readable name) of one line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return "", line
    return match[1], match[2] or match[1]
