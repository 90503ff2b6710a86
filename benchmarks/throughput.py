"""Duration of a sweep over ImageNet's validation set on 1, 10 and 100 machines, from what is measured here.

    python benchmarks/throughput.py --data FOLDER [--images 20] [--cores 16] [--random-weights] [--output throughput.md]

Every stage of one image's work is timed in one thread, as in a worker of `beholder evaluate --jobs N` or of a Ray
cluster: read, prepare, encode and decode by codec, metrics, observers.  What all machines share is timed as well:
taking a batch of results over and writing it, which one process does, and the bytes of the images.  The projection
divides the first by the number of cores and bounds it by the others; it says which one is the bottleneck and how many
machines it can feed.  Times are those of the processor; a quiet machine still gives better ones.

The seven observers are those of the paper.  With --random-weights (needs the extra [train]) all of them are built with
random weights, which take as long; otherwise those that are not prepared here are counted with the mean of those that
are, and the table says how many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beholder import codecs, data, metrics, observers
from beholder.codecs.base import Codec
from beholder.evaluation import protocol as protocols
from beholder.evaluation.sweep import jobs, results
from beholder.evaluation.sweep import settings as sweep_settings
from beholder.evaluation.sweep.settings import Settings
from beholder.evaluation.sweep.workers import use_one_thread
from beholder.observers import Observer, store
from beholder.pictures.comparable import comparable

PAPER = ("densenet_121", "inception_resnet_v2", "inception_v3", "mobilenet", "resnet_50", "vgg16", "xception")
GRIDS = {
    "rnn": (1, 2, 3, 4, 5, 6, 7, 8),
    "jpeg": (1, 5, 10, 15, 20, 30, 50, 70),
    "webp": (1, 5, 10, 15, 20, 30, 50, 70),
    "bpg": (51, 47, 43, 39, 35, 31, 27, 23),
}
METRICS = ("ms_ssim", "psnr")
IMAGES = 50_000
BATCH = 16
MACHINES = (1, 10, 100)
SQUARES = (224, 299)
"""Input sizes of the seven observers: two squares, each compressed by itself."""


@dataclass
class Costs:
    """Seconds an image, by stage; one core."""

    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str, fraction: float) -> Iterator[None]:
        """Add what happens inside, times ``fraction``, to ``stage``."""
        # Of the processor, so that whatever else runs here counts little.
        start = time.process_time()
        yield
        self.stages[stage] += fraction * (time.process_time() - start)

    @property
    def total(self) -> float:
        """Seconds of one core for one image."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Shared:
    """Seconds of one image on whatever all machines share."""

    driver: float
    """Seconds of the process that writes."""
    read: float
    """Bytes of the image file."""
    sent: float
    """Bytes of its results."""
    start: float
    """Seconds that a worker takes before its first image."""
    memory: float
    """Bytes of a worker."""


def measure(folder: str, images: int, watchers: list[Observer]) -> tuple[Costs, float]:
    """The costs of one image, and the mean size of an image file in bytes."""
    costs = Costs()
    source = data.open_source(folder)
    count = min(images, len(source))
    size = 0
    rules = protocols.get("paper")
    chosen = [codecs.get(name) for name in GRIDS]
    measured = [(name, metrics.get(name)) for name in METRICS]
    warm_up(chosen, watchers)
    for number in range(count):
        # Spread over the data, which may be sorted by class.
        index = number * len(source) // count
        with costs.timed("read and decode", 1 / count):
            example = source[index]
            image = data.decode(example)
        size += len(example.data)
        for side in SQUARES:
            group = [watcher for watcher in watchers if protocols.paper_side(watcher.info.input_size) == side_of(side)]
            with costs.timed("prepare", 1 / count):
                original = rules.prepare(image, side)
            classify(costs, group, [original], 1 / count)
            for codec in chosen:
                decoded = compress(costs, codec, original, 1 / count)
                for name, metric in measured:
                    with costs.timed(f"metric {name}", 1 / count):
                        for picture in decoded:
                            metric(*(np.asarray(p) for p in comparable(original, picture)))
                classify(costs, group, decoded, 1 / count)
    return costs, size / count


def side_of(input_size: int) -> int:
    """The square that is compressed for this input size."""
    return protocols.paper_side(input_size)


def warm_up(chosen: list[Codec], watchers: list[Observer]) -> None:
    """Open everything, so that the times are those of images."""
    grey = Image.new("RGB", (64, 64), "grey")
    for codec in chosen:
        codec.decode(codec.encode(grey))
    for watcher in watchers:
        watcher.predict([watcher.view(grey)])


def compress(costs: Costs, codec: Codec, original: Image.Image, fraction: float) -> list[Image.Image]:
    """The decoded image at each quality."""
    with costs.timed(f"encode {codec.name}", fraction):
        files = codec.encode_many(original, GRIDS[codec.name])
    with costs.timed(f"decode {codec.name}", fraction):
        return [codec.decode(file) for file in files]


def classify(costs: Costs, group: list[Observer], pictures: list[Image.Image], fraction: float) -> None:
    """Show pictures to the observers of one square."""
    rules = protocols.get("paper")
    for observer in group:
        with costs.timed(f"classify {observer.info.name}", fraction):
            observer.predict([rules.view(picture, observer) for picture in pictures])


def common_costs(folder: str, names: list[str], file_bytes: float) -> Shared:
    """Time the worker's start and what the driver does with one batch of full size."""
    settings = sweep_settings.prepare(
        folder,
        codecs=list(GRIDS),
        qualities=GRIDS,
        alphas=[0.0],
        classifiers=names,
        metrics=METRICS,
        protocol="paper",
        limit=1,
        gallery=0,
    )
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=use_one_thread) as pool:
        columns, started, memory = pool.apply(one_image, (settings, time.time()))
    times = BATCH * len(PAPER) // len(names)
    whole = results.BatchResult(0, BATCH, {name: column * times for name, column in columns.items()})
    packed = pickle.dumps(whole)
    with tempfile.TemporaryDirectory() as place:
        results.write(Path(place), whole, METRICS)
        start = time.process_time()
        results.write(Path(place), pickle.loads(packed), METRICS)
        written = time.process_time() - start
    return Shared(written / BATCH, file_bytes, len(packed) / BATCH, started, memory)


def one_image(settings: Settings, asked: float) -> tuple[dict[str, list[Any]], float, float]:
    """In a new process: the rows of one image, the seconds until it could begin, and the bytes of the process."""
    evaluator = jobs.Evaluator(settings)
    started = time.time() - asked
    columns = evaluator.batch(jobs.Batch(0, 0, 1)).columns
    return columns, started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def install_random(names: Sequence[str]) -> None:
    """Build networks with random weights and install them."""
    from beholder.observers import labels
    from beholder.observers.keras import export as keras_export
    from beholder.observers.keras import zoo as keras_zoo

    for name in names:
        info = keras_zoo.spec(name)
        graph = keras_export.to_bytes(keras_zoo.build(name, weights=None), info.input_size)
        store.install(name, graph, info, labels.imagenet())


def complete(costs: Costs) -> int:
    """Add the observers that are missing here; how many they are."""
    known = [seconds for stage, seconds in costs.stages.items() if stage.startswith("classify ")]
    missing = len(PAPER) - len(known)
    if missing > 0 and known:
        costs.stages[f"classify {missing} more (mean of the others)"] = missing * sum(known) / len(known)
    return max(missing, 0)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column left-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def stage_table(costs: Costs) -> str:
    """Seconds and images a second of each stage, as the work of one image."""
    rows = [
        [
            stage,
            f"{1000 * seconds:.1f}",
            f"{1 / seconds:.2f}" if seconds else "",
            f"{100 * seconds / costs.total:.1f} %",
        ]
        for stage, seconds in costs.stages.items()
    ]
    rows.append(["**all**", f"{1000 * costs.total:.1f}", f"{1 / costs.total:.3f}", "100 %"])
    return table(["stage (all qualities, both squares)", "ms an image", "images/s a core", "fraction"], rows)


def projection_table(costs: Costs, shared: Shared, cores: int, network: float) -> str:
    """Hours and bottleneck on each number of machines."""
    rows = []
    for machines in MACHINES:
        # Images a second that each resource could do if it were alone.
        rates = {
            "cores": machines * cores / costs.total,
            "writer": 1 / shared.driver,
            "network": network / (shared.read + shared.sent),
        }
        bottleneck = min(rates, key=lambda name: rates[name])
        # In the end some workers wait while others finish their last batch.
        tail = BATCH * costs.total
        seconds = shared.start + IMAGES / rates[bottleneck] + tail / 2
        use = [f"{100 * rates[bottleneck] / rates[name]:.1f} %" for name in rates]
        rows.append([f"{machines}", f"{rates[bottleneck]:,.1f}", duration(seconds), bottleneck, *use])
    header = ["machines", "images/s", "time", "bottleneck", "cores busy", "writer busy", "network busy"]
    return table(header, rows)


def turning_points(costs: Costs, shared: Shared, cores: int, network: float) -> str:
    """At how many machines the bottleneck moves, and to what."""
    one = cores / costs.total
    writer, wire = 1 / shared.driver / one, network / (shared.read + shared.sent) / one
    first = "the process that writes the results" if writer < wire else "the network at the place of the images"
    last = IMAGES / BATCH / cores
    return (
        f"Cores are the bottleneck up to {min(writer, wire):,.0f} machines; then it is {first}. "
        f"(The writer alone would feed {writer:,.0f} machines, the network {wire:,.0f}.) With {IMAGES // BATCH:,} "
        f"batches of {BATCH} images there is one batch for each core at {last:,.0f} machines: more would stand idle."
    )


def duration(seconds: float) -> str:
    """Minutes, hours or days."""
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def report(folder: str, images: int, cores: int, network: float) -> str:
    """Measure and describe."""
    ready = [name for name in (*PAPER, *observers.names()) if name in observers.names() and observers.get(name).ready()]
    names = list(dict.fromkeys(ready))[: len(PAPER)]
    watchers = [observers.get(name) for name in names]
    # Their squares are timed only if somebody looks at them.
    watchers = [w for w in watchers if side_of(w.info.input_size) in {side_of(side) for side in SQUARES}]
    names = [watcher.info.name for watcher in watchers]
    costs, file_bytes = measure(folder, images, watchers)
    missing = complete(costs)
    shared = common_costs(folder, names, file_bytes)
    rows = len(GRIDS) * len(next(iter(GRIDS.values()))) * len(PAPER)
    note = (
        f" {missing} of the {len(PAPER)} observers are not prepared here and counted with the mean." if missing else ""
    )
    return "\n\n".join(
        [
            f"ImageNet val: {IMAGES:,} images x {len(GRIDS)} codecs x 8 qualities x {len(PAPER)} observers = "
            f"{IMAGES * rows:,} rows, protocol `paper`, measured on {images} images in one thread.{note}",
            stage_table(costs),
            f"A worker starts in {shared.start:.1f} s and takes {shared.memory / 2**20:,.0f} MiB with "
            f"{len(names)} observers. The writer needs {1000 * shared.driver:.2f} ms an image; an image is read as "
            f"{shared.read / 1024:,.0f} KiB, its rows travel as {shared.sent / 1024:,.0f} KiB.",
            f"Machines of {cores} cores, {network * 8 / 1e9:g} Gbit/s at the place of images and results:",
            projection_table(costs, shared, cores, network),
            turning_points(costs, shared, cores, network),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of photographs of about ImageNet's size, or shards")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="of each machine in the projection")
    parser.add_argument("--network", type=float, default=1.0, help="Gbit/s at the place of images and results")
    parser.add_argument("--random-weights", action="store_true", help="all seven observers, with random weights")
    parser.add_argument("--output", type=Path, help="also write the text there")
    options = parser.parse_args()
    use_one_thread()
    with tempfile.TemporaryDirectory() as cache:
        if options.random_weights:
            # Not among the user's own, where they would do harm.
            os.environ[store.CACHE_VARIABLE] = cache
            install_random(PAPER)
        text = report(options.data, options.images, options.cores, options.network * 1e9 / 8)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
