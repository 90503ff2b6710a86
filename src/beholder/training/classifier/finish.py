"""The end of a job: its best weights become an observer like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from beholder.observers import store
from beholder.observers.base import ObserverInfo
from beholder.observers.keras import export as keras_export
from beholder.observers.keras import zoo as keras_zoo
from beholder.training.classifier.settings import ClassifierJob
from beholder.training.classifier.state import Progress

TITLES = {"stanford_dogs": "Stanford Dogs", "cub200": "CUB-200-2011", "imagenet": "ImageNet"}


def make_observer(job: ClassifierJob, spec: ObserverInfo, classes: list[tuple[str, str]], progress: Progress) -> Path:
    """Write the ONNX graph of the best weights, prove that it agrees with Keras, install it under the job's id.

    Returns:
        The observer's folder.

    Raises:
        NotAvailableError: ONNX Runtime and Keras disagree.
        OutputError: the folder cannot be written.
    """
    network = keras_zoo.build(job.classifier, len(classes))
    network.load_weights(job.best)
    what = TITLES.get(job.dataset, f"{len(classes)} classes")
    info = replace(
        spec,
        name=job.job_id,
        title=f"{spec.title.split(' (')[0]}, trained on {what}",
        parameters=network.count_params(),
        top1=round(100 * progress.best, 2),
        licence=spec.licence if job.pretrained == "imagenet" else "not stated",
        source=f"beholder train classifier, job {job.job_id}",
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / store.MODEL
        keras_export.to_onnx(network, path, info.input_size)
        keras_export.verify(network, path, info)
        return store.install(job.job_id, path, info, classes, force=True)
