"""Classifiers in ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.errors import BadFileError, BeholderError, NotAvailableError, note
from beholder.limits import stop_after
from beholder.observers.base import Float32Array, Observer, ObserverInfo, preprocess
from beholder.observers.classifier_file import answers, session, signature
from beholder.observers.classifier_file.signature import Signature
from beholder.observers.sidecar import Layout, Output

_BATCH = 16  # larger batches are no faster on a CPU and take more memory
_BATCH_BYTES = 256 << 20  # of pictures that are shown at once
SECONDS = 60
"""Time for each picture: the largest networks take 5 seconds, on a processor that is busy with other work 20."""
_REINSTALL = "install Beholder again"
_NO_OPERATOR = "NOT_IMPLEMENTED"  # how ONNX Runtime says that it lacks an operator for a number format
_OPENED = ("_opened", "_signature")


class OnnxObserver(Observer):
    """A classifier with one input of pictures and an output (N, classes).

    :mod:`.classifier_file.signature` tells all that it may be.

    The file is opened at the first prediction, once in a process for all observers of the same file.  Observers can be
    pickled: a copy opens the file again where it is used.
    """

    def __init__(
        self,
        info: ObserverInfo,
        path: Path,
        class_labels: Sequence[tuple[str, str]] | None = None,
        *,
        output: Output = "probabilities",
        output_name: str | None = None,
        layout: Layout | None = None,
        remedy: str = _REINSTALL,
        size: int | None = None,
    ) -> None:
        """Describe a classifier; nothing is opened yet.

        Args:
            info: its name and how it wants its pixels.
            path: the ONNX file.
            class_labels: (wnid or "", readable name) of every class; None for ImageNet's.
            output: what comes out, see :mod:`.sidecar`.
            output_name: the output with the answer; None to tell by shapes and names.
            layout: of the input; None to tell by its shape.
            remedy: what to do about a missing or damaged file.
            size: bytes of the file where they are known.
        """
        super().__init__(info, class_labels)
        self.path = path
        self._output = output
        self._output_name = output_name
        self._layout = layout
        self._remedy = remedy
        self._size = size

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without open sessions."""
        return {key: value for key, value in self.__dict__.items() if key not in _OPENED}

    def unavailable(self) -> str | None:
        """The missing thing, ONNX Runtime or the file, as a sentence; None if neither."""
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
    def _opened(self) -> session.Opened:
        try:
            return session.get(self.path)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            reason = "a file with weights is missing beside it" if _lacks_weights(error) else _first_line(error)
            remedy = "export it in float32" if _NO_OPERATOR in str(error) else self._remedy
            raise NotAvailableError(
                f"The weights of {self.info.name} cannot be opened ({self.path}): {remedy} ({reason})."
            ) from error

    @cached_property
    def _signature(self) -> Signature:
        found = signature.read(
            self._opened.session, self.path, self.info.input_size, self.classes, self._layout, self._output_name
        )
        neutral = set(self.info.mean) == {0.0} and set(self.info.std) == {1.0}
        if np.issubdtype(found.dtype, np.integer) and not neutral:
            note(
                f"{self.path} takes whole numbers 0 to 255 and scales them itself: "
                "mean and std of its sidecar have no effect."
            )
        if found.channels == 1 and (len(set(self.info.mean)) > 1 or len(set(self.info.std)) > 1):
            raise BadFileError(f"{self.path} takes grey pictures: give one number as mean and one as std.")
        return found

    def _run(self, images: Sequence[Image.Image]) -> Float32Array:
        names = [name for _, name in self.labels]
        columns = [self._evaluate(images, output, names) for output in self._signature.answers]
        values = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        last = self._opened.structure.last_step(self._signature.answers[0])
        return answers.probabilities(values, self.classes, self._output, last, self.path)

    def _embed(self, images: Sequence[Image.Image]) -> Float32Array:
        name = self._signature.features
        return self._run(images) if name is None else self._evaluate(images, name, ())

    def _evaluate(self, images: Sequence[Image.Image], output: str, names: Sequence[str]) -> Float32Array:
        """One output, float32 (N, D)."""
        try:
            return self._batches(images, output, names)
        except BeholderError:
            raise
        except Exception as first:
            # What a file leaves open is tried: the other layout, pictures one by one.
            now = self._signature
            others = [replace(now, layout="NHWC", guessed=False)] if now.guessed else []
            if now.batch is None and len(images) > 1:
                others += [replace(other, batch=1) for other in (now, *others)]
            for other in others:
                self._signature = other
                try:
                    return self._batches(images, output, names)
                except BeholderError:
                    raise
                except Exception:
                    self._signature = now
            side = self.info.input_size
            reason = " ".join(str(first).split())[:200]
            raise BadFileError(
                f"{self.path} cannot classify {side} x {side} pixels ({reason}): check its input_size."
            ) from None

    def _batches(self, images: Sequence[Image.Image], output: str, names: Sequence[str]) -> Float32Array:
        found, parts = self._signature, []
        step = found.batch or max(1, min(_BATCH, _BATCH_BYTES // signature.picture_bytes(self.info.input_size)))
        for start in range(0, len(images), step):
            batch = self._input(images[start : start + step])
            count = len(batch)
            if found.batch is not None and count < step:
                batch = np.concatenate([batch, np.repeat(batch[-1:], step - count, axis=0)])
            shown = batch[0] if found.rank == 3 else batch
            values = self._show(output, shown, len(batch))
            parts.append(answers.table(values, len(batch), names)[:count])
        return np.concatenate(parts)

    def _show(self, output: str, shown: npt.NDArray[Any], count: int) -> Any:
        """One output for ``count`` pictures; BadFileError where the file comes to no end."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        with stop_after(SECONDS * count, options):
            try:
                return self._opened.session.run([output], {self._signature.input: shown}, options)[0]
            except Exception:
                if not options.terminate:
                    raise
                raise BadFileError(
                    f"{self.path} comes to no end within {SECONDS * count} seconds: choose another classifier."
                ) from None

    def _input(self, images: Sequence[Image.Image]) -> npt.NDArray[Any]:
        """Pictures as the file wants them."""
        found, info = self._signature, self.info
        if np.issubdtype(found.dtype, np.integer):
            info = replace(info, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        if found.channels == 1:
            batch = preprocess([image.convert("L").convert("RGB") for image in images], info)[:, :1]
        else:
            batch = preprocess(images, info)
        if found.layout == "NHWC":
            batch = batch.transpose(0, 2, 3, 1)
        if found.rank == 2:
            batch = batch.reshape(len(batch), -1)
        return np.ascontiguousarray(batch, dtype=found.dtype)


def _first_line(error: Exception) -> str:
    """The part of ONNX Runtime's message that says something: without its code and its path."""
    text = " ".join(str(error).split()).split(" : ", 2)[-1]
    return (text[:157] + "..." if len(text) > 160 else text).rstrip(".") or type(error).__name__


def _lacks_weights(error: Exception) -> bool:
    text = str(error).lower()
    return "external" in text or ".data" in text
