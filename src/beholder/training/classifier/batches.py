"""Batches of photographs that are the same whenever they are asked for, so that a job can stop and resume exactly.

The pictures of a batch and their augmentation depend on the seed, the epoch, and the place in it alone. They depend
neither on earlier draws nor on the number of worker processes.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from beholder.data import ClassInfo, Source, decode, open_source
from beholder.errors import BadImageError, BadOptionError, BeholderError
from beholder.observers.base import view
from beholder.training.classifier.pictures import augment
from beholder.training.classifier.settings import Augmentation, ClassifierJob
from beholder.training.distributed import Processes

BROKEN = -1
"""The label of a validation picture that cannot be read: metrics leave it out."""

_ORDER, _AUGMENTATION = 1, 2  # keep the two streams of random numbers apart
_TRIES = 20

Place = tuple[int, int, int]
"""Request to a worker: index of the example, epoch, position in the epoch."""


@dataclass(frozen=True)
class Pictures:
    """The two labelled sources of a job and the classes that they agree on."""

    train: Source
    val: Source
    train_indices: np.ndarray
    val_indices: np.ndarray

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        return self.train.classes


def open_pictures(job: ClassifierJob) -> Pictures:
    """Open a job's training and validation data.

    Raises:
        BadImageError, BadFileError: see :func:`beholder.data.open_source`.
        BadOptionError: no labels, fewer than two classes, or the two do not have the same classes.
    """
    dataset = None if job.dataset == "folder" else job.dataset
    own = job.dataset != "imagenet"
    train = open_source(job.train_data, dataset=dataset, split="train", own_classes=own)
    val = open_source(job.val_data, dataset=dataset, split="val", own_classes=own)
    for source, place in ((train, job.train_data), (val, job.val_data)):
        if not source.labelled:
            raise BadOptionError(f"The pictures in {place} have no labels: sort them into folders named by class.")
    if len(train.classes) < 2:
        raise BadOptionError(f"All pictures in {job.train_data} are of one class: a classifier needs two or more.")
    _check_same_classes(train.classes, val.classes)
    limits = job.settings.limits
    return Pictures(train, val, _some(len(train), limits.train), _some(len(val), limits.val))


def _some(count: int, limit: int | None) -> np.ndarray:
    """Up to ``limit`` of ``count`` indices, evenly spread, for sources are sorted by class."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.linspace(0, count, limit, endpoint=False).astype(np.int64)


def _check_same_classes(train: Sequence[ClassInfo], val: Sequence[ClassInfo]) -> None:
    if len(train) != len(val):
        names = {entry.wnid or entry.name for entry in train} ^ {entry.wnid or entry.name for entry in val}
        example = f" (one side lacks {min(names)})" if names else ""
        raise BadOptionError(
            f"The training data has {len(train)} classes but the validation data {len(val)}{example}: "
            "give both the same class folders."
        )
    for ours, theirs in zip(train, val, strict=True):
        if (ours.wnid or ours.name) != (theirs.wnid or theirs.name):
            raise BadOptionError(
                f"Class {ours.index} is {ours.name!r} in the training data but {theirs.name!r} in the validation data: "
                "give both the same class folders."
            )


class Order(Sampler[list[Place]]):
    """The batches of one epoch: an order of its own for every epoch, of which each process takes its part.

    A last batch that would not be full is left out, unless it is the only one.  Set ``epoch`` before iterating.

    Args:
        indices: (examples,) of the source.
        batch: pictures of a step, all processes together.
        seed: of the order.
        group: the processes.
        steps: the most batches there may be.
        first: the batches before this one are done already.

    Raises:
        BadOptionError: the processes cannot share a batch, or there are fewer pictures than processes.
    """

    def __init__(
        self, indices: np.ndarray, batch: int, seed: int, group: Processes, steps: int | None = None, first: int = 0
    ) -> None:
        if batch % group.world:
            raise BadOptionError(f"A batch of {batch} cannot be shared by {group.world} processes: choose a multiple.")
        _check_enough(indices, group)
        self.indices, self.seed, self.group = indices, seed, group
        # Each process gets as many pictures as the others: averages of gradients need no weights.
        self.batch = batch if len(indices) >= batch else len(indices) // group.world * group.world
        self.steps = min(len(indices) // self.batch, steps or sys.maxsize)
        self.epoch = 0
        self.first = first

    def __len__(self) -> int:
        return self.steps - self.first

    def __iter__(self) -> Iterator[list[Place]]:
        epoch = self.epoch
        order = np.random.default_rng([self.seed, _ORDER, epoch]).permutation(self.indices)
        for step in range(self.first, self.steps):
            start = step * self.batch
            places = range(start + self.group.rank, start + self.batch, self.group.world)
            yield [(int(order[place]), epoch, place) for place in places]


class InTurn(Sampler[list[Place]]):
    """Each picture once, in order; of several processes each takes its part.

    Args:
        indices: (examples,) of the source.
        batch: pictures of a step of one process.
        group: the processes.

    Raises:
        BadOptionError: there are fewer pictures than processes.
    """

    def __init__(self, indices: np.ndarray, batch: int, group: Processes) -> None:
        _check_enough(indices, group)
        self.indices = indices[group.rank :: group.world]
        self.batch = batch

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch)

    def __iter__(self) -> Iterator[list[Place]]:
        for start in range(0, len(self.indices), self.batch):
            yield [(int(i), 0, 0) for i in self.indices[start : start + self.batch]]


def _check_enough(indices: np.ndarray, group: Processes) -> None:
    if len(indices) < group.world:
        raise BadOptionError(f"{len(indices)} pictures are too few for {group.world} processes: start fewer.")


class TrainingSet(Dataset[Any]):
    """Augmented pictures: Place -> ((side, side, 3) uint8, label)."""

    def __init__(self, source: Source, side: int, options: Augmentation, seed: int) -> None:
        self.source, self.side, self.options, self.seed = source, side, options, seed
        self._broken: dict[int, BeholderError] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, place: Place) -> Any:
        index, epoch, position = place
        # A broken picture is replaced by the one after it, which is the same in every run.
        for number in range(index, index + _TRIES):
            example, picture = _picture(self.source, number % len(self.source), self._broken, "replaced by another one")
            if picture is not None:
                rng = np.random.default_rng([self.seed, _AUGMENTATION, epoch, position])
                return augment(picture, self.side, self.options, rng), example.label
        problem = self._broken[(index + _TRIES - 1) % len(self.source)]
        return BadImageError(f"{_TRIES} pictures in a row cannot be used, the last because: {problem}")


class ValidationSet(Dataset[Any]):
    """Pictures as the observer sees them: Place -> ((side, side, 3) uint8, label), BROKEN where there is none."""

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side = source, side
        self._broken: dict[int, BeholderError] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, place: Place) -> Any:
        example, picture = _picture(self.source, place[0], self._broken, "left out")
        if picture is None:
            return np.zeros((self.side, self.side, 3), np.uint8), BROKEN
        return np.asarray(view(picture, self.side)).copy(), example.label


def _picture(source: Source, index: int, broken: dict[int, BeholderError], fate: str) -> Any:
    """An example and its picture, or two Nones for one that is ``broken``, which is told when it is first seen."""
    if index not in broken:
        try:
            example = source[index]
            if example.label is not None:
                return example, decode(example)
            broken[index] = BadImageError(f"{example.name} has no label.")
        except BadImageError as error:
            broken[index] = error
        print(f"Warning: {broken[index]} It is {fate}.", file=sys.stderr, flush=True)
    return None, None


class Loader(DataLoader[Any]):
    """torch's DataLoader, which raises what a worker process could not solve as it was."""

    def __init__(self, pictures: Dataset[Any], order: Sampler[list[Place]], workers: int, pin: bool) -> None:
        super().__init__(
            pictures,
            batch_sampler=order,
            num_workers=workers,
            collate_fn=_collate,
            persistent_workers=workers > 0,
            pin_memory=pin,
            worker_init_fn=_quiet,
        )

    def __iter__(self) -> Any:
        # A generator: Keras asks for the next epoch's batches too early, before it says which epoch that is.
        for batch in super().__iter__():
            if isinstance(batch, BeholderError):
                raise batch
            yield batch


def _collate(items: list[Any]) -> Any:
    for item in items:
        if isinstance(item, BeholderError):
            return item
    pixels = torch.from_numpy(np.stack([item[0] for item in items]))
    return pixels, torch.tensor([item[1] for item in items], dtype=torch.int64)


def _quiet(_worker: int) -> None:
    """Ctrl-C and SIGTERM are for the main process, whose handler workers inherit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
