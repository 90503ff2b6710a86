"""One job's training: ``fit`` from where it stopped to the last epoch."""

from __future__ import annotations

import os
import sys
from typing import Any

import keras
import torch

from beholder.errors import BadFileError
from beholder.observers.base import ObserverInfo
from beholder.training.classifier import network, state
from beholder.training.classifier.batches import (
    InTurn,
    Loader,
    Order,
    TrainingSet,
    ValidationSet,
    open_pictures,
)
from beholder.training.classifier.callbacks import Checkpoints, Curves, Signals, Stopped
from beholder.training.classifier.module import ClassifierModule, optimizer
from beholder.training.classifier.place import prepare_folder
from beholder.training.classifier.settings import ClassifierJob
from beholder.training.classifier.state import Progress
from beholder.training.distributed import Processes


class Training:
    """Network, optimiser, pictures and progress of a job."""

    def __init__(self, job: ClassifierJob, spec: ObserverInfo, processes: Processes, cuda: bool) -> None:
        self.job, self.processes, self.cuda = job, processes, cuda
        settings, side = job.settings, spec.input_size
        pictures = open_pictures(job)
        self.classes = [(entry.wnid, entry.name) for entry in pictures.classes]
        self._indices = pictures.train_indices
        self.steps = len(self._order())
        self._train_set = TrainingSet(pictures.train, side, settings.augmentation, settings.seed)
        self._val_set = ValidationSet(pictures.val, side)
        self._val_order = InTurn(pictures.val_indices, max(1, settings.batch // processes.world), processes)
        keras.utils.set_random_seed(settings.seed)
        with network.precision(precision(settings.precision, cuda)):
            net = network.build(job, len(self.classes))
            self.module = ClassifierModule(net, spec, settings, processes)
            self.module.compile(optimizer(settings, self.steps), loss=None, jit_compile=False)
        self.module.optimizer.build(net.trainable_variables)
        self.progress = Progress()
        self._fixed: dict[str, Any] = {
            "terms": job.terms(),
            "classes": [list(entry) for entry in self.classes],
            "counts": [len(pictures.train_indices), len(pictures.val_indices)],
        }
        if job.resume:
            self._load()
        processes.broadcast([variable.value for variable in net.weights])

    def _order(self, first: int = 0) -> Order:
        settings = self.job.settings
        steps = settings.limits.steps
        return Order(self._indices, settings.batch, settings.seed, self.processes, steps, first)

    def _load(self) -> None:
        found = state.read(self.job.last)
        for key, what in (("classes", "classes"), ("counts", "numbers of pictures")):
            if found[key] != self._fixed[key]:
                raise BadFileError(
                    f"The job {self.job.job_id} was started with other {what}: resume with the same pictures."
                )
        state.put(self.module.network.weights, found["weights"], self.job.last)
        state.put(self.module.optimizer.variables, found["optimizer"], self.job.last)
        self.progress = found["progress"]
        self.module.skipped = self.progress.skipped

    def run(self) -> bool:
        """Train to the last epoch; False if a signal stopped it before."""
        job, progress = self.job, self.progress
        writer: Any = None
        if self.processes.first:
            from torch.utils.tensorboard import SummaryWriter

            prepare_folder(job)
            done = progress.epoch * self.steps + progress.step
            writer = SummaryWriter(str(job.folder / "tensorboard"), purge_step=done + 1)
        try:
            with Signals() as signals:
                checkpoints = Checkpoints(job, self.module, progress, self._fixed, signals)
                if not job.resume:
                    checkpoints.save()
                self._fit(checkpoints, Curves(checkpoints, self.steps, writer))
        except Stopped:
            return False
        finally:
            if writer is not None:
                writer.close()
        return True

    def _fit(self, checkpoints: Checkpoints, curves: Curves) -> None:
        progress, epochs = self.progress, self.job.settings.epochs
        validation = self._loader(self._val_set, self._val_order)
        if progress.epoch < epochs and progress.step == self.steps:
            # Stopped in the middle of validation: only that is missing from the epoch.
            checkpoints.on_epoch_begin(progress.epoch)
            logs = {name: float(value) for name, value in self.module.get_metrics_result().items()}
            measured = self.module.evaluate(validation, verbose=0, callbacks=[checkpoints], return_dict=True)
            logs |= {f"val_{name}": value for name, value in measured.items()}
            print(f"Epoch {progress.epoch + 1}/{epochs}, the rest:", *(f"- {k}: {v:.4f}" for k, v in logs.items()))
            curves.on_epoch_end(progress.epoch, logs)
        while progress.epoch < epochs:
            order = self._order(progress.step)
            checkpoints.order = order
            # The rest of an epoch first, for Keras wants all epochs of one fit to have the same length.
            self.module.fit(
                self._loader(self._train_set, order),
                initial_epoch=progress.epoch,
                epochs=progress.epoch + 1 if progress.step else epochs,
                validation_data=validation,
                callbacks=[checkpoints, curves],
                shuffle=False,
                verbose=(1 if sys.stdout.isatty() else 2) if self.processes.first else 0,
            )

    def _loader(self, pictures: Any, order: Any) -> Loader:
        workers = self.job.settings.workers
        if workers is None:
            workers = min(8, max(1, (os.cpu_count() or 1) // self.processes.world // 2))
        return Loader(pictures, order, workers, pin=self.cuda)


def precision(wish: str, cuda: bool) -> str:
    """A Keras dtype policy: on ``auto`` float32, or half precision on GPUs."""
    if wish != "auto":
        return wish
    if not cuda:
        return "float32"
    return "mixed_bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "mixed_float16"
