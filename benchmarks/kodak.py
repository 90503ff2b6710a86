"""Rate and quality of the codecs on the Kodak photographs, beside published curves.

    python benchmarks/kodak.py --codecs rnn,jpeg,webp,bpg --output docs/results/kodak

Every image is encoded at every quality; another process, which sees nothing but the bytes, decodes them and
compares with the original.  Rates count whole files.  Written to the output folder: ``kodak.csv`` (one row a
file), ``summary.csv`` (means over images), ``bd_rates.csv``, ``kodak.png`` and ``kodak.svg`` (see ``kodak_figure.py``).
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, TypeVar

from kodak_figure import Curve, curve, draw, published_curve, read_published, series
from PIL import Image

from beholder import codecs
from beholder.codecs import Codec
from beholder.errors import BadOptionError, BeholderError
from beholder.metrics import bd_rate, ms_ssim, psnr
from beholder.reading import load

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("BEHOLDER_DATA", ROOT.parent / "shared" / "data"))
IMAGE_SUFFIXES = {".png", ".webp", ".bmp", ".tif", ".tiff"}
KODAK_IMAGES = 24
GRIDS = {
    "rnn": range(1, 9),
    "rnn effort 2": (1, 2, 3, 4, 6, 8),
    "jpeg": (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90),
    "webp": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90),
    "bpg": range(20, 48, 3),
    "avif": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90),
    "jpeg2000": (5, 10, 15, 20, 25, 30, 35, 40, 45, 50),
    "jxl": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90),
    "heic": (5, 10, 20, 30, 40, 50, 60, 70, 80),
}
PUBLISHED_ANCHOR = "BPG 4:4:4"
PUBLISHED_RATES = (0.125, 1.0)  # the range of the published BD-rates


R = TypeVar("R", bound="Row")


@dataclass(frozen=True)
class Job:
    """One file to make: an image, a codec and its settings."""

    path: Path
    codec: str
    quality: int
    alpha: float

    @property
    def key(self) -> tuple[str, str, int, float]:
        return self.path.stem, self.codec, self.quality, self.alpha


@dataclass(frozen=True)
class Row:
    """One measured file; rates in bits per pixel, times in seconds."""

    image: str
    codec: str
    quality: int
    alpha: float
    width: int
    height: int
    bytes: int
    bpp: float
    ms_ssim: float
    psnr: float
    encode_s: float
    decode_s: float


@functools.cache
def open_codec(name: str) -> Codec:
    """The codec of a name as in ``--codecs``: "rnn", with an effort "rnn effort 2", or "rnn effort 1 psnr"."""
    plain, _, options = name.partition(" effort ")
    effort, _, human = options.partition(" ")
    if effort and not effort.isdecimal():
        raise BadOptionError(f'{name!r} is no codec here: write it like "rnn effort 2" or "rnn effort 1 psnr".')
    return codecs.open_codec(plain, effort=int(effort or 0), human=human or None)


def encode(job: Job) -> tuple[bytes, float]:
    """Compress one image; runs in an encoder process."""
    image = load(job.path)
    start = time.perf_counter()
    data = open_codec(job.codec).encode(image, job.quality, alpha=job.alpha)
    return data, time.perf_counter() - start


def decode_and_measure(job: Job, data: bytes, encode_s: float) -> Row:
    """Decompress bytes that another process made, and compare; runs in a decoder process."""
    return decode_and_compare(job, data, encode_s)[0]


def decode_and_compare(job: Job, data: bytes, encode_s: float) -> tuple[Row, Image.Image, Image.Image]:
    """As :func:`decode_and_measure`, with the original and the decoded picture."""
    start = time.perf_counter()
    decoded = open_codec(job.codec).decode(data)
    decode_s = time.perf_counter() - start
    original = load(job.path)
    bpp = 8 * len(data) / (original.width * original.height)
    row = Row(
        *job.key,
        *original.size,
        len(data),
        round(bpp, 6),
        round(ms_ssim(original, decoded), 6),
        round(psnr(original, decoded), 4),
        round(encode_s, 4),
        round(decode_s, 4),
    )
    return row, original, decoded


def measure(
    jobs: Sequence[Job],
    table: Path,
    workers: int,
    kind: type[Row] = Row,
    measure_file: Callable[[Job, bytes, float], Row] = decode_and_measure,
) -> int:
    """Run the jobs, appending each row to ``table`` as it comes; return how many failed.

    Args:
        jobs: the files to make.
        table: a CSV file with the fields of ``kind``.
        workers: encoder and decoder processes, so many of each.
        kind: of the rows that ``measure_file`` returns.
        measure_file: decodes and measures one file.
    """
    new = not table.exists()
    context = get_context("spawn")
    with (
        table.open("a", newline="", encoding="utf-8") as file,
        ProcessPoolExecutor(workers, context) as encoders,
        ProcessPoolExecutor(workers, context) as decoders,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(kind)])
        if new:
            writer.writeheader()
        failures: list[str] = []
        done = 0
        try:
            # A window of jobs at a time keeps the memory bounded and encoder and decoder both busy.
            for window in (jobs[i : i + 8 * workers] for i in range(0, len(jobs), 8 * workers)):
                for row in _rows(window, encoders, decoders, failures, measure_file):
                    writer.writerow(asdict(row))
                file.flush()
                done += len(window)
                print(f"\r{done} of {len(jobs)} files", end="", flush=True)
        except BaseException:  # stopped: or workers would go on with all that waits
            for worker in active_children():
                worker.terminate()
            raise
    print("\n" + "\n".join(failures))
    return len(failures)


def _rows(
    jobs: Sequence[Job],
    encoders: ProcessPoolExecutor,
    decoders: ProcessPoolExecutor,
    failures: list[str],
    measure_file: Callable[[Job, bytes, float], Row],
) -> Iterator[Row]:
    encoding = {encoders.submit(encode, job): job for job in jobs}
    measuring: dict[Future[Row], Job] = {}
    for encoded in as_completed(encoding):
        job = encoding[encoded]
        try:
            measuring[decoders.submit(measure_file, job, *encoded.result())] = job
        except BeholderError as error:
            failures.append(f"{job.codec} {job.quality} {job.path.name}: {error}")
    for measured in as_completed(measuring):
        job = measuring[measured]
        try:
            yield measured.result()
        except BeholderError as error:
            failures.append(f"{job.codec} {job.quality} {job.path.name}: {error}")


def read_rows(table: Path, kind: type[R]) -> list[R]:
    """The rows of an earlier run, or none."""
    if not table.exists():
        return []
    kinds = {"str": str, "int": int, "float": float}
    with table.open(newline="", encoding="utf-8") as file:
        return [
            kind(**{field.name: kinds[str(field.type)](line[field.name]) for field in fields(kind)})
            for line in csv.DictReader(file)
        ]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def summarise(
    rows: Sequence[Row], columns: Sequence[str] = ("bpp", "ms_ssim", "psnr", "encode_s", "decode_s")
) -> list[dict[str, Any]]:
    """Means over images, one entry for each codec, alpha and quality, rate rising within a codec."""
    groups: dict[tuple[str, float, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.codec, row.alpha, row.quality].append(row)
    summary = []
    for (codec, alpha, quality), group in groups.items():
        entry: dict[str, Any] = {"codec": codec, "alpha": alpha, "quality": quality, "images": len(group)}
        for column in columns:
            entry[column] = round(sum(getattr(row, column) for row in group) / len(group), 5)
        summary.append(entry)
    return sorted(summary, key=lambda entry: (entry["codec"], entry["alpha"], entry["bpp"]))


def bd_rates(summary: Sequence[dict[str, Any]], complete: bool) -> list[tuple[str, str, str, float]]:
    """BD-rates in per cent against JPEG and BPG of this run and, where all images are there, published BPG 4:4:4."""
    names = list(dict.fromkeys(map(series, summary)))
    result = []
    for metric in ("ms_ssim", "psnr"):
        anchors: list[tuple[str, Curve, tuple[float, float] | None]] = [
            (name, curve(summary, name, metric), None) for name in ("jpeg", "bpg") if name in names
        ]
        if complete:
            points = published_curve(read_published()[PUBLISHED_ANCHOR], metric)
            anchors.append((f"published {PUBLISHED_ANCHOR}", points, PUBLISHED_RATES))
        for anchor, anchor_curve, rates in anchors:
            for name in names:
                if name == anchor:
                    continue
                try:
                    value = bd_rate(anchor_curve, curve(summary, name, metric), anchor_rates=rates)
                except BadOptionError as error:
                    print(f"No BD-rate of {name} against {anchor} in {metric}: {error}", file=sys.stderr)
                    continue
                result.append((anchor, name, metric, round(value, 2)))
    return result


def find_images(folder: Path, limit: int | None) -> list[Path]:
    """The images of a folder in the order of their names, at most ``limit``."""
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]


def choose_jobs(args: argparse.Namespace, images: Sequence[Path]) -> list[Job]:
    """Every image at every quality of every codec that runs here."""
    jobs = []
    for name in (part.strip() for part in args.codecs.split(",")):
        codec = open_codec(name)
        reason = codec.unavailable()
        if reason is not None:
            print(f"Skipping {codec.name}: {reason}")
            continue
        scale = codec.scale
        grid = GRIDS.get(name) or GRIDS.get(codec.name, range(scale.lowest, scale.highest + 1, 1 + scale.highest // 9))
        alpha = args.alpha if codec.takes_alpha else 0.0
        jobs += [Job(path, name, quality, alpha) for path in images for quality in grid]
    return jobs


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; --help explains it."""
    parser = argparse.ArgumentParser(description="Rate and quality of codecs on the Kodak photographs.")
    names = 'separated by commas, such as "rnn,rnn effort 2,jpeg"'
    parser.add_argument("--codecs", default="rnn,jpeg,webp,bpg", help=names)
    parser.add_argument("--data", type=Path, default=DATA / "kodak", help="folder of kodim01..24")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "kodak")
    parser.add_argument("--alpha", type=float, default=0.0, help="0 (human) to 1 (machine), for rnn")
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--jobs", type=int, default=1, help="encoder and decoder processes, N of each")
    parser.add_argument("--workers", dest="jobs", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help="keep the rows that kodak.csv has")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    args = parse_arguments(arguments)
    images = find_images(args.data, args.limit)
    if not images:
        print(f"There are no images in {args.data}: give their folder with --data.", file=sys.stderr)
        return 2
    try:
        wanted = choose_jobs(args, images)
    except BeholderError as error:
        print(error, file=sys.stderr)
        return 2
    args.output.mkdir(parents=True, exist_ok=True)
    table = args.output / "kodak.csv"
    if not args.resume:
        table.unlink(missing_ok=True)
    known = {(row.image, row.codec, row.quality, row.alpha) for row in read_rows(table, Row)}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    failed = measure([job for job in wanted if job.key not in known], table, args.jobs)
    stems = {path.stem for path in images}
    rows = sorted(read_rows(table, Row), key=lambda row: (row.codec, row.alpha, row.quality, row.image))
    write_table(table, [field.name for field in fields(Row)], [list(asdict(row).values()) for row in rows])
    rows = [row for row in rows if row.image in stems]
    if not rows:
        return 1
    summary = summarise(rows)
    write_table(args.output / "summary.csv", list(summary[0]), [list(entry.values()) for entry in summary])
    complete = len(images) == KODAK_IMAGES
    rates = bd_rates(summary, complete)
    write_table(args.output / "bd_rates.csv", ("anchor", "codec", "metric", "bd_rate_percent"), rates)
    for anchor, name, metric, value in rates:
        print(f"{name:10} against {anchor:20} {metric:8} {value:+8.2f} %")
    title = "Kodak" if complete else f"Kodak, only {len(images)} of {KODAK_IMAGES} images"
    draw(summary, title, args.output / "kodak")
    print(f"Written to {args.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
