"""Callbacks for Keras' ``fit``: checkpoints, exact places in an epoch, curves, the best weights."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras

from beholder.errors import OutputError
from beholder.files import csv_text, save_atomically
from beholder.training.classifier import state
from beholder.training.classifier.batches import Order
from beholder.training.classifier.module import ClassifierModule
from beholder.training.classifier.settings import ClassifierJob
from beholder.training.classifier.state import Progress

LOG_EVERY = 20
_CHECKPOINT, _STOP = 1, 2


class Stopped(Exception):
    """A signal asked the job to stop; its checkpoint is written."""


class Signals:
    """Remembers SIGINT and SIGTERM; the second one acts as it would without us."""

    def __init__(self) -> None:
        self.seen = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        with suppress(ValueError):  # not in the main thread: then nobody sends us signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self.seen = True
        signal.signal(number, self._before[number])


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the job's place, and writes it down so that another process can go on at the very same step.

    ``fit`` may start in the middle of an epoch: ``order`` then lacks the first batches.
    """

    def __init__(
        self, job: ClassifierJob, module: ClassifierModule, progress: Progress, fixed: dict[str, Any], signals: Signals
    ) -> None:
        super().__init__()
        self.job, self.module, self.progress, self.fixed, self.signals = job, module, progress, fixed, signals
        self.order: Order | None = None
        self.seed = job.settings.seed
        self._validating = False
        self._saved = time.monotonic()

    def save(self) -> None:
        """Write ``last.pt``."""
        progress = self.progress
        progress.skipped = self.module.skipped
        if not self._validating:
            variables = self.module.metric_variables()
            if progress.step:
                sums = [variable.value.clone() for variable in variables]
                self.module.processes.add(sums)
                progress.metrics = [value.cpu() for value in sums]
            else:
                progress.metrics = None
        if self.module.processes.first:
            content = self.fixed | {
                "weights": state.snapshot(self.module.network.weights),
                "optimizer": state.snapshot(self.module.optimizer.variables),
            }
            state.write(self.job.last, content, progress)
        self._saved = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.order is not None:
            self.order.epoch = epoch
        self.progress.epoch = epoch
        if self.progress.step and self.progress.metrics is not None and self.module.processes.first:
            state.put(self.module.metric_variables(), self.progress.metrics, self.job.last)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.module.seed(self.seed, self.progress.epoch, self.progress.step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress.step += 1
        self._check()

    def on_test_begin(self, logs: Any = None) -> None:
        # Keras resets the metrics, which still hold the training's, right after this.
        self.progress.metrics = state.snapshot(self.module.metric_variables())
        self._validating = True

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        # Only a single process can stop here: others may have fewer batches to validate and no longer listen.
        if self.module.processes.world == 1:
            self._check()

    def on_test_end(self, logs: Any = None) -> None:
        self._validating = False

    def end_epoch(self) -> None:
        """The epoch is measured and written down: go on with the next."""
        self.progress.epoch += 1
        self.progress.step = 0
        self.save()
        self._check()

    def _check(self) -> None:
        due = time.monotonic() - self._saved > self.job.settings.checkpoint_seconds
        wish = _STOP if self.signals.seen else _CHECKPOINT if due else 0
        wish = self.module.processes.most(wish, self.module.torch_device)
        if wish:
            self.save()
        if wish == _STOP:
            raise Stopped


class Curves(keras.callbacks.Callback):  # type: ignore[misc]
    """Write TensorBoard's files and ``history.csv``, the weights of the best epoch, and then the checkpoint of the
    epoch."""

    def __init__(self, checkpoints: Checkpoints, steps: int, writer: Any) -> None:
        super().__init__()
        self.checkpoints, self.steps, self.writer = checkpoints, steps, writer

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        progress = self.checkpoints.progress
        done = progress.epoch * self.steps + progress.step
        if self.writer is not None and logs and done % LOG_EVERY == 0:
            for name, value in logs.items():
                self.writer.add_scalar(f"running/{name}", float(value), done)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        checkpoints = self.checkpoints
        progress, module = checkpoints.progress, checkpoints.module
        row = {"epoch": epoch + 1.0, "learning_rate": float(module.optimizer.learning_rate)}
        row |= {name: float(value) for name, value in (logs or {}).items()} | {"skipped": float(module.skipped)}
        progress.history.append(row)
        better = row["val_accuracy"] > progress.best
        progress.best = max(row["val_accuracy"], progress.best)
        if module.processes.first:
            self._write(row, (epoch + 1) * self.steps)
            if better:
                save_weights(module.network, checkpoints.job.best)
        checkpoints.end_epoch()

    def _write(self, row: dict[str, float], done: int) -> None:
        if self.writer is not None:
            for name, value in row.items():
                if name != "epoch":
                    group, _, rest = name.partition("_")
                    tag = f"val/{rest}" if group == "val" else f"train/{name}"
                    self.writer.add_scalar(tag, value, done)
            self.writer.flush()
        lines = [
            [f"{line[name]:.6g}" if name in line else "" for name in row] for line in self.checkpoints.progress.history
        ]
        save_atomically(self.checkpoints.job.folder / "history.csv", csv_text([list(row), *lines]).encode())


def save_weights(network: Any, path: Path) -> None:
    """Write a network's weights in Keras' format, whole or not at all.

    Raises:
        OutputError: the disk is full, the folder has gone, ...
    """
    temporary = path.with_name(f".{path.name.removesuffix('.weights.h5')}-new.weights.h5")
    try:
        network.save_weights(temporary, overwrite=True)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}): make room, then --resume.") from None
    finally:
        temporary.unlink(missing_ok=True)
