"""The report's gallery: originals, what each codec left of them at every kept quality, and what each observer saw."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from beholder import observers
from beholder.errors import BeholderError
from beholder.evaluation.plots.style import styles
from beholder.evaluation.summary.curves import Series
from beholder.evaluation.summary.read import FolderRows
from beholder.evaluation.sweep.results import GALLERY
from beholder.pictures.modes import flatten
from beholder.reading import load

LARGEST = 12
"""Images shown."""
USUAL_RATE = 0.25
"""Bits per pixel that pictures are chosen for, where the first codec comes near."""

NEAR = 0.1
"""A picture whose rate is further from that of the first codec's picture than this fraction says so."""

_SIDE = 256  # pixels of a crop
_QUALITY = 95
_BUDGET = 12 << 20  # bytes of pictures in a page; images that do not fit are left out


@dataclass(frozen=True)
class Seen:
    """Answer of one observer to a picture."""

    classifier: str
    label: str
    probability: float | None
    agrees: bool | None
    """With what it saw in the original; None for the original."""


@dataclass(frozen=True)
class Shot:
    """One picture of the gallery."""

    title: str
    facts: str
    data: str
    """A data URI."""
    size: tuple[int, int]
    seen: list[Seen]


@dataclass(frozen=True)
class Exhibit:
    """One image: its original, and what codecs left of it."""

    name: str
    original: Shot
    curves: dict[Series, list[Shot]]
    """The kept qualities of each curve, rates rising."""
    chosen: dict[Series, int]
    """Indices of the pictures of about equal rate, which are shown side by side."""

    @property
    def tiles(self) -> list[Shot]:
        """The original, and one picture of each curve."""
        return [self.original, *(self.curves[one][place] for one, place in self.chosen.items())]


def collect(folder: Path, series: Sequence[Series], settings: dict[str, Any]) -> list[Exhibit]:
    """The images whose pictures were kept, as many as fit into a page; none where nothing was kept.

    Args:
        folder: a sweep's.
        series: the curves, in the order in which they are shown.
        settings: the sweep's ``settings.json``.
    """
    places = sorted(path for path in _children(folder / GALLERY) if (path / "original.png").is_file())[:LARGEST]
    if not places:
        return []
    rows = FolderRows(folder).of_images([place.name for place in places])
    labels = _Labels(settings)
    result: list[Exhibit] = []
    spent = 0
    for place in places:
        exhibit = _exhibit(place, [row for row in rows if row["image"] == place.name], series, labels)
        if exhibit is None:
            continue
        spent += sum(len(shot.data) for shots in exhibit.curves.values() for shot in shots)
        if result and spent > _BUDGET:
            break
        result.append(exhibit)
    return result


def _exhibit(place: Path, rows: list[dict[str, Any]], series: Sequence[Series], labels: _Labels) -> Exhibit | None:
    original = _data(place / "original.png")
    if original is None:
        return None
    looks, there = styles(series), {path.name for path in _children(place)}
    kept: dict[Series, list[dict[str, Any]]] = {}
    for one in series:
        found = {row["quality"]: row for row in reversed(rows) if _is_of(row, one) and _file(row) in there}
        if found:
            kept[one] = sorted(found.values(), key=lambda row: (row["bpp"], row["quality"]))
    wanted = _usual_rate(kept)
    curves: dict[Series, list[Shot]] = {}
    chosen: dict[Series, int] = {}
    for one, steps in kept.items():
        shots: dict[float, Shot] = {}
        for row in steps:
            picture = _data(place / _file(row))
            if picture is not None:
                same = [other for other in rows if _is_of(other, one) and other["quality"] == row["quality"]]
                shots[row["bpp"]] = Shot(looks[one].label, _facts(row), *picture, _decoded(same, labels))
        if shots:
            rates = list(shots)
            nearest = min(range(len(rates)), key=lambda place: abs(math.log(rates[place] / wanted)))
            curves[one], chosen[one] = list(shots.values()), nearest
            off = rates[nearest] / wanted - 1
            if abs(off) > NEAR:
                shot = curves[one][nearest]
                curves[one][nearest] = replace(shot, facts=f"{shot.facts} \u00b7 rate {100 * off:+.0f} %")
    if not curves:
        return None
    # The pictures are those of one size; under the protocol `paper` other observers were shown another.
    size = f"{rows[0]['width']} \u00d7 {rows[0]['height']} pixels"
    file = str(rows[0].get("file") or place.name)
    return Exhibit(file, Shot("Original", size, *original, _originals(rows, labels)), curves, chosen)


def _facts(row: dict[str, Any]) -> str:
    facts = f"quality {row['quality']} \u00b7 {row['bpp']:.3f} bpp"
    return facts if row.get("ms_ssim") is None else f"{facts} \u00b7 MS-SSIM {row['ms_ssim']:.4f}"


def _usual_rate(kept: dict[Series, list[dict[str, Any]]]) -> float:
    """The rate of the first codec's picture that comes nearest to :data:`USUAL_RATE`."""
    rates = [row["bpp"] for row in next(iter(kept.values()), [])]
    return min(rates, key=lambda rate: abs(math.log(rate / USUAL_RATE)), default=USUAL_RATE)


def _is_of(row: dict[str, Any], series: Series) -> bool:
    return row["codec"] == series.codec and row["alpha"] == series.alpha and (row["bpp"] or 0) > 0


def _file(row: dict[str, Any]) -> str:
    observer = "" if row["alpha"] is None else f"-a{row['alpha']:g}"
    return f"{row['codec']}{observer}-q{row['quality']}.png"


def _originals(rows: Iterable[dict[str, Any]], labels: _Labels) -> list[Seen]:
    found = {row["classifier"]: row for row in rows if row["classifier"] is not None and row["top5_original"]}
    return [Seen(name, labels.name(name, row["top5_original"][0]), None, None) for name, row in found.items()]


def _decoded(rows: Iterable[dict[str, Any]], labels: _Labels) -> list[Seen]:
    return [
        Seen(
            row["classifier"],
            labels.name(row["classifier"], row["top5"][0]),
            row["top5_probability"][0] if row["top5_probability"] else None,
            row["agrees"],
        )
        for row in rows
        if row["classifier"] is not None and row["top5"]
    ]


def _data(path: Path) -> tuple[str, tuple[int, int]] | None:
    """The middle of a picture as a data URI, and its size; None if it cannot be read."""
    try:
        image = flatten(load(path)).convert("RGB")
    except BeholderError:
        return None
    width, height = (min(side, _SIDE) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return encode(image.crop((left, top, left + width, top + height))), (width, height)


def encode(image: Image.Image) -> str:
    """A data URI of a picture (L or RGB) in which no further loss can be seen."""
    image.info = {}
    out = BytesIO()
    image.save(out, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


class _Labels:
    """The names of classes, as far as the classifiers are here."""

    def __init__(self, settings: dict[str, Any]) -> None:
        sources = settings.get("classifier_sources")
        self._sources = sources if isinstance(sources, dict) else {}
        file = settings.get("labels")
        self._file = Path(file) if isinstance(file, str) else None
        self._known: dict[str, Sequence[tuple[str, str]]] = {}

    def name(self, classifier: str, index: int) -> str:
        """The class's name, or its number."""
        if classifier not in self._known:
            self._known[classifier] = self._find(classifier)
        names = self._known[classifier]
        return names[index][1] if 0 <= index < len(names) else f"class {index}"

    def _find(self, classifier: str) -> Sequence[tuple[str, str]]:
        source = str(self._sources.get(classifier, classifier))
        try:
            return observers.get(source, self._file if source not in observers.names() else None).labels
        except (BeholderError, OSError):
            return ()
