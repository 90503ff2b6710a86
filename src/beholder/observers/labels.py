"""The 1000 classes of ImageNet (ILSVRC-2012): index -> WordNet id and readable name.

Classes are numbered in the order of their sorted WordNet ids, as in Keras, PyTorch and TensorFlow.  The
table lies in ``weights/observers/imagenet_labels.tsv``; its model card there names source and licence.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from beholder.errors import BadOptionError

COUNT = 1000
_TABLE = Path(__file__).parents[1] / "weights" / "observers" / "imagenet_labels.tsv"


def label(index: int) -> tuple[str, str]:
    """The WordNet id and the readable name of a class, such as ``("n01440764", "tench")``.

    Raises:
        BadOptionError: ``index`` is not within 0..999.
    """
    if not 0 <= index < COUNT:
        raise BadOptionError(f"There is no ImageNet class {index}: choose 0 to {COUNT - 1}.")
    return _table()[index]


@cache
def _table() -> tuple[tuple[str, str], ...]:
    lines = _TABLE.read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return tuple((wnid, name) for _index, wnid, name in rows)
