"""Interface of all observers (image classifiers): its description, its view of an image, its answers.

Data flows one way: image of any size -> ``view`` -> square RGB image -> ``predict`` -> probabilities.
An evaluation that crops by its own protocol skips ``view`` and calls ``predict``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.errors import BadImageError, BadOptionError, NotAvailableError
from beholder.observers import labels
from beholder.pictures.modes import flatten

Float32Array = npt.NDArray[np.float32]

DEFAULT_TOPK = 5
_CROP_RATIO = 0.875  # crop side / resized short side: 224 out of 256, the usual ImageNet evaluation


@dataclass(frozen=True)
class ObserverInfo:
    """A published classifier: where it comes from and how it wants its pixels."""

    name: str
    """Registry key, as given to ``--classifier``."""
    title: str
    """One line for listings."""
    input_size: int
    """Side of the square input in pixels."""
    parameters: int | None
    """Number of trained weights; None where nobody says."""
    top1: float | None
    """Published top-1 accuracy in percent (on ImageNet's validation set for its 1000 classes); None if unpublished."""
    licence: str
    """SPDX identifier of the weights' licence."""
    source: str
    """Where the weights come from."""
    paper: str
    """Title and arXiv number."""
    mean: tuple[float, float, float]
    """Subtracted from pixels 0..255, in ``channel_order``."""
    std: tuple[float, float, float]
    """Divides the difference, in ``channel_order``."""
    channel_order: Literal["RGB", "BGR"] = "RGB"


@dataclass(frozen=True)
class Prediction:
    """One line of an observer's answer."""

    index: int
    """Class index, 0-based."""
    wnid: str
    """WordNet id of the synset, such as ``n01440764``; "" where there is none."""
    label: str
    """Readable name."""
    probability: float
    """In [0, 1]."""


class Observer(ABC):
    """An image classifier; over the 1000 classes of ImageNet (ILSVRC-2012) unless it names its own."""

    info: ObserverInfo

    def __init__(self, info: ObserverInfo, class_labels: Sequence[tuple[str, str]] | None = None) -> None:
        """``class_labels`` are (wnid or "", readable name) of every class in order; None for ImageNet's."""
        self.info = info
        self._labels = class_labels

    @property
    def labels(self) -> Sequence[tuple[str, str]]:
        """(WordNet id or "", readable name) of every class."""
        return labels.imagenet() if self._labels is None else self._labels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return labels.COUNT if self._labels is None else len(self._labels)

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this observer cannot run here, as a sentence that says what to do; None if it can."""

    @abstractmethod
    def _run(self, images: Sequence[Image.Image]) -> Float32Array:
        """Probabilities (N, classes) of at least one checked image."""

    def _embed(self, images: Sequence[Image.Image]) -> Float32Array:
        """Result of :meth:`features` for at least one checked image."""
        return self._run(images)

    def ready(self) -> bool:
        """Whether everything that ``predict`` needs is installed and prepared."""
        return self.unavailable() is None

    def predict(self, images: Sequence[Image.Image]) -> Float32Array:
        """Classify a batch.

        Args:
            images: mode RGB, each exactly ``input_size`` x ``input_size``; any number of them.

        Returns:
            float32 array (N, classes); each row sums to 1.

        Raises:
            BadImageError: an image has another mode or size.
            BadFileError: the classifier's file is damaged, or not what its sidecar says.
            NotAvailableError: see ``unavailable``.
        """
        self._check(images)
        if not images:
            return np.zeros((0, self.classes), np.float32)
        return self._run(images)

    def features(self, images: Sequence[Image.Image]) -> Float32Array:
        """Describe a batch by the network's pooled features before its last layer, to compare pictures with.

        Classifiers whose file does not name that layer ``features`` give their probabilities instead.

        Args:
            images: as for :meth:`predict`, at least one.

        Returns:
            float32 array (N, D); D depends on the network.

        Raises:
            BadOptionError: there is no image.
            BadImageError, BadFileError, NotAvailableError: as for :meth:`predict`.
        """
        self._check(images)
        if not images:
            raise BadOptionError("Features need at least one image.")
        return self._embed(images)

    def _check(self, images: Sequence[Image.Image]) -> None:
        reason = self.unavailable()
        if reason is not None:
            raise NotAvailableError(reason)
        side = self.info.input_size
        for image in images:
            if image.mode != "RGB" or image.size != (side, side):
                raise BadImageError(
                    f"{self.info.name} classifies RGB images of {side} x {side} pixels, not {image.mode} of "
                    f"{image.width} x {image.height}: pass them through its view() first."
                )

    def view(self, image: Image.Image) -> Image.Image:
        """Pixels that the observer sees of an image: RGB, ``input_size`` x ``input_size``; see :func:`view`."""
        return view(image, self.info.input_size)

    def classify(self, image: Image.Image, topk: int = 5) -> list[Prediction]:
        """The ``topk`` most probable classes of an image of any mode and size, best first.

        Raises:
            BadOptionError: ``topk`` is not within 1..classes (5 is always possible and gives all of fewer classes).
            NotAvailableError: see ``unavailable``.
        """
        self.check_topk(topk)
        return self.best(self.predict([self.view(image)])[0], topk)

    def check_topk(self, topk: int) -> None:
        """Raise BadOptionError unless ``topk`` predictions are possible: up to all classes, and always 1 to 5."""
        if not 1 <= topk <= max(self.classes, DEFAULT_TOPK):
            raise BadOptionError(f"Top {topk} is not possible: choose 1 to {self.classes} predictions.")

    def best(self, probabilities: Float32Array, topk: int = DEFAULT_TOPK) -> list[Prediction]:
        """The ``topk`` most probable of (classes,) probabilities, best first; of equals the lower index first."""
        order = np.argsort(-probabilities, kind="stable")[:topk]
        return [Prediction(int(i), *self.labels[int(i)], float(probabilities[i])) for i in order]


def view(image: Image.Image, side: int) -> Image.Image:
    """Pixels that a classifier sees of an image: RGB, ``side`` x ``side``.

    The short side is resized to ``round(side / 0.875)`` with antialiased bicubic interpolation, then the centre is
    cropped; opacity is composited on white.

    Args:
        image: any mode and size.
    """
    rgb = flatten(image).convert("RGB")
    short = min(rgb.size)
    resized = round(side / _CROP_RATIO)
    # Only the central square is resized: the rest would be cropped, and a strip of 1 x 10 million
    # pixels would fill the memory.  The margin hides that the filter does not see past the square.
    left, top = (rgb.width - short) // 2, (rgb.height - short) // 2
    square = rgb.crop((left, top, left + short, top + short))
    square = square.resize((resized, resized), Image.Resampling.BICUBIC)
    margin = (resized - side) // 2
    return square.crop((margin, margin, margin + side, margin + side))


def preprocess(images: Sequence[Image.Image], info: ObserverInfo) -> Float32Array:
    """Stack RGB images to a network's input: float32 (N, 3, S, S), (pixel - mean) / std, ordered channels."""
    batch: Float32Array = np.stack([np.asarray(image, np.float32) for image in images])
    if info.channel_order == "BGR":
        batch = batch[..., ::-1]
    batch -= np.array(info.mean, np.float32)
    batch /= np.array(info.std, np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
