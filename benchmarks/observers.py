"""Images per second of every observer: ONNX Runtime (as Beholder runs them) against Keras, batch 1 and 16.

    python benchmarks/observers.py [--observers mobilenet,vgg16] [--threads 1] [--seconds 3] [--output FILE]

Needs the extra ``train``.  Networks have random weights, which costs the same time as trained ones.  Both compute the
same preprocessed pixels on the same threads, taking turns in short stretches so that a busy moment of the machine hits
both; the figure is that of all stretches together.  Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.observers.keras import export as keras_export
from beholder.observers.keras import zoo as keras_zoo
from beholder.observers.keras.backend import require_keras

BATCHES = (1, 16)
STRETCHES = 3
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "observers.md"


@dataclass
class Stopwatch:
    """Images and seconds of one contestant."""

    run: Callable[[], object]
    batch: int
    images: int = 0
    seconds: float = 0.0

    def stretch(self, seconds: float) -> None:
        """Run for about ``seconds``, at least once."""
        start = time.perf_counter()
        while True:
            self.run()
            self.images += self.batch
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                break
        self.seconds += elapsed

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds


def measure(name: str, threads: int, seconds: float) -> list[float]:
    """Images per second: ONNX Runtime then Keras, for each batch size."""
    import onnxruntime
    import torch

    info, model = keras_zoo.spec(name), keras_zoo.build(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    graph = keras_export.to_bytes(model, info.input_size)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    del graph
    rates = []
    for batch in BATCHES:
        shape = (batch, info.input_size, info.input_size, 3)
        pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        tensor = torch.from_numpy(pixels)

        def with_onnx(first: Any = first) -> object:
            return session.run(["probabilities"], {"pixels": first})

        def with_keras(tensor: Any = tensor) -> object:
            with torch.inference_mode():
                return model(tensor, training=False)

        pair = [Stopwatch(with_onnx, batch), Stopwatch(with_keras, batch)]
        for watch in pair:  # memory is laid out and kernels are chosen in the first runs
            watch.run()
        for _ in range(STRETCHES):
            for watch in pair:
                watch.stretch(seconds / STRETCHES)
        rates += [watch.rate for watch in pair]
    return rates


def table(rows: list[tuple[str, list[float]]], threads: int) -> str:
    """The Markdown page."""
    import onnxruntime
    import torch

    keras = require_keras()
    lines = [
        "# Observers: images per second",
        "",
        f"{platform.machine()}, {threads} of {os.cpu_count()} cores; ONNX Runtime {onnxruntime.__version__}, "
        f"Keras {keras.__version__} on torch {torch.__version__}, float32. Preprocessed pixels to probabilities. "
        f"Made by `python benchmarks/observers.py --threads {threads}`.",
        "",
        "| observer | input | weights | ONNX, batch 1 | Keras, batch 1 | ONNX, batch 16 | Keras, batch 16 | ratios |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rates in rows:
        info = keras_zoo.spec(name)
        cells = [name, f"{info.input_size} px", f"{(info.parameters or 0) / 1e6:.1f} M"]
        cells += [f"{rate:.1f}" for rate in rates] + [f"{rates[0] / rates[1]:.1f}x, {rates[2] / rates[3]:.1f}x"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--observers", default=",".join(keras_zoo.names()), help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=1, help="cores for both")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    require_keras()
    import torch

    torch.set_num_threads(options.threads)
    rows = []
    for name in options.observers.split(","):
        rows.append((name, measure(name, options.threads, options.seconds)))
        print(name, " ".join(f"{rate:.1f}" for rate in rows[-1][1]), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(table(rows, options.threads), encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
