"""Classifiers in ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from beholder.errors import BadFileError, NotAvailableError
from beholder.observers.base import Float32Array, Observer, ObserverInfo, preprocess
from beholder.observers.sidecar import Output

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SHIPPED = Path(__file__).parents[1] / "weights" / "observers"
"""The folder of the classifiers that come with Beholder."""
FEATURES = "features"
"""The name of the output that :meth:`Observer.features` looks for."""

_BATCH = 16  # larger batches are no faster on a CPU and take more memory
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_REINSTALL = "install Beholder again"


class OnnxObserver(Observer):
    """A classifier with one input, preprocessed pixels (n, 3, S, S) or (n, S, S, 3), float32 or float16.

    Its first output (or the one named ``probabilities`` or ``logits``) is (n, classes).  The file is opened at the
    first prediction and stays open as long as this object lives.
    """

    def __init__(
        self,
        info: ObserverInfo,
        path: Path,
        class_labels: Sequence[tuple[str, str]] | None = None,
        *,
        output: Output = "probabilities",
        remedy: str = _REINSTALL,
        size: int | None = None,
    ) -> None:
        """``remedy`` is what to do about a missing or damaged file, ``size`` its bytes where they are known."""
        super().__init__(info, class_labels)
        self.path = path
        self._output = output
        self._remedy = remedy
        self._size = size

    def unavailable(self) -> str | None:
        """What is missing, ONNX Runtime or the file, as a sentence; None if neither."""
        if importlib.util.find_spec("onnxruntime") is None:
            return f"{self.info.name} needs ONNX Runtime: pip install onnxruntime."
        try:
            size = self.path.stat().st_size if self.path.is_file() else None
        except OSError:
            size = None
        if size is None:
            return f"The weights of {self.info.name} are missing ({self.path}): {self._remedy}."
        if self._size is not None and size != self._size:
            return f"The weights of {self.info.name} are damaged ({self.path}): {self._remedy}."
        return None

    @cached_property
    def _session(self) -> InferenceSession:
        # Imported here because it takes longer than the rest of Beholder together.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is told by exceptions
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise NotAvailableError(
                f"The weights of {self.info.name} cannot be opened ({self.path}): {self._remedy}."
            ) from error

    @cached_property
    def _signature(self) -> _Signature:
        return _Signature.of(self._session, self)

    def _run(self, images: Sequence[Image.Image]) -> Float32Array:
        values = self._evaluate(images, self._signature.answer)
        if values.shape[1] != self.classes:
            raise BadFileError(
                f"{self.path} tells {values.shape[1]} classes apart, but {self.classes} are named: "
                "give the labels that belong to it."
            )
        return values if self._output == "probabilities" else _probabilities(values, self._output)

    def _embed(self, images: Sequence[Image.Image]) -> Float32Array:
        name = self._signature.features
        return self._run(images) if name is None else self._evaluate(images, name)

    def _evaluate(self, images: Sequence[Image.Image], output: str) -> Float32Array:
        """One output, float32 (n, d)."""
        signature, parts = self._signature, []
        step = signature.batch or _BATCH
        for start in range(0, len(images), step):
            batch = preprocess(images[start : start + step], self.info)
            count = len(batch)
            if signature.batch is not None and count < step:
                batch = np.concatenate([batch, np.repeat(batch[-1:], step - count, axis=0)])
            if signature.channels_last:
                batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
            try:
                values = self._session.run([output], {signature.input: batch.astype(signature.dtype, copy=False)})[0]
                parts.append(np.asarray(values, np.float32).reshape(len(batch), -1)[:count])
            except Exception as error:
                side = self.info.input_size
                reason = " ".join(str(error).split())[:200]
                raise BadFileError(
                    f"{self.path} cannot classify {side} x {side} pixels ({reason}): check its input_size."
                ) from None
        return np.concatenate(parts)


class _Signature:
    """What a file takes and gives."""

    input: str
    dtype: Any
    batch: int | None = None
    """The only batch size that it takes; None for any."""
    channels_last: bool
    answer: str
    features: str | None

    @classmethod
    def of(cls, session: InferenceSession, observer: OnnxObserver) -> _Signature:
        """Read the signature of an open file.

        Raises:
            BadFileError: it is no classifier of square RGB pictures of the observer's size.
        """
        path, side = observer.path, observer.info.input_size
        inputs, outputs = session.get_inputs(), session.get_outputs()
        result = cls()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        if len(shape) != 4 or inputs[0].type not in _FLOATS:
            raise BadFileError(f"{path} does not take one batch of float pictures: it is no image classifier for us.")
        result.channels_last = shape[3] == 3 and shape[1] != 3
        height, width = shape[1:3] if result.channels_last else shape[2:]
        channels = shape[3] if result.channels_last else shape[1]
        # Dimensions that may have any size are strings or None.
        if any(isinstance(size, int) and size != side for size in (height, width)) or channels not in (3, "", None):
            raise BadFileError(
                f"{path} takes pictures of {' x '.join(map(str, shape[1:]))}, not {side} x {side} x 3: "
                "correct its input_size."
            )
        result.input, result.dtype = inputs[0].name, _FLOATS[inputs[0].type]
        result.batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        names = [output.name for output in outputs]
        result.answer = next((name for name in ("probabilities", "logits") if name in names), names[0])
        result.features = FEATURES if FEATURES in names and result.answer != FEATURES else None
        return result


def _probabilities(values: Float32Array, output: Output) -> Float32Array:
    """Softmax of the rows; with ``auto`` only of those that are no probabilities yet."""
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    softmax = shifted / shifted.sum(axis=1, keepdims=True)
    if output == "logits":
        return softmax
    done = (np.abs(values.sum(axis=1) - 1) < 1e-3) & (values.min(axis=1) >= 0)
    return np.where(done[:, np.newaxis], values, softmax)
