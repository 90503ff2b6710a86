"""Where gradient graphs lie: ``NAME.gradient.onnx`` beside ``NAME.onnx``."""

from __future__ import annotations

from pathlib import Path


def gradient_file(classifier: Path) -> Path:
    """Path of the gradient graph of the classifier in this ONNX file."""
    return classifier.with_suffix(".gradient.onnx")
