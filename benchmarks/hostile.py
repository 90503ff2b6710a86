"""Seconds, peak memory and answer of the command line for files made to harm it, as a Markdown table.

    python benchmarks/hostile.py --data FOLDER

A file of FOLDER is decompressed if it is compressed, else compressed at quality 1 and decompressed again as TIFF.  A
.bhd file of another model gets the identity of the one that ships, or it would be refused for that alone.  Each command
has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from beholder.codecs.rnn import Rnn, bitstream
from beholder.limits import limit_pixels

MOST_PIXELS = 1 << 40
"""Limit while a header is read here."""
PICTURES = {".png", ".jpg", ".tif", ".webp"}


@dataclass(frozen=True)
class Answer:
    """Result of one command: processor seconds, peak in MB, exit status, last line of standard error or output."""

    seconds: float
    peak: float
    status: int
    line: str


def ask(*words: str) -> Answer:
    """Run ``beholder`` with these words."""
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-W", "ignore", "-m", "beholder", *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Answer(used.ru_utime + used.ru_stime, used.ru_maxrss / unit, process.returncode, lines[-1] if lines else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of hostile files")
    options = parser.parse_args()
    print("| file | bytes | command | processor s | peak MB | exit | answer |")
    print("| --- | ---: | --- | ---: | ---: | ---: | --- |")
    for path in sorted(options.data.iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            coded, picture = Path(folder) / "coded.bhd", str(Path(folder) / "picture.tif")
            if path.suffix in PICTURES:
                show(path, "compress", ask("compress", str(path), "-q", "1", "-o", str(coded)), folder)
            elif path.suffix == ".bhd":
                with limit_pixels(MOST_PIXELS):
                    stream = bitstream.read(path.read_bytes())
                coded.write_bytes(bitstream.write(replace(stream, model=Rnn().model.identity)))
            elif path.suffix == ".bpg":
                coded = path
            if coded.is_file():
                show(path, "decompress", ask("decompress", str(coded), "-o", picture), folder)


def show(path: Path, command: str, answer: Answer, folder: str) -> None:
    """Print a row; names of folders are left out of the answer."""
    line = answer.line.replace(f"{folder}{os.sep}", "").replace(f"{path.parent}{os.sep}", "").replace("|", "\\|")
    print(
        f"| {path.name} | {path.stat().st_size:,} | {command} | {answer.seconds:.1f} | {answer.peak:.0f} | "
        f"{answer.status} | {line} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
