"""The search over one codec's qualities for the file that a target asks for.

``rnn`` above alpha 0 writes all its qualities in one encoding, so to keep a label each prefix is measured from the
smallest on. The first that keeps it is the smallest.

Other files are made for each quality, and the search narrows down where they begin to reach the target: by
interpolation for sizes and metrics, by halves for labels.  That takes files to get better and larger with quality, and
they do not always: a classifier may lose a label and find it again.  Hence

- a best quality that fails ends the search only if the files so far got nearer to the target with quality, each of
  them, as is usual for metrics and never certain for labels; else it looks at qualities spread over the scale;
- below the quality where the search ends, it goes on down until a part of the scale (``QualityTarget.patience``) has
  failed in a row, and begins that count again at each success;
- of all files that were judged and reach the target, the one with the fewest bytes wins.

An island of success narrower than the gaps between those qualities stays unseen below a longer stretch of failures.

Where a codec has few qualities and writes files between them (``rnn``), the search ends in the gap between the best
file and its neighbour. It interpolates for sizes and metrics, and halves for labels.
"""

from __future__ import annotations

import itertools
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
    """Number of files that were judged, or looked at for their size."""

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
    most: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Found:
    """The smallest file of ``codec`` that reaches a quality, or the best one that keeps a rate.

    Args:
        codec: any available codec.
        image: mode L, LA, RGB or RGBA.
        target: what the file must reach.
        alpha: the observer, for codecs that know one.
        most: for a metric, larger files than so many bytes are of no use, and are not measured.
        progress: called with how many tries are over, and how many there may be; not whole within a try.

    Returns:
        A file that reaches the target; if none does, the one that comes nearest, with ``reached`` False.  With ``most``
        that is the best of so many bytes.

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
        end = files.count
        if most is not None and target.close is not None:
            end = max(1, _border(lambda step: files.larger(step, most), files.count))
        if end == files.count or files.reaches(end - 1):
            _smallest(files, end, max(1, math.ceil(target.patience * files.count)))
    if codec.fine and files.count <= _COARSE:
        files.refine(isinstance(target, RateTarget), target.close)
    reached = [file for file in files.tried if file.score.reached]
    if not reached:
        best = max(files.tried, key=lambda file: (file.score.rank, -len(file.data)))
    elif isinstance(target, RateTarget):
        best = max(reached, key=lambda file: file.place)
    else:
        best = min(reached, key=lambda file: (len(file.data), -file.score.rank))
    return Found(best.data, codec.name, best.quality, alpha, *image.size, target, best.score, files.tries)


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
        self._sizes: dict[int, int] = {}
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

    @property
    def tries(self) -> int:
        """Number of files that were judged, or looked at for their size."""
        return len(self._judged.keys() | self._sizes.keys()) + len(self._between)

    def __getitem__(self, step: int) -> _File:
        if step not in self._judged:
            data = self._file(step)
            del self._data[step]
            self._judged[step] = _File(step, self.ladder[step], data, self._measure(data))
            self._tell(0, 1)
        return self._judged[step]

    def _file(self, step: int) -> bytes:
        if step not in self._data:
            self._data[step] = self._make(self.ladder[step])
        return self._data[step]

    def refine(self, larger: bool, close: float | None) -> None:
        """Side files between the best that was found and its neighbour, the larger one or the smaller one."""
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
        under, over = ((file.quality, file.score.distance) for file in (below, above))
        close_in(distance, under, over, enough, tries, self._codec.settings_between)

    def _make(self, quality: float) -> bytes:
        with self._codec.watched(self._tell):
            return self._codec.encode_between(self._image, quality, alpha=self._alpha)

    def _tell(self, done: int, total: int) -> None:
        """Tell how far the search is after so many steps of the try that is going on."""
        over = self.tries + done / max(total, 1)
        self._progress(over, max(self._expected, over + 1))

    def reaches(self, step: int) -> bool:
        return self[step].score.reached

    def quality(self, step: int) -> tuple[bool, float | None]:
        """Whether a step reaches the target, and its distance from it."""
        score = self[step].score
        return score.reached, score.distance

    def excess(self, step: int) -> tuple[bool, float | None]:
        """Whether a step misses the target, being too large, and its distance from it."""
        score = self[step].score
        return not score.reached, score.distance

    def larger(self, step: int, size: int) -> tuple[bool, float]:
        """Whether the file of a step has more bytes than ``size``, and the logarithm of the ratio; it is not judged."""
        if step not in self._sizes:
            self._sizes[step] = len(self[step].data if step in self._judged else self._file(step))
        return self._sizes[step] > size, math.log(self._sizes[step] / size)

    def in_order(self) -> bool:
        """Whether the judged files come nearer to the target with quality, and how near they are is known."""
        judged = [self._judged[step].score for step in sorted(self._judged)]
        known = all(score.distance is not None for score in judged)
        return known and all(one.rank <= other.rank for one, other in itertools.pairwise(judged))


def _measure(target: Target, image: Image.Image, codec: Codec) -> Callable[[bytes], Score]:
    if isinstance(target, RateTarget):
        return lambda data: target.score(len(data), *image.size)
    assert isinstance(target, QualityTarget)
    measure = target.measure(image)
    return lambda data: measure(codec.decode(data))


def _first(files: _Files) -> None:
    """Side files from the worst on, to the first that reaches the target."""
    for step in range(files.count):
        if files.reaches(step):
            return


def _smallest(files: _Files, end: int, patience: int) -> None:
    """Side the files that a search for the smallest one below step ``end`` needs."""
    first = _border(files.quality, end)
    if first == end:
        if files.in_order():
            return
        top = end - 1
        sampled = sorted({round(top * k / _SAMPLES) for k in range(_SAMPLES)}, reverse=True)
        first = _border(files.quality, next((step for step in sampled if files.reaches(step)), 0))
    step, misses = first - 1, 0
    while step >= 0 and misses < patience:
        misses = 0 if files.reaches(step) else misses + 1
        step -= 1


def _largest(files: _Files) -> None:
    """Side the files that a search for the best one below a size needs."""
    step, misses = _border(files.excess, files.count), 0
    while step < files.count and misses < _RATE_PATIENCE:
        misses = 0 if files.reaches(step) else misses + 1
        step += 1


Side = Callable[[int], tuple[bool, float | None]]
"""From a step to whether it is above the border, and to its signed distance from it where that is known."""


def _border(side: Side, high: int) -> int:
    """The lowest step below ``high`` that is above the border, if all beyond it are, too; ``high`` if none is.

    The next step is where a line through the two nearest distances meets the border.  It halves the gap where there
    are no distances, and where two steps in a row have not halved it.
    """
    low = -1
    gaps: list[int] = []
    distances: dict[int, float] = {}
    while high - low > 1:
        gaps.append(high - low)
        slow = len(gaps) > 2 and 2 * gaps[-1] > gaps[-3]
        guess = None if slow else _crossing(distances, low, high)
        step = (low + high) // 2 if guess is None else min(max(math.floor(guess), low + 1), high - 1)
        above, distance = side(step)
        if distance is not None:
            distances[step] = distance
        low, high = (low, step) if above else (step, high)
    return high


def _crossing(distances: dict[int, float], low: int, high: int) -> float | None:
    """Where a line through the two distances nearest to the gap from ``low`` to ``high`` is 0."""
    nearest = sorted(distances, key=lambda step: (max(low - step, step - high, 0), abs(step - low)))[:2]
    if len(nearest) < 2:
        return None
    one, other = sorted(nearest)
    rise = distances[other] - distances[one]
    return one - distances[one] * (other - one) / rise if rise > 0 else None
