"""The rows of a sweep on disk: ``results.parquet/part-*.parquet``, each written whole or not at all.

One row is one image x codec x quality x alpha x classifier:

====================  ==============  ===========================================================================
column                type            meaning
====================  ==============  ===========================================================================
image                 string          key of the image, unique in the data
file                  string          name of the image's file, without folders
width, height         int32           pixels of what was compressed
codec                 string          registered name
quality               int32           on the codec's own scale
alpha                 float32         null for codecs that take none
bytes                 int64           of the whole file
metadata_bytes        int64           of ``bytes``, those that hold metadata; 0 in a sweep that leaves metadata out
bpp                   float64         8 x bytes / (width x height)
ms_ssim, psnr, ...    float64         one column a metric; PSNR is infinite for equal pictures,
                                      null where a metric is not defined or not measured
encode_seconds        float64         of the one call that made the file.  A progressive codec (``rnn``) writes the
                                      files of all qualities in one call; each of them bears its whole time
decode_seconds        float64         of the one call that read the file
classifier            string          null in a sweep without classifiers
label                 int32           the true class in the classifier's own numbering; null if there is no label or
                                      the classifier does not know the class
top5_original         list<int32>     classes seen in the original, most probable first
top5                  list<int32>     classes seen in the decompressed image
top5_probability      list<float32>   of ``top5``
correct, correct5     bool            the label is first, among the first five; null without label
correct_original      bool            the label is first in the original; null without label
agrees                bool            the same class is first in both
====================  ==============  ===========================================================================

Each part also holds Parquet metadata: the images that could not be evaluated, the machine, and a digest of its
images' names, labels and contents. By the digest ``--resume`` sees that images have changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.errors import BadFileError, NotAvailableError
from beholder.extras import install_command
from beholder.files import LEFTOVER, csv_text, save_atomically
from beholder.json_text import parse_json, read_json

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "results.parquet"
SETTINGS = "settings.json"
FAILURES = "errors.csv"
GALLERY = "gallery"

_METADATA = b"beholder"
_PART = re.compile(r"part-(\d{6,})\.parquet")


@dataclass(frozen=True)
class Failure:
    """An image that was left out, and why."""

    index: int
    image: str
    file: str
    error: str


@dataclass
class BatchResult:
    """Result of one batch of images."""

    number: int
    images: int
    columns: dict[str, list[Any]]
    """The rows, by column."""
    failures: list[Failure] = field(default_factory=list)
    gallery: dict[str, bytes] = field(default_factory=dict)
    """Path below the gallery -> PNG."""
    worker: str = ""
    """Who computed it, for the record."""
    images_digest: str = ""
    """Digest of the images' names, labels and contents: see :mod:`beholder.evaluation.sweep.images_digest`."""


@dataclass(frozen=True)
class Part:
    """A part that is there and whole."""

    number: int
    rows: int
    images: int
    failures: tuple[Failure, ...]
    worker: str
    images_digest: str


def schema(metrics: Sequence[str]) -> pa.Schema:
    """The columns of a sweep that measures ``metrics``."""
    pa = _pyarrow()
    return pa.schema(
        [
            ("image", pa.string()),
            ("file", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("codec", pa.string()),
            ("quality", pa.int32()),
            ("alpha", pa.float32()),
            ("bytes", pa.int64()),
            ("metadata_bytes", pa.int64()),
            ("bpp", pa.float64()),
            *((name, pa.float64()) for name in metrics),
            ("encode_seconds", pa.float64()),
            ("decode_seconds", pa.float64()),
            ("classifier", pa.string()),
            ("label", pa.int32()),
            ("top5_original", pa.list_(pa.int32())),
            ("top5", pa.list_(pa.int32())),
            ("top5_probability", pa.list_(pa.float32())),
            ("correct", pa.bool_()),
            ("correct5", pa.bool_()),
            ("correct_original", pa.bool_()),
            ("agrees", pa.bool_()),
        ]
    )


def write(folder: Path, result: BatchResult, metrics: Sequence[str]) -> None:
    """Add one batch to the results in ``folder``: its pictures first, so that a part proves they are there.

    Raises:
        OutputError: the disk is full or the folder not writable.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    for name, png in result.gallery.items():
        path = folder / GALLERY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(path, png)
    columns = schema(metrics)
    facts = {
        "batch": result.number,
        "images": result.images,
        "failures": [asdict(failure) for failure in result.failures],
        "worker": result.worker,
        "images_digest": result.images_digest,
    }
    table = pa.table({name: result.columns.get(name, []) for name in columns.names}, columns)
    buffer = BytesIO()
    pq.write_table(table.replace_schema_metadata({_METADATA: json.dumps(facts)}), buffer, compression="zstd")
    (folder / TABLE).mkdir(parents=True, exist_ok=True)
    save_atomically(folder / TABLE / f"part-{result.number:06d}.parquet", buffer.getvalue())


def parts(folder: Path) -> Iterator[Part]:
    """The whole parts of the results in ``folder``, in order; damaged ones are passed over."""
    pa = _pyarrow()
    import pyarrow.parquet as pq

    for number, path in _part_files(folder):
        try:
            metadata = pq.read_metadata(path)
            facts = parse_json(metadata.metadata[_METADATA], strict=False)
            failures = tuple(Failure(**failure) for failure in facts["failures"])
            images, worker, digest = int(facts["images"]), str(facts["worker"]), str(facts.get("images_digest", ""))
            yield Part(number, metadata.num_rows, images, failures, worker, digest)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            continue


def read(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a sweep, parts in order.

    Args:
        folder: what ``beholder evaluate --output`` wrote, or the ``results.parquet`` in it.
        columns: only these, for large results.

    Raises:
        BadFileError: there are no results, or a part is damaged.
        NotAvailableError: pyarrow is not installed.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    files = [path for _number, path in _part_files(folder)]
    if not files:
        raise BadFileError(f"There are no results in {folder}: give a folder that `beholder evaluate` wrote.")
    tables = []
    for path in files:
        try:
            table = pq.ParquetFile(path).read(columns=None if columns is None else list(columns))
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise BadFileError(f"{path} is damaged ({reason}): run `beholder evaluate --resume` again.") from None
        tables.append(table.replace_schema_metadata(None))
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException:
        raise BadFileError(
            f"The parts in {folder} have different columns: keep each sweep in its own folder."
        ) from None


def read_settings(folder: Path) -> dict[str, Any]:
    """``settings.json`` of a sweep.

    Raises:
        BadFileError: it is missing or damaged.
    """
    path = (folder.parent if folder.name == TABLE else folder) / SETTINGS
    try:
        settings = read_json(path, strict=False)
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, dict):
        raise BadFileError(
            f"There is no readable {SETTINGS} in {folder}: give a folder that `beholder evaluate` wrote."
        )
    return settings


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write ``errors.csv``, or remove it if there is nothing to tell."""
    path = folder / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = csv_text([list(asdict(failures[0])), *(list(asdict(failure).values()) for failure in failures)])
    save_atomically(path, text.encode("utf-8", "backslashreplace"))


def clean(folder: Path) -> None:
    """Remove what a killed sweep was in the middle of writing."""
    for place in (folder, folder / TABLE):
        for path in place.glob(LEFTOVER):
            path.unlink(missing_ok=True)
    for path in (folder / GALLERY).glob(f"*/{LEFTOVER}"):
        path.unlink(missing_ok=True)


def _part_files(folder: Path) -> list[tuple[int, Path]]:
    place = folder if folder.name == TABLE else folder / TABLE
    found = ((_PART.fullmatch(path.name), path) for path in place.glob("part-*.parquet"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise NotAvailableError(f"Tables of results need pyarrow: {install_command('evaluate')}.") from None
    return pyarrow
