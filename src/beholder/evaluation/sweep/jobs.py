"""The work of a sweep: one batch of images through every codec, alpha and quality, shown to every observer.

An :class:`Evaluator` opens data, codecs and observers once and then does any number of batches.  It keeps no
more than one image, its decompressed version and the observers' small views in memory.

Observers are grouped by the picture that is compressed for them. Under the protocol ``native`` all see the same file.
Under ``paper`` all observers of one square size do. Each file is written once, decoded once and shown to its whole
group.
"""

from __future__ import annotations

import functools
import math
import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder import data, metrics
from beholder.codecs.base import Codec
from beholder.data import Example
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.evaluation import metadata
from beholder.evaluation import protocol as protocols
from beholder.evaluation.sweep.images_digest import ImagesDigest
from beholder.evaluation.sweep.results import BatchResult, Failure
from beholder.evaluation.sweep.settings import FEATURE_DISTANCE, Settings, check_machine, check_source
from beholder.limits import limit_pixels
from beholder.observers import Observer
from beholder.pictures.comparable import comparable

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_TOP = 5
_ANSWER = (
    *("classifier", "label", "top5_original", "top5", "top5_probability"),
    *("correct", "correct5", "correct_original", "agrees"),
)
_GALLERY_SIDE = 384  # pixels of a crop: the squares of the paper fit, large photos do not fill the disk
_SIDE_WITHOUT_OBSERVERS = 224
_WARM_UP_SIDE = 16


@dataclass(frozen=True)
class Batch:
    """Images ``start`` to ``stop - 1`` of the data; ``number`` names the part of the table."""

    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def indices(self) -> range:
        """The indices of its images."""
        return range(self.start, self.stop)


@dataclass
class _Seen:
    """Answer of an observer to an original."""

    observer: Observer
    top: list[int]
    label: int | None
    features: Floats | None


def batches(parts: Sequence[range], images: int, size: int) -> list[Batch]:
    """The first ``images`` images in batches of at most ``size``; none reaches across two ``parts`` (shards)."""
    bounds = [
        (start, min(start + size, part.stop, images)) for part in parts for start in range(part.start, part.stop, size)
    ]
    return [Batch(number, *pair) for number, pair in enumerate(pair for pair in bounds if pair[0] < pair[1])]


class Evaluator:
    """Does batches of the sweep that ``settings`` describe.

    Raises:
        BeholderError: data, codecs or observers are not here what they were where the sweep was planned.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = data.open_source(settings.data)
        check_source(self.source, settings)
        self.codecs = settings.open_codecs()
        observers = settings.open_observers()
        check_machine(settings, self.codecs, observers)
        self.rules = protocols.get(settings.protocol)
        self.metrics = [(name, metrics.get(name)) for name in settings.metrics if name != FEATURE_DISTANCE]
        self.groups = self._group(observers)
        self.truths = {o.info.name: data.match_classes(self.source.classes, o.labels) for o in observers}
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        for codec in self.codecs:
            _warm_up(codec)
        for observer in observers:
            # A classifier that cannot run here is told at once, not as a failure of each image.
            self._ask(observer, [observer.view(Image.new("RGB", (_WARM_UP_SIDE, _WARM_UP_SIDE), "gray"))])

    def batch(self, batch: Batch) -> BatchResult:
        """Evaluate one batch; an image that cannot be evaluated with every codec is a failure without rows.

        Raises:
            NotAvailableError, BadOptionError: nothing can be evaluated here.
            BadFileError, OSError: the data cannot be read.
        """
        result = BatchResult(batch.number, len(batch), defaultdict(list), worker=self.worker)
        digest = ImagesDigest(self.source)
        with limit_pixels(self.settings.max_pixels):
            self._images(batch, result, digest)
        result.columns = dict(result.columns)
        result.images_digest = str(digest)
        return result

    def _images(self, batch: Batch, result: BatchResult, digest: ImagesDigest) -> None:
        """Evaluate the images of a batch into ``result``."""
        for index in batch.indices:
            example = None
            try:
                example = self.source[index]
                digest.add(index, example)
                rows, pictures = self._image(example, data.decode(example), index < self.settings.gallery)
            except (NotAvailableError, BadOptionError):
                raise
            except Exception as error:
                # One strange image must not end a sweep of thousands; data that cannot be read at all must.
                if example is None and not isinstance(error, BadImageError):
                    raise
                if example is None:
                    digest.add(index, None)
                name = example.name if example is not None else ""
                result.failures.append(_failure(index, self.source.key(index), name, error))
            else:
                for row in rows:
                    for column, value in row.items():
                        result.columns[column].append(value)
                result.gallery.update(pictures)

    def _image(
        self, example: Example, image: Image.Image, gallery: bool
    ) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
        rows: list[dict[str, Any]] = []
        pictures: dict[str, bytes] = {}
        if not self.settings.keep_metadata:
            image = metadata.strip_metadata(image)
        for number, (input_size, observers) in enumerate(self.groups):
            original = self.rules.prepare(image, input_size)
            seen = [self._look(observer, original, example) for observer in observers]
            keep = pictures if gallery and number == 0 else None
            if keep is not None:
                keep[f"{example.key}/original.png"] = _png(original)
            for codec in self.codecs:
                for alpha, qualities in self.settings.grid(codec):
                    rows += self._files(example, original, seen, codec, alpha, qualities, keep)
        return rows, pictures

    def _files(
        self,
        example: Example,
        original: Image.Image,
        seen: Sequence[_Seen],
        codec: Codec,
        alpha: float | None,
        qualities: Sequence[int],
        pictures: dict[str, bytes] | None,
    ) -> list[dict[str, Any]]:
        facts = []
        metadata_bytes = metadata.file_bytes(codec, original)
        views: list[list[Image.Image]] = [[] for _ in seen]
        for quality, (file, seconds) in zip(qualities, _encode(codec, original, qualities, alpha), strict=True):
            started = perf_counter()
            decoded = codec.decode(file)
            decode_seconds = perf_counter() - started
            facts.append(
                {
                    "image": example.key,
                    "file": example.name,
                    "width": original.width,
                    "height": original.height,
                    "codec": codec.name,
                    "quality": quality,
                    "alpha": alpha,
                    "bytes": len(file),
                    "metadata_bytes": metadata_bytes,
                    "bpp": 8 * len(file) / (original.width * original.height),
                    **self._measure(original, decoded),
                    "encode_seconds": seconds,
                    "decode_seconds": decode_seconds,
                }
            )
            for collected, one in zip(views, seen, strict=True):
                collected.append(self.rules.view(decoded, one.observer))
            if pictures is not None:
                pictures[f"{example.key}/{picture_name(codec.name, alpha, quality)}"] = _png(decoded)
        if not seen:
            return [fact | _no_answer(self.settings.metrics) for fact in facts]
        answers = [self._answers(one, shown) for one, shown in zip(seen, views, strict=True)]
        return [fact | answer for fact, row in zip(facts, zip(*answers, strict=True), strict=True) for answer in row]

    def _look(self, observer: Observer, original: Image.Image, example: Example) -> _Seen:
        view = self.rules.view(original, observer)
        truth = self.truths[observer.info.name]
        label = None if truth is None or example.label is None else truth[example.label]
        probabilities, features = self._ask(observer, [view])
        return _Seen(observer, _best(probabilities[0]), label, None if features is None else features[0])

    def _ask(self, observer: Observer, views: Sequence[Image.Image]) -> tuple[Floats, Floats | None]:
        """Probabilities, and features where they are measured."""
        features = observer.features(views) if FEATURE_DISTANCE in self.settings.metrics else None
        return observer.predict(views), features

    def _answers(self, one: _Seen, views: Sequence[Image.Image]) -> list[dict[str, Any]]:
        probabilities, features = self._ask(one.observer, views)
        rows = []
        for number, values in enumerate(probabilities):
            top = _best(values)
            row: dict[str, Any] = {
                "classifier": one.observer.info.name,
                "label": one.label,
                "top5_original": one.top,
                "top5": top,
                "top5_probability": [float(values[i]) for i in top],
                "correct": None if one.label is None else top[0] == one.label,
                "correct5": None if one.label is None else one.label in top,
                "correct_original": None if one.label is None else one.top[0] == one.label,
                "agrees": top[0] == one.top[0],
            }
            if features is not None and one.features is not None:
                row[FEATURE_DISTANCE] = feature_distance(one.features, features[number])
            rows.append(row)
        return rows

    def _measure(self, original: Image.Image, decoded: Image.Image) -> dict[str, float | None]:
        if not self.metrics:
            return {}
        pair: list[Pixels] = [np.asarray(picture) for picture in comparable(original, decoded)]
        values = {name: float(metric(*pair)) for name, metric in self.metrics}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    def _group(self, observers: Sequence[Observer]) -> list[tuple[int, list[Observer]]]:
        """(input size, observers that are shown the same file), in the order of their first members."""
        if not observers:
            return [(_SIDE_WITHOUT_OBSERVERS, [])]
        groups: dict[int, list[Observer]] = {}
        for observer in observers:
            size = observer.info.input_size
            # A protocol that compresses the same thing for all gives one group.
            side = protocols.paper_side(size) if self.settings.protocol == "paper" else 0
            groups.setdefault(side, []).append(observer)
        return [(group[0].info.input_size, group) for group in groups.values()]


@functools.lru_cache(maxsize=1)
def evaluator(settings: Settings) -> Evaluator:
    """The evaluator of this process, kept from batch to batch: its networks take seconds to open."""
    return Evaluator(settings)


def feature_distance(original: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Squared distance of two feature vectors, each scaled to length 1: 0 for the same direction, at most 4.

    That is ``2 - 2 cos`` of the angle between them, at most 2 for features without negative values (behind a ReLU).
    The scaling makes observers comparable.  Two vectors of zeros are equal; one of zeros is 1 from any other.

    Args:
        original, decoded: shape (d,), what ``Observer.features`` says of one image before and after compression.
    """
    a, b = (np.asarray(vector, np.float64) for vector in (original, decoded))
    a, b = (vector / (np.linalg.norm(vector) or 1.0) for vector in (a, b))
    return float(np.sum((a - b) ** 2))


def picture_name(codec: str, alpha: float | None, quality: int) -> str:
    """File name of a decompressed picture in the gallery, below the folder named by the image's key."""
    observer = "" if alpha is None else f"-a{alpha:g}"
    return f"{codec}{observer}-q{quality}.png"


def _encode(
    codec: Codec, image: Image.Image, qualities: Sequence[int], alpha: float | None
) -> list[tuple[bytes, float]]:
    """(file, seconds) for each quality."""
    observed = 0.0 if alpha is None else alpha
    if codec.progressive:
        started = perf_counter()
        files = codec.encode_many(image, qualities, alpha=observed)
        seconds = perf_counter() - started
        return [(file, seconds) for file in files]
    result = []
    for quality in qualities:
        started = perf_counter()
        file = codec.encode(image, quality, alpha=observed)
        result.append((file, perf_counter() - started))
    return result


def _best(probabilities: Floats) -> list[int]:
    """The most probable classes, best first; of equals the one with the lower index."""
    return [int(i) for i in np.argsort(-probabilities, kind="stable")[:_TOP]]


def _no_answer(names: Sequence[str]) -> dict[str, Any]:
    """Values of the classifiers' columns in a sweep without classifiers."""
    return dict.fromkeys((*_ANSWER, *(name for name in names if name == FEATURE_DISTANCE)))


def _png(image: Image.Image) -> bytes:
    rgb = comparable(image, image)[0]
    width, height = (min(side, _GALLERY_SIDE) for side in rgb.size)
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    out = BytesIO()
    rgb.crop((left, top, left + width, top + height)).save(out, "PNG")
    return out.getvalue()


def _failure(index: int, key: str, name: str, error: Exception) -> Failure:
    text = " ".join(str(error).split())
    return Failure(index, key, name, text if isinstance(error, BadImageError) else f"{type(error).__name__}: {text}")


def _warm_up(codec: Codec) -> None:
    """Let the codec load its networks, so that the seconds belong to the images alone."""
    tiny = Image.new("RGB", (_WARM_UP_SIDE, _WARM_UP_SIDE), "gray")
    codec.decode(codec.encode(tiny))
