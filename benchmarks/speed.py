"""Seconds that `rnn` takes to encode at quality 8 and to decode, median over images.

python benchmarks/speed.py --data FOLDER [--images 5]

Run it on a quiet machine: ONNX Runtime uses every core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

from beholder.codecs.rnn import Rnn
from beholder.image import load


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of images, such as Kodak's")
    parser.add_argument("--images", type=int, default=5)
    options = parser.parse_args()
    codec = Rnn()
    images = [load(path) for path in sorted(options.data.iterdir())[: options.images]]
    codec.decode(codec.encode(images[0], 8))  # loads the networks
    encode, decode = [], []
    for image in images:
        start = time.perf_counter()
        data = codec.encode(image, 8)
        middle = time.perf_counter()
        codec.decode(data)
        encode.append(middle - start)
        decode.append(time.perf_counter() - middle)
    print(f"encode {median(encode):.2f} s, decode {median(decode):.2f} s (median of {len(images)})")


if __name__ == "__main__":
    main()
