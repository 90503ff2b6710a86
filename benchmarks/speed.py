"""Seconds that `rnn` takes to encode and to decode, median over images.

python benchmarks/speed.py --data FOLDER [--images 5] [--quality 8] [--alpha 0] [--effort 0]

Run it on a quiet machine: ONNX Runtime uses every core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

from beholder.codecs.rnn import Rnn
from beholder.reading import load


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of images, such as Kodak's")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--quality", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=0.0)
    parser.add_argument("--effort", type=int, default=0)
    options = parser.parse_args()
    codec = Rnn(effort=options.effort)
    images = [load(path) for path in sorted(options.data.iterdir())[: options.images]]
    codec.decode(codec.encode(images[0], options.quality, alpha=options.alpha))  # loads the networks
    encode, decode = [], []
    for image in images:
        start = time.perf_counter()
        data = codec.encode(image, options.quality, alpha=options.alpha)
        middle = time.perf_counter()
        codec.decode(data)
        encode.append(middle - start)
        decode.append(time.perf_counter() - middle)
    print(
        f"quality {options.quality}, alpha {options.alpha:g}, effort {options.effort}: encode {median(encode):.2f} s, "
        f"decode {median(decode):.2f} s (median of {len(images)})"
    )


if __name__ == "__main__":
    main()
