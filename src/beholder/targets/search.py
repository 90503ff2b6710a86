"""The search over one codec's qualities for the file that a target asks for.

``rnn`` above alpha 0 writes all its qualities in one encoding, so to keep a label each prefix is measured from the
smallest on. The first that keeps it is the smallest.

Other files are made for each quality, and the search bisects.  Bisection takes files to get better and larger with
quality, and they do not always: a classifier may lose a label and find it again.  Hence

- a best quality that fails does not end the search: it looks at qualities spread over the scale first;
- below the quality where bisection ends, it goes on down until a part of the scale (``QualityTarget.patience``) has
  failed in a row, and begins that count again at each success;
- of all files that were judged and reach the target, the one with the fewest bytes wins.

An island of success narrower than the gaps between those qualities stays unseen below a longer stretch of failures.

Where a codec has few qualities and writes files between them (``rnn``), the search ends in the gap between the best
file and its neighbour. It interpolates for sizes and metrics, and halves for labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from beholder.codecs.base import Codec
from beholder.codecs.between import close_in
from beholder.targets.kinds import QualityTarget, RateTarget, Score, Target

_COARSE = 16  # qualities: scales with more need no files between them
_CLOSE = 0.005  # relative difference of two sizes at which the search between them ends
_TRIES = 6  # files between two qualities
_HALVINGS = 4  # the same for labels, which have nothing to interpolate
_SAMPLES = 10  # qualities that are looked at where the best one fails
_RATE_PATIENCE = 2  # sizes of neighbouring qualities are out of order by no more, in files of eight codecs


Progress = Callable[[float, float], None]
"""Called with the number of tries that are over, and of all."""


@dataclass(frozen=True)
class Found:
    """The file that a search ended with."""

    data: bytes = field(repr=False)
    codec: str
    quality: float
    """Not whole for a file between two qualities."""
    alpha: float
    width: int
    height: int
    target: Target
    score: Score
    tries: int
    """Number of files that were judged."""

    @property
    def reached(self) -> bool:
        """Whether the file reaches the target; if not, it is the nearest to it."""
        return self.score.reached

    @property
    def bpp(self) -> float:
        """8 x bytes / pixels."""
        return 8 * len(self.data) / (self.width * self.height)


def find(
    codec: Codec,
    image: Image.Image,
    target: Target,
    *,
    alpha: float = 0.0,
    progress: Progress = lambda done, total: None,
) -> Found:
    """The smallest file of ``codec`` that reaches a quality, or the best one that keeps a rate.

    Args:
        codec: any available codec.
        image: mode L, LA, RGB or RGBA.
        target: what the file must reach.
        alpha: the observer, for codecs that know one.
        progress: called with how many tries are over, and how many there may be; not whole within a try.

    Returns:
        A file that reaches the target; if none does, the one that comes nearest, with ``reached`` False.

    Raises:
        BeholderError: the image does not fit into the codec, or the target cannot be measured.
    """
    files = _Files(codec, image, alpha, _measure(target, image, codec), progress)
    if isinstance(target, RateTarget):
        _largest(files)
    elif files.at_once and target.close is None:
        _first(files)
    else:
        assert isinstance(target, QualityTarget)
        _smallest(files, max(1, math.ceil(target.patience * files.count)))
    if codec.fine and files.count <= _COARSE:
        files.refine(isinstance(target, RateTarget), target.close)
    reached = [file for file in files.tried if file.score.reached]
    if not reached:
        best = max(files.tried, key=lambda file: (file.score.rank, -len(file.data)))
    elif isinstance(target, RateTarget):
        best = max(reached, key=lambda file: file.place)
    else:
        best = min(reached, key=lambda file: (len(file.data), -file.score.rank))
    return Found(best.data, codec.name, best.quality, alpha, *image.size, target, best.score, len(files.tried))


@dataclass(frozen=True)
class _File:
    place: float
    """Step of the scale, worst first; not whole between two."""
    quality: float
    data: bytes
    score: Score


class _Files:
    """The files of one image by step of the codec's scale, worst first; each is made and judged once."""

    def __init__(
        self,
        codec: Codec,
        image: Image.Image,
        alpha: float,
        measure: Callable[[bytes], Score],
        progress: Progress,
    ) -> None:
        scale = codec.scale
        # Integers are qualities of the scale; others ask for `Codec.encode_between`.
        whole = range(scale.lowest, scale.highest + 1)
        below = [float(scale.lowest - step) for step in range(codec.beyond, 0, -1)]
        above = [float(scale.highest + 1 + step) for step in range(codec.beyond)]
        self.ladder: list[float] = [*below, *whole, *above]
        if not scale.higher_is_better:
            self.ladder.reverse()
        # An encoder that optimises each quality on its own makes no file for nothing.
        self.at_once = codec.encodes_at_once(image, alpha)
        self._codec, self._image, self._alpha, self._measure = codec, image, alpha, measure
        self._data: dict[int, bytes] = {}
        self._judged: dict[int, _File] = {}
        self._between: list[_File] = []
        self._progress = progress
        # Bisection and its end.
        self._expected = len(self.ladder).bit_length() + (_HALVINGS if self.at_once else _RATE_PATIENCE)
        if self.at_once:
            with codec.watched(self._tell):
                files = codec.encode_many(image, whole, alpha=alpha)
            self._data = {self.ladder.index(q): data for q, data in zip(whole, files, strict=True)}

    @property
    def count(self) -> int:
        return len(self.ladder)

    @property
    def tried(self) -> list[_File]:
        return [*self._judged.values(), *self._between]

    def __getitem__(self, step: int) -> _File:
        if step not in self._judged:
            if step not in self._data:
                self._data[step] = self._make(self.ladder[step])
            data = self._data.pop(step)
            self._judged[step] = _File(step, self.ladder[step], data, self._measure(data))
            self._tell(0, 1)
        return self._judged[step]

    def refine(self, larger: bool, close: float | None) -> None:
        """Judge files between the best that was found and its neighbour, the larger one or the smaller one."""
        reached = [step for step, file in self._judged.items() if file.score.reached]
        if not reached:
            return
        end = max(reached) if larger else min(reached)
        other = end + 1 if larger else end - 1
        if not 0 <= other < self.count or self.reaches(other):
            return
        ends = {True: self[end], False: self[other]}  # by whether they reach the target

        def enough() -> bool:
            sizes = [len(file.data) for file in ends.values()]
            near = ends[True].score.distance
            if close is not None and near is not None and abs(near) <= close:
                return True
            return abs(sizes[0] - sizes[1]) <= _CLOSE * max(sizes)

        def distance(quality: float) -> tuple[bool, float | None]:
            step = end + abs(quality - self.ladder[end]) * (1 if larger else -1)
            data = self._make(quality)
            file = _File(step, quality, data, self._measure(data))
            self._between.append(file)
            self._tell(0, 1)
            ends[file.score.reached] = file
            return file.score.reached is not larger, file.score.distance

        below, above = sorted(ends.values(), key=lambda file: file.place)
        tries = _HALVINGS if below.score.distance is None else _TRIES
        close_in(distance, (below.quality, below.score.distance), (above.quality, above.score.distance), enough, tries)

    def _make(self, quality: float) -> bytes:
        with self._codec.watched(self._tell):
            return self._codec.encode_between(self._image, quality, alpha=self._alpha)

    def _tell(self, done: int, total: int) -> None:
        """Tell how far the search is after so many steps of the try that is going on."""
        over = len(self.tried) + done / max(total, 1)
        self._progress(over, max(self._expected, over + 1))

    def reaches(self, step: int) -> bool:
        return self[step].score.reached


def _measure(target: Target, image: Image.Image, codec: Codec) -> Callable[[bytes], Score]:
    if isinstance(target, RateTarget):
        return lambda data: target.score(len(data), *image.size)
    assert isinstance(target, QualityTarget)
    measure = target.measure(image)
    return lambda data: measure(codec.decode(data))


def _first(files: _Files) -> None:
    """Judge files from the worst on, to the first that reaches the target."""
    for step in range(files.count):
        if files.reaches(step):
            return


def _smallest(files: _Files, patience: int) -> None:
    """Judge the files that a search for the smallest one needs."""
    top = files.count - 1
    first = _bisect(files, top)
    if not files.reaches(first):
        sampled = sorted({round(top * k / _SAMPLES) for k in range(_SAMPLES)}, reverse=True)
        first = _bisect(files, next((step for step in sampled if files.reaches(step)), 0))
    step, misses = first - 1, 0
    while step >= 0 and misses < patience:
        misses = 0 if files.reaches(step) else misses + 1
        step -= 1


def _bisect(files: _Files, high: int) -> int:
    """The lowest step that reaches the target, if all above it do, too; ``high`` if none below it does."""
    low = 0
    while low < high:
        middle = (low + high) // 2
        if files.reaches(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _largest(files: _Files) -> None:
    """Judge the files that a search for the best one below a size needs."""
    low, high = 0, files.count - 1
    while low <= high:
        middle = (low + high) // 2
        if files.reaches(middle):
            low = middle + 1
        else:
            high = middle - 1
    step, misses = low, 0
    while step < files.count and misses < _RATE_PATIENCE:
        misses = 0 if files.reaches(step) else misses + 1
        step += 1
