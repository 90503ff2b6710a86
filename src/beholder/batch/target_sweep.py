"""Bytes that each codec needs to reach a target: every image, codec and alpha, judged by several observers.

With :class:`~beholder.targets.KeepLabel` each classifier is asked in turn, and every file is then shown to all of
them. The agreement of the others tells whether a label that one network keeps is kept by other networks, too.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from beholder import codecs, observers
from beholder.batch.run import Summary
from beholder.batch.tasks import Compress, Row, Task
from beholder.codecs.base import Codec
from beholder.errors import BadFileError, NotAvailableError, OutputError
from beholder.files import csv_text, save_atomically
from beholder.json_text import read_json
from beholder.limits import limit_pixels
from beholder.observers import Observer
from beholder.pictures.modes import strip_metadata
from beholder.reading import open_image
from beholder.targets import KeepLabel, Target, find

TABLE = "targets.csv"


@dataclass(frozen=True)
class TargetSweep(Task):
    """Find each codec's file for each target, and write what was found to a JSON file for each image."""

    verb: ClassVar[str] = "examined"
    overwrites: ClassVar[bool] = False

    codecs: tuple[str, ...]
    alphas: tuple[float, ...]
    targets: tuple[Target, ...]
    observers: tuple[str, ...]
    """Names of the observers that every file is shown to."""
    model: str | None = None
    effort: int = 0
    max_pixels: int | None = None
    """The largest width x height; None for the usual limit."""

    def describe(self) -> str:
        return json.dumps([repr(self)])[2:-2]

    def check(self) -> None:
        """Raise BeholderError for what would fail with every image."""
        for codec, _ in self.contestants():
            reason = codec.unavailable()
            if reason is not None:
                raise NotAvailableError(reason)
        for target in self.targets:
            target.check()
        for name in self.observers:
            reason = _observer(name).unavailable()
            if reason is not None:
                raise NotAvailableError(reason)

    def contestants(self) -> list[tuple[Codec, float]]:
        """Codecs with each alpha that they know."""
        found = [codecs.open_codec(name, *((self.model, self.effort) if name == "rnn" else ())) for name in self.codecs]
        return [(codec, alpha) for codec in found for alpha in (self.alphas if codec.takes_alpha else (0.0,))]

    def wanted(self, path: Path, head: bytes) -> bool:
        return Compress().wanted(path, head)

    def suffixes(self) -> tuple[str, ...]:
        return (".json",)

    def run(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        with limit_pixels(self.max_pixels):
            return self._examine(source, stem, folder, force)

    def _examine(self, source: Path, stem: Path, folder: Path | None, force: bool) -> Row:
        picture = strip_metadata(open_image(source))
        observers = [_observer(name) for name in self.observers]
        before = [observer.classify(picture, 1)[0].index for observer in observers]
        records: list[dict[str, Any]] = []
        for contestant, alpha in self.contestants():
            codec = _remembering(contestant, picture)
            for target in self.targets:
                found = find(codec, picture, target, alpha=alpha)
                decoded = codec.decode(found.data)
                after = [observer.classify(decoded, 1)[0].index for observer in observers]
                records.append(
                    {
                        "codec": codec.name,
                        "alpha": alpha if codec.takes_alpha else None,
                        "target": _name(target),
                        "quality": found.quality,
                        "bytes": len(found.data),
                        "bpp": found.bpp,
                        "reached": found.reached,
                        "tries": found.tries,
                        "agrees": {j.info.name: a == b for j, a, b in zip(observers, after, before, strict=True)},
                    }
                )
        relative = stem.parent / f"{stem.name}.json"
        path = relative if folder is None else folder / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be created ({error.strerror}): choose another.") from None
        text = json.dumps(records, indent=1).encode()
        save_atomically(path, text, force=force)
        size = source.stat().st_size
        return Row(
            source=str(source),
            output=str(relative),
            width=picture.width,
            height=picture.height,
            bytes_before=size,
            bytes_after=len(text),
        )


def _remembering(codec: Codec, picture: Image.Image) -> Codec:
    """A copy of the codec for ``picture`` alone: it makes each file once and decodes it once.

    The searches for several targets meet at many qualities.
    """
    result = copy.copy(codec)

    @functools.cache
    def one(quality: float, alpha: float) -> bytes:
        return codec.encode_between(picture, quality, alpha=alpha)

    @functools.cache
    def several(qualities: tuple[int, ...], alpha: float) -> list[bytes]:
        return codec.encode_many(picture, qualities, alpha=alpha)

    @functools.cache
    def decoded(data: bytes) -> Image.Image:
        return codec.decode(data)

    def encode_between(image: Image.Image, quality: float, *, alpha: float = 0.0) -> bytes:
        return one(quality, alpha)

    def encode_many(image: Image.Image, qualities: Sequence[int], *, alpha: float = 0.0) -> list[bytes]:
        return several(tuple(qualities), alpha)

    def decode(data: bytes) -> Image.Image:
        return decoded(data).copy()

    vars(result).update(encode_between=encode_between, encode_many=encode_many, decode=decode)
    return result


@dataclass(frozen=True)
class Need:
    """Bytes that one codec needs for one target, over all images."""

    codec: str
    alpha: float | None
    target: str
    images: int
    bytes: float
    """Mean; files that miss the target count with the nearest file."""
    bpp: float
    reached: float
    """Part of the images for which the target was reached."""
    tries: float
    agrees: dict[str, float]
    """Observer -> part of the images in which it sees what it saw in the original."""

    @property
    def unasked(self) -> float | None:
        """Mean agreement of the observers that the target does not name; None if there is none."""
        others = [fraction for name, fraction in self.agrees.items() if name not in self.target.split()]
        return sum(others) / len(others) if others else None


def summarise(summary: Summary, folder: Path) -> list[Need]:
    """The needs of all codecs, and ``targets.csv`` with them.

    Raises:
        BadFileError: no image was examined, or a result is damaged.
    """
    groups: dict[tuple[str, float | None, str], list[dict[str, Any]]] = {}
    for row in summary.rows:
        if row.error is None and row.output is not None:
            for record in _records(folder / row.output):
                groups.setdefault((record["codec"], record["alpha"], record["target"]), []).append(record)
    needs = [_need(key, records) for key, records in groups.items()]
    if not needs:
        raise BadFileError(f"Not one image could be examined: {folder / 'errors.csv'} says why.")
    _write(needs, folder)
    return needs


def _need(key: tuple[str, float | None, str], records: Sequence[dict[str, Any]]) -> Need:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(records)

    return Need(
        *key,
        images=len(records),
        bytes=mean(record["bytes"] for record in records),
        bpp=mean(record["bpp"] for record in records),
        reached=mean(record["reached"] for record in records),
        tries=mean(record["tries"] for record in records),
        agrees={name: mean(record["agrees"][name] for record in records) for name in records[0]["agrees"]},
    )


def _write(needs: Sequence[Need], folder: Path) -> None:
    observed = list(needs[0].agrees)
    names = ["codec", "alpha", "target", "images", "bytes", "bpp", "reached", "tries"]
    rows: list[list[object]] = [[*names, "agrees_unasked", *(f"agrees_{name}" for name in observed)]]
    for need in needs:
        values = asdict(need)
        rows.append([*(values[name] for name in names), need.unasked, *(need.agrees[name] for name in observed)])
    save_atomically(folder / TABLE, csv_text(rows).encode())


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        records: list[dict[str, Any]] = read_json(path, strict=False)
        for record in records:
            _need((record["codec"], record["alpha"], record["target"]), [record])
        return records
    except (OSError, ValueError, TypeError, KeyError):
        raise BadFileError(f"{path} is damaged: remove it and run the command again with --resume.") from None


def _name(target: Target) -> str:
    """Short and unique: the option of the command line with its value."""
    if isinstance(target, KeepLabel):
        observer = _observer(str(target.classifier)).info.name
        extra = f" p>={target.confidence:g}" if target.confidence is not None else ""
        extra += f" {100 * target.fraction:g}%" if target.fraction is not None else ""
        return f"{target.name} {observer}{extra}"
    return f"{target.name} {next(iter(vars(target).values())):g}"


@functools.lru_cache(maxsize=8)
def _observer(name: str) -> Observer:
    """Kept from image to image: a network takes longer to open than to use."""
    return observers.get(name)
