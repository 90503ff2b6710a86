"""Settings of a sweep: data, codecs and their qualities, observers, metrics.  All of it decides the rows.

:func:`prepare` turns options into checked :class:`Settings`, which travel to worker processes and other machines.
``settings.json`` keeps them beside the results, so a sweep resumes with the same settings only.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from beholder import __version__, codecs, data, metrics
from beholder.codecs.base import Codec, check_alpha
from beholder.data import Source
from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.evaluation import protocol as protocols
from beholder.evaluation.sweep.watchers import Given, Named, open_observers, resolve
from beholder.limits import limit_pixels
from beholder.observers import Observer

FORMAT = 2
"""Version of ``settings.json`` and of the table's columns."""

FEATURE_DISTANCE = "feature_distance"
"""The metric that belongs to an observer: see :func:`beholder.evaluation.sweep.jobs.feature_distance`."""

DEFAULT_CODECS = ("rnn", "jpeg", "webp", "bpg")
DEFAULT_ALPHAS = (0.0, 0.5, 1.0)
DEFAULT_METRICS = ("ms_ssim", "psnr")
DEFAULT_GALLERY = 6

_PAPER_GRID = (1, 5, 10, 15, 20, 30, 50, 70, 95)  # Weber et al., section 4
DEFAULT_QUALITIES: Mapping[str, tuple[int, ...]] = {
    "rnn": (1, 2, 3, 4, 5, 6, 7, 8),
    "jpeg": _PAPER_GRID,
    "webp": _PAPER_GRID,
    "bpg": (51, 48, 45, 42, 39, 36, 33, 29, 25, 20),
    "avif": (1, 10, 20, 30, 40, 50, 60, 75, 90),
    "jpeg2000": (5, 10, 15, 20, 25, 30, 35, 40, 50),
    "jxl": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90),
    "heic": (5, 10, 20, 30, 40, 50, 60, 70, 80),
}
"""Qualities at which a codec is measured unless the user says otherwise: from barely recognisable to about 2 bpp."""

_GRID_OF_OTHERS = 9
_LARGEST_BATCH = 16
_LEAST_BATCHES = 64
_SIDECAR = ("_output", "_output_name", "_layout")  # what of a sidecar is not in the observer's info
_EXTERNAL = (".data", ".onnx_data")
_METRICS = {"vif": "torchmetrics"}
_PACKAGES = ("beholder", "numpy", "pillow", "onnxruntime", "av", "constriction", "imagecodecs", "pillow-heif")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the rows of a sweep; hashable and small."""

    data: str
    """Absolute path or URL."""
    images: int
    """Number of images, broken ones included, after ``limit``."""
    limit: int | None
    codecs: tuple[str, ...]
    qualities: tuple[tuple[str, tuple[int, ...]], ...]
    """(codec, its qualities) in the order of ``codecs``."""
    alphas: tuple[float, ...]
    """For codecs that take one; empty if none does."""
    classifiers: tuple[str | Given, ...]
    """Registered names, absolute paths of ONNX files, or observers that were given as objects."""
    classifier_names: tuple[str, ...]
    """Values of the column ``classifier``, in the same order."""
    accurate: tuple[str, ...]
    """The classifiers that know the true classes; of the others only agreement is reported."""
    labels: str | None
    """The label file of classifiers given by path."""
    metrics: tuple[str, ...]
    protocol: str
    model: str | None
    """The folder of the user's own ``rnn`` codec."""
    effort: int
    """Folder of a trained ``rnn`` codec."""
    keep_metadata: bool
    """Whether EXIF data and colour profiles are compressed, and counted, with the pixels."""
    max_pixels: int | None
    """The largest width x height that is opened; None for the usual limit."""
    gallery: int
    """Number of images, the first ones, whose pixels are kept."""
    batch: int
    """Images a batch, that is a part of the table."""
    identities: tuple[tuple[str, str], ...]
    """(codec or classifier, digest of its trained weights and, of a classifier, of its labels and its input)."""
    versions: tuple[tuple[str, str], ...]
    """(package, version)."""

    def grid(self, codec: Codec) -> list[tuple[float | None, tuple[int, ...]]]:
        """(alpha, qualities) of ``codec``; alpha is None for codecs that take none."""
        qualities = dict(self.qualities)[codec.name]
        alphas: tuple[float | None, ...] = self.alphas if codec.takes_alpha else (None,)
        return [(alpha, qualities) for alpha in alphas]

    def open_codecs(self) -> list[Codec]:
        """The codecs, ``rnn`` with the user's own model and effort where they are given."""
        return _open_codecs(self.codecs, self.model, self.effort)

    def open_observers(self) -> list[Observer]:
        """The observers, in the order of ``classifiers``."""
        return open_observers(self.classifiers, self.labels)

    def as_dict(self) -> dict[str, Any]:
        """The content of ``settings.json``."""
        result = {"format": FORMAT} | asdict(self)
        for key in ("qualities", "identities", "versions"):
            result[key] = dict(result[key])
        result["classifiers"] = list(self.classifier_names)
        del result["classifier_names"]
        result["classifier_sources"] = dict(zip(self.classifier_names, map(str, self.classifiers), strict=True))
        # As JSON reads them back, so that dictionaries can be compared.
        return {key: _as_list(value) for key, value in result.items()}

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Which of these settings ``other``, read from a ``settings.json``, does not share, in words."""
        mine = self.as_dict()
        result = []
        for key in mine:
            here, there = mine[key], other.get(key)
            if isinstance(here, dict) and isinstance(there, dict):
                names = sorted(name for name in here | there if here.get(name) != there.get(name))
                result += [
                    f"{key} of {name}: {_brief(there.get(name))}, now {_brief(here.get(name))}" for name in names
                ]
            elif here != there:
                result.append(f"{key}: {_brief(there)}, now {_brief(here)}")
        return result


def prepare(
    path: str | Path,
    *,
    codecs: Sequence[str] = DEFAULT_CODECS,
    qualities: Mapping[str, Sequence[int]] | None = None,
    alphas: Sequence[float] = DEFAULT_ALPHAS,
    classifiers: Sequence[Named] = ("efficientnet_lite0",),
    labels: str | Path | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    protocol: str = "native",
    limit: int | None = None,
    model: str | Path | None = None,
    effort: int = 0,
    keep_metadata: bool = False,
    max_pixels: int | None = None,
    gallery: int = DEFAULT_GALLERY,
) -> Settings:
    """Check every option before hours of work depend on it.

    Args:
        path: shards, a plain folder or a data set; see :func:`beholder.data.open_source`.
        codecs: registered names.
        qualities: codec -> qualities on its scale; ``DEFAULT_QUALITIES`` for those not named.
        alphas: observers of the codecs that take one, each in [0, 1].
        classifiers: registered names, paths of ONNX files, or observers, which worker processes get pickled; may be
            empty.
        labels: the label file of classifiers given by path.
        metrics: names from :func:`beholder.metrics.names`, or ``feature_distance``.
        protocol: ``native`` or ``paper``.
        limit: only the first so many images.
        model: a folder with the user's own ``rnn`` codec.
        effort: of ``rnn``, 0 to 3.
        keep_metadata: compress EXIF data and colour profiles with the pixels; else colours are converted to sRGB and
            all metadata left out, for all codecs alike.
        max_pixels: the largest width x height to open; None for 200 million.
        gallery: of how many images pictures are kept for the report.

    Raises:
        BadOptionError: something is unknown or outside its range.
        BadImageError: there are no images.
        NotAvailableError: a codec or classifier cannot run here.
    """
    location = str(path) if "://" in str(path) else str(Path(path).resolve())
    if limit is not None and limit < 1:
        raise BadOptionError(f"A limit of {limit} images leaves nothing to do: give 1 or more.")
    if gallery < 0:
        raise BadOptionError(f"A gallery of {gallery} images is not possible: give 0 or more.")
    with limit_pixels(max_pixels):  # refuses what is no limit
        pass
    protocols.check_metadata(protocols.get(protocol), keep_metadata)
    if not codecs:
        raise BadOptionError("No codec is given: name one or more.")
    if (model is not None or effort) and "rnn" not in codecs:
        given = "An effort" if model is None else "A model"
        raise BadOptionError(f"{given} was given, but only rnn takes one: add rnn to the codecs.")
    chosen = _open_codecs(_unique(codecs), model, effort)
    grids = tuple((codec.name, _grid(codec, qualities or {})) for codec in chosen)
    _check_names(qualities or {}, [codec.name for codec in chosen])
    sources = resolve(classifiers)
    watchers = open_observers(sources, None if labels is None else str(labels))
    _check_metrics(metrics, watchers)
    served = _alphas(alphas) if any(codec.takes_alpha for codec in chosen) else ()
    for reason in (*(codec.unavailable() for codec in chosen), *(o.unavailable() for o in watchers)):
        if reason is not None:
            raise NotAvailableError(reason)
    source = data.open_source(location)
    images = len(source) if limit is None else min(limit, len(source))
    if images == 0:
        raise BadImageError(f"There are no images in {path}: give a folder of images or shards.")
    return Settings(
        data=location,
        images=images,
        limit=limit,
        codecs=tuple(codec.name for codec in chosen),
        qualities=grids,
        alphas=served,
        classifiers=sources,
        classifier_names=tuple(observer.info.name for observer in watchers),
        accurate=tuple(o.info.name for o in watchers if data.match_classes(source.classes, o.labels) is not None),
        labels=None if labels is None else str(Path(labels).resolve()),
        metrics=tuple(_unique(metrics)),
        protocol=protocol,
        model=None if model is None else str(Path(model).resolve()),
        effort=effort,
        keep_metadata=keep_metadata,
        max_pixels=max_pixels,
        gallery=gallery,
        batch=max(1, min(_LARGEST_BATCH, images // _LEAST_BATCHES)),
        identities=tuple(identities(chosen, watchers).items()),
        versions=tuple(versions(_packages(metrics, effort)).items()),
    )


def _open_codecs(names: Iterable[str], model: str | Path | None, effort: int) -> list[Codec]:
    return [codecs.open_codec(name, model, effort) if name == "rnn" else codecs.open_codec(name) for name in names]


def parse_qualities(text: str) -> dict[str, tuple[int, ...]]:
    """Parse ``"rnn=1,2,4,8;jpeg=5,10,20"`` to a dictionary; raise BadOptionError for anything else."""
    result: dict[str, tuple[int, ...]] = {}
    for clause in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = (piece.strip() for piece in clause.partition("="))
        name = name.lower()  # as names of codecs are read elsewhere
        try:
            numbers = tuple(int(value) for value in values.split(","))
        except ValueError:
            numbers = ()
        if not name or not equals or not numbers:
            raise BadOptionError(f'Qualities {clause!r} cannot be read: write them like "rnn=1,2,4,8;jpeg=5,10,20".')
        if name in result:
            raise BadOptionError(f"The qualities of {name} are given twice: give them once.")
        result[name] = numbers
    return result


def identities(codecs: Iterable[Codec], observers: Iterable[Observer]) -> dict[str, str]:
    """Name -> digest of all that decides what it does, of every codec and observer whose files or facts are known."""
    result = {}
    for codec in codecs:
        identity = getattr(getattr(codec, "model", None), "identity", None)
        if isinstance(identity, bytes):
            result[codec.name] = identity.hex()
    for observer in observers:
        result[observer.info.name] = _observer_digest(observer)
    return result


def _observer_digest(observer: Observer) -> str:
    """Digest of the weights, those in files beside the ONNX file included, what its sidecar says, and its labels."""
    total = hashlib.sha256(repr((observer.info, tuple(observer.labels))).encode("utf-8", "backslashreplace"))
    for key in _SIDECAR:
        total.update(repr(getattr(observer, key, None)).encode())
    path = getattr(observer, "path", None)
    if isinstance(path, Path) and path.is_file():
        for part in (path, *_external_data(path)):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that may hold its weights."""
    beside = (other for other in path.parent.iterdir() if other != path and other.is_file())
    return sorted(o for o in beside if o.name.startswith(path.name) or o.suffix in _EXTERNAL)


def _packages(metrics: Iterable[str], effort: int) -> tuple[str, ...]:
    """The packages whose version may change a row of such a sweep."""
    return (*_PACKAGES, *(_METRICS[name] for name in metrics if name in _METRICS), *(("torch",) if effort else ()))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> version, of those that are installed here."""
    result = {}
    for name in packages:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result | {"beholder": __version__}


def check_machine(settings: Settings, codecs: Iterable[Codec], observers: Iterable[Observer]) -> None:
    """Raise NotAvailableError unless weights and packages here are those that ``settings`` were made with."""
    planned = (dict(settings.identities), dict(settings.versions))
    here = (identities(codecs, observers), versions(_packages(settings.metrics, settings.effort)))
    for what, wanted, found in zip(("weights", "version"), planned, here, strict=True):
        for name in sorted(wanted | found):
            if wanted.get(name) != found.get(name):
                raise NotAvailableError(
                    f"The {what} of {name} on {socket.gethostname()}, {_brief(found.get(name))}, is not "
                    f"{_brief(wanted.get(name))} as where the sweep was begun: install the same everywhere."
                )


def check_source(source: Source, settings: Settings) -> None:
    """Raise BadImageError if ``source`` no longer holds the images that ``settings`` count."""
    images = len(source) if settings.limit is None else min(settings.limit, len(source))
    if images != settings.images:
        raise BadImageError(
            f"{settings.data} holds {images} images here, but the sweep was begun with {settings.images}: "
            "restore them, or begin anew in another folder."
        )


def _grid(codec: Codec, qualities: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    if codec.name in qualities:
        return tuple(_unique(codec.scale.check(codec.name, quality) for quality in qualities[codec.name]))
    if codec.name in DEFAULT_QUALITIES:
        return DEFAULT_QUALITIES[codec.name]
    scale, steps = codec.scale, _GRID_OF_OTHERS - 1
    steps_taken = (scale.lowest + round(step * (scale.highest - scale.lowest) / steps) for step in range(steps + 1))
    return tuple(_unique(steps_taken))


def _check_names(qualities: Mapping[str, Sequence[int]], chosen: Sequence[str]) -> None:
    for name in qualities:
        if name not in chosen:
            codecs.get(name)  # an unknown name is the likelier mistake
            raise BadOptionError(f"Qualities are given for {name}, which is not among the codecs: add it or drop them.")


def _check_metrics(names: Sequence[str], watchers: Sequence[Observer]) -> None:
    for name in names:
        if name != FEATURE_DISTANCE:
            metrics.get(name)
        elif not watchers:
            raise BadOptionError(f"{FEATURE_DISTANCE} is measured by classifiers: name one at least.")


def _alphas(values: Sequence[float]) -> tuple[float, ...]:
    alphas = tuple(_unique(check_alpha(float(value)) for value in values))
    if not alphas:
        raise BadOptionError("No alpha is given: give one or more from 0 (people) to 1 (a machine).")
    return alphas


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _as_list(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_list(item) for key, item in value.items()}
    return [_as_list(item) for item in value] if isinstance(value, tuple | list) else value


def _brief(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
