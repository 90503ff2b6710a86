"""The machine's side of the loss: how differently image classifiers see two pictures.

Several classifiers that do not resemble each other stand in for unknown classifiers. Features that both
EfficientNet-Lite0 and SqueezeNet need transfer to others. Both are the observers that ship. VGG-16 is there for the
`paper` architecture.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder import weights
from beholder.codecs.rnn.torch.layers import mixed_precision
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.extras import install_command

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Means of blue, green and red that the networks of Caffe's time subtract."""


class _Shipped(nn.Module):
    """A classifier as it ships: weights of its ONNX file, rounded to 8 and 16 bits.

    Raises:
        NotAvailableError: the package onnx is not installed.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        for constant, value in _constants(weights.OBSERVERS / f"{name}.onnx").items():
            self.register_buffer(constant.replace(".", "_"), value, persistent=False)

    def _conv(self, name: str, x: Tensor, stride: int = 1, odd: bool = False) -> Tensor:
        """Convolve with TensorFlow's padding "same", whose odd pixel goes after; depthwise where the weights are.

        Sides count as even ones, as in the files that ship; ``odd`` looks at them, as SqueezeNet's does.
        """
        weight, bias = getattr(self, f"{name}_w"), getattr(self, f"{name}_b")
        size, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        if stride == 1:
            return F.conv2d(x, weight, bias, padding=size // 2, groups=groups)
        ends = [side % stride if odd else 0 for side in (x.shape[3], x.shape[2])]
        pads = [size - (end or stride) for end in ends]
        x = F.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
        return F.conv2d(x, weight, bias, stride, groups=groups)


class Lite0(_Shipped):
    """EfficientNet-Lite0 (Tan and Le, 2019) as it ships."""

    BLOCKS = 16
    HALVES = (1, 3, 5, 11)
    """Blocks whose depthwise convolution has stride 2."""
    COMPARED = (0, 2, 4, 10, 15)
    """Blocks that are compared: strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__("efficientnet_lite0")

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """image (N, 3, H, W) in [0, 1] -> feature maps of the stages, logits (N, 1000)."""
        x = F.relu6(self._conv("stem_conv", (image * 255 - 127) / 128, stride=2))
        found = []
        for block in range(self.BLOCKS):
            before = x
            if block > 0:
                x = F.relu6(self._conv(f"block{block}_expand_conv", x))
            x = F.relu6(self._conv(f"block{block}_depthwise_conv", x, stride=2 if block in self.HALVES else 1))
            x = self._conv(f"block{block}_project_conv", x)
            if x.shape == before.shape:
                x = x + before
            if block in self.COMPARED:
                found.append(x)
        pooled = F.relu6(self._conv("head_conv", x)).mean((2, 3))
        return found, F.linear(pooled, self.predictions_w, self.predictions_b)  # type: ignore[arg-type]


class SqueezeNet(_Shipped):
    """SqueezeNet 1.1 (Iandola et al., 2016) as it ships."""

    POOL_BEFORE = (2, 4, 6)
    COMPARED = (2, 3, 5, 9)
    """Fire modules that are compared: strides 4, 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__("squeezenet")
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """image (N, 3, H, W) in [0, 1] -> feature maps, logits (N, 1000)."""
        x = image.flip(1) * 255 - self.mean  # type: ignore[operator]
        x = F.relu(self._conv("conv1", x, stride=2, odd=True))
        found = []
        for fire in range(2, 10):
            if fire in self.POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(self._conv(f"fire{fire}_squeeze1x1", x))
            one = self._conv(f"fire{fire}_expand1x1", x)
            three = self._conv(f"fire{fire}_expand3x3", x)
            x = F.relu(torch.cat([one, three], 1))
            if fire in self.COMPARED:
                found.append(x)
        return found, self._conv("predictions", x).mean((2, 3))


class Vgg16(nn.Module):
    """VGG-16 (Simonyan and Zisserman, 2015) up to relu5_1, as the paper's loss uses it.

    Args:
        file: Keras' ``vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`` (or the whole network's), or ``vgg16.npy``.

    Raises:
        BadFileError: the file is missing or holds other weights.
    """

    LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1")
    COMPARED = ("1_1", "5_1")

    def __init__(self, file: Path) -> None:
        super().__init__()
        for layer in self.LAYERS:
            kernel, bias = _vgg_weights(file, layer)
            self.register_buffer(f"w{layer}", torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()), persistent=False)
            self.register_buffer(f"b{layer}", torch.from_numpy(bias.copy()), persistent=False)
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """image (N, 3, H, W) in [0, 1] -> relu1_1 and relu5_1; there are no logits."""
        x = image.flip(1) * 255 - self.mean  # type: ignore[operator]
        found = []
        for layer in self.LAYERS:
            if layer[2] == "1" and layer[0] != "1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f"w{layer}"), getattr(self, f"b{layer}"), padding=1))
            if layer in self.COMPARED:
                found.append(x)
        return found, None


NETWORKS = {"efficientnet_lite0": Lite0, "squeezenet": SqueezeNet}


class FeatureDistortion(nn.Module):
    """Distance of classifiers' features of two pictures and divergence of their predictions; a logarithm.

    Features: mean squared difference relative to the features' energy, mean over layers and networks.  Decisions:
    Kullback-Leibler divergence of the class probabilities.

        d = (1 - logits) log(features + 1e-4) + logits log(divergence + 1e-3)

    Args:
        networks: names of :data:`NETWORKS`.
        logits: weight of the decisions, in [0, 1].

    Raises:
        BadOptionError: an unknown network, none, or a weight outside its range.
        NotAvailableError: the package onnx is not installed.
    """

    def __init__(self, networks: Sequence[str] = ("efficientnet_lite0",), logits: float = 0.0) -> None:
        super().__init__()
        unknown = [name for name in networks if name not in NETWORKS]
        if unknown or not networks or not 0 <= logits <= 1:
            raise BadOptionError(
                f"The machine's loss knows {', '.join(NETWORKS)} and weights of 0 to 1 for their logits: correct "
                "`machine` in the config."
            )
        self.networks = nn.ModuleList(NETWORKS[name]() for name in networks)
        self.logits = logits
        self.mixed = False

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """One value a sample; inputs (N, 3, H, W) in [0, 1]."""
        distances, divergences = [], []
        for network in self.networks:
            with mixed_precision(self.mixed, original):
                with torch.no_grad():
                    wanted_features, wanted = network(original)
                features, logits = network(decoded)
            for have, want in zip(map(Tensor.float, features), map(Tensor.float, wanted_features), strict=True):
                energy = want.square().mean((1, 2, 3)) + 1e-6
                distances.append((have - want).square().mean((1, 2, 3)) / energy)
            if self.logits:
                divergence = F.kl_div(
                    logits.float().log_softmax(1), wanted.float().log_softmax(1), reduction="none", log_target=True
                )
                divergences.append(divergence.sum(1))
        features_part = torch.log(torch.stack(distances).mean(0) + 1e-4)
        if not self.logits:
            return features_part
        decisions = torch.log(torch.stack(divergences).mean(0).clamp(min=0) + 1e-3)
        return (1 - self.logits) * features_part + self.logits * decisions


def _constants(file: Path) -> dict[str, Tensor]:
    """Weights of an ONNX file that :mod:`beholder.observers.keras.onnx_graph` wrote, as float32."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise NotAvailableError(
            f"The loss for alpha > 0 needs the package onnx: install it with {install_command('train')}."
        ) from None
    graph = onnx.load(str(file)).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # weights pass through Cast and Mul
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
        elif node.op_type == "Mul" and all(name in values for name in node.input):
            values[node.output[0]] = values[node.input[0]] * values[node.input[1]]
    names = [name for node in graph.node if node.op_type in ("Conv", "Gemm") for name in node.input[1:]]
    return {name: torch.from_numpy(np.array(values[name], np.float32)) for name in names}


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled NumPy arrays and nothing else: a weight file must not run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _numpy_table(file: Path) -> dict[str, Any]:
    """The dictionary in a ``.npy`` file that Python 2 may have written."""
    with open(file, "rb") as stream:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        reader(stream)
        content = _ArraysOnly(stream, encoding="latin1").load()
    table: dict[str, Any] = content.item()
    return table


def _vgg_weights(file: Path, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (3, 3, in, out) and bias of layer "5_1", from Keras' HDF5 or the reference's NumPy file."""
    try:
        if file.suffix == ".npy":
            kernel, bias = _numpy_table(file)[f"conv{layer}"]
        else:
            import h5py

            name = f"block{layer[0]}_conv{layer[2]}"
            with h5py.File(file) as archive:
                group = archive.get("model_weights", archive)
                found: list[np.ndarray] = []
                group[name].visititems(lambda _, item: found.append(item[()]) if hasattr(item, "shape") else None)
            kernel, bias = sorted(found, key=np.ndim, reverse=True)
    except Exception as error:  # NumPy and h5py raise whatever the bytes provoke
        raise BadFileError(
            f"{file} does not hold VGG-16's layer {layer} ({error}): give Keras' notop .h5 or vgg16.npy."
        ) from None
    if np.shape(kernel)[:2] != (3, 3) or np.shape(bias) != np.shape(kernel)[3:]:
        raise BadFileError(f"{file} holds another network than VGG-16: give Keras' notop .h5 or vgg16.npy.")
    return np.asarray(kernel, np.float32), np.asarray(bias, np.float32)
