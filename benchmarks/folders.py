"""Seconds that a folder takes with one worker process and with more, and the ratio, as a table.

    python benchmarks/folders.py --data FOLDER [--images 24] [--quality 4] [--jobs 1 2] [--runs 3]

Runs the whole commands `beholder compress` and `beholder decompress` on a folder of the first images, and prints
medians. CPU seconds tell whether workers get in each other's way: they should be about as many with more workers.  Run
it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, such as Kodak's")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--quality", type=int, default=4)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, coded, decoded = (folder / part for part in ("photos", "coded", "decoded"))
        photos.mkdir()
        for path in [path for path in sorted(options.data.iterdir()) if path.is_file()][: options.images]:
            shutil.copy(path, photos)
        commands = {
            "compress": ["compress", str(photos), "-o", str(coded), "--quality", str(options.quality)],
            "decompress": ["decompress", str(coded), "-o", str(decoded)],
        }
        print(f"{len(list(photos.iterdir()))} photographs, quality {options.quality}, median of {options.runs} runs.\n")
        print("| command | jobs | seconds | CPU seconds | times as fast |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for command, words in commands.items():
            slowest = 0.0
            for jobs in options.jobs:
                times = [run([*words, "--jobs", str(jobs), "--force", "--quiet"]) for _ in range(options.runs)]
                seconds, cpu = (median(column) for column in zip(*times, strict=True))
                slowest = slowest or seconds
                print(f"| {command} | {jobs} | {seconds:.1f} | {cpu:.1f} | {slowest / seconds:.2f} |", flush=True)


def run(words: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of CPU that `beholder` takes, with no limit on its threads."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    before, start = _cpu(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "beholder", *words], check=True, env=free)
    return time.perf_counter() - start, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
