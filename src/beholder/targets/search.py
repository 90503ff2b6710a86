"""The search over one codec's qualities for the file that a target asks for.

``rnn`` writes all its qualities in one encoding, so each prefix is judged from the smallest on: the first that reaches
the target is the smallest, whatever larger ones do.  As it has eight qualities only, the search then halves the gap
between the last that fails and the first that succeeds: ``Codec.encode_between`` writes files between them.

Other codecs make a file for each quality, and the search bisects.  Bisection takes files to get better and larger with
quality, and they do not always: a classifier may lose a label and find it again.  Hence

- a best quality that fails does not end the search: it looks at qualities spread over the scale first;
- below the quality where bisection ends, it goes on down until a part of the scale (``QualityTarget.patience``) has
  failed in a row, and begins that count again at each success;
- of all files that were judged and reach the target, the one with the fewest bytes wins.

An island of success narrower than the gaps between those qualities stays unseen below a longer stretch of failures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from beholder.codecs.base import Codec
from beholder.targets.kinds import QualityTarget, RateTarget, Score, Target

_HALVINGS = 4  # of the gap between two qualities of rnn: the rest is 2 % of the rate
_SAMPLES = 10  # qualities that are looked at where the best one fails
_RATE_PATIENCE = 2  # sizes of neighbouring qualities are out of order by no more, in files of eight codecs


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


def find(codec: Codec, image: Image.Image, target: Target, *, alpha: float = 0.0) -> Found:
    """The smallest file of ``codec`` that reaches a quality, or the best one that keeps a rate.

    Args:
        codec: any available codec.
        image: mode L, LA, RGB or RGBA.
        target: what the file must reach.
        alpha: the observer, for codecs that know one.

    Returns:
        A file that reaches the target; if none does, the one that comes nearest, with ``reached`` False.

    Raises:
        BeholderError: the image does not fit into the codec, or the target cannot be measured.
    """
    files = _Files(codec, image, alpha, _measure(target, image, codec))
    if isinstance(target, RateTarget):
        _largest(files)
    elif files.at_once:
        _first(files)
    else:
        assert isinstance(target, QualityTarget)
        _smallest(files, max(1, math.ceil(target.patience * files.count)))
    if files.at_once and codec.fine:
        files.refine(higher=isinstance(target, RateTarget))
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

    def __init__(self, codec: Codec, image: Image.Image, alpha: float, measure: Callable[[bytes], Score]) -> None:
        scale = codec.scale
        self.ladder = list(range(scale.lowest, scale.highest + 1))
        if not scale.higher_is_better:
            self.ladder.reverse()
        # An encoder that optimises each quality on its own makes no file for nothing.
        self.at_once = codec.encodes_together(image, alpha)
        self._codec, self._image, self._alpha, self._measure = codec, image, alpha, measure
        self._data: dict[int, bytes] = {}
        self._judged: dict[int, _File] = {}
        self._between: list[_File] = []
        if self.at_once:
            self._data = dict(enumerate(codec.encode_many(image, self.ladder, alpha=alpha)))

    @property
    def count(self) -> int:
        return len(self.ladder)

    @property
    def tried(self) -> list[_File]:
        return [*self._judged.values(), *self._between]

    def __getitem__(self, step: int) -> _File:
        if step not in self._judged:
            if step not in self._data:
                self._data[step] = self._codec.encode(self._image, self.ladder[step], alpha=self._alpha)
            data = self._data.pop(step)
            self._judged[step] = _File(step, self.ladder[step], data, self._measure(data))
        return self._judged[step]

    def refine(self, *, higher: bool) -> None:
        """Judge files between the best that was found and its neighbour, above it if ``higher``, halving the gap."""
        reached = [step for step, file in self._judged.items() if file.score.reached]
        if not reached:
            return
        end = max(reached) if higher else min(reached)
        other = end + 1 if higher else end - 1
        if not 0 <= other < self.count:
            return
        good, bad = float(self.ladder[end]), float(self.ladder[other])
        for _ in range(_HALVINGS):
            middle = (good + bad) / 2
            data = self._codec.encode_between(self._image, middle, alpha=self._alpha)
            file = _File(
                end + abs(middle - self.ladder[end]) * (1 if higher else -1), middle, data, self._measure(data)
            )
            self._between.append(file)
            good, bad = (middle, bad) if file.score.reached else (good, middle)

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
    if not files.reaches(top):
        sampled = sorted({round(top * k / _SAMPLES) for k in range(_SAMPLES)}, reverse=True)
        top = next((step for step in sampled if files.reaches(step)), -1)
    low, high = 0, top
    while low < high:
        middle = (low + high) // 2
        if files.reaches(middle):
            high = middle
        else:
            low = middle + 1
    step, misses = high - 1, 0
    while step >= 0 and misses < patience:
        misses = 0 if files.reaches(step) else misses + 1
        step -= 1


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
