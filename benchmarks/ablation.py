"""Gain of each idea in `rnn`: the codec trained with and without it, for equal processor time, at two sizes.

    beholder prepare efficientnet_lite1
    python benchmarks/ablation.py --train-data PHOTOS --val-data PHOTOS --photos MORE --output results [--minutes 8]

All codecs begin untrained.  Those of the first kind learn rate (the entropy model, then centroids for people) and are
compared by BD-rate on the validation photographs; those of the second learn the decoder's networks for machines, for
the same codes, and are compared by what a classifier that training never asks makes of ``--photos`` at qualities 2
and 3.  Each is exported, and measured on its files.  The learning rate falls over the time given, which is the
process's own: other work on the machine changes nothing.  A variant that has a row in ``ablation.csv`` is not run
again; ``ablation.md`` holds the tables.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beholder import observers, weights
from beholder.codecs.base import Codec
from beholder.codecs.rnn import layout
from beholder.codecs.rnn.codec import Rnn
from beholder.codecs.rnn.torch import model, transform
from beholder.codecs.rnn.torch.entropy import models as context
from beholder.codecs.rnn.torch.human_distortion import human_distortion
from beholder.codecs.rnn.torch.weights import exported
from beholder.evaluation import protocol
from beholder.metrics import bd_rate, ms_ssim
from beholder.reading import load
from beholder.training.codec import export
from beholder.training.codec import module as training_module
from beholder.training.codec.run import CodecJob, CodecTraining, read_settings
from beholder.training.photos import PhotoCrops, find_photos

OBSERVER = "efficientnet_lite1"
SMALL = {"hidden": 48, "context": 48}
INTEGERS_FROM, HUMAN_FROM = 0.55, 0.85
"""Fractions of the time after which the entropy model learns in integers, and centroids for people learn."""
CROPS = {"entropy": (192, 6), "eye": (192, 8), "decoder": (160, 8)}
"""Side and number of crops of a step."""
Settings = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """Attributes:
    title: what differs.
    part: "entropy" or "decoder", what learns.
    change: applied to the settings, and to the package, before anything is built.
    fraction: of the time that the others have.
    """

    title: str
    part: str
    change: Callable[[Settings], None] = lambda settings: None
    fraction: float = 1.0


def _small(settings: Settings) -> None:
    settings["model"].update(SMALL)


def _no_masking(settings: Settings) -> None:
    transform.MASKING = 0.0


def _no_lapping(settings: Settings) -> None:
    one = np.eye(layout.BLOCK, dtype=np.float32)
    model.border_filters = lambda: (one, one)  # type: ignore[attr-defined]


def _flat_steps(settings: Settings) -> None:
    mean = float(np.mean(transform.STEP * (1 + transform.STEP_SLOPE * (np.arange(48) / 256) ** 1.5)))
    transform.STEP, transform.STEP_SLOPE = mean, 0.0


def _no_neighbours(settings: Settings) -> None:
    """Nothing within a stage is known; other stages still are."""
    stages = tuple(replace(stage, passes=1) for stage in layout.LAYOUT.stages)
    model.LappedTransformCodec.__init__.__defaults__ = (None, replace(layout.LAYOUT, stages=stages))


def _no_history(settings: Settings) -> None:
    """The filters over what a channel held before stay 0, its classes' scales as they begin."""
    start = context.StageContext.__init__

    def without(self: Any, *args: Any) -> None:
        start(self, *args)
        self.state_scale.requires_grad_(False)
        if self.own is not None:
            self.own.requires_grad_(False)

    context.StageContext.__init__ = without  # type: ignore


def _machine(**options: Any) -> Callable[[Settings], None]:
    def change(settings: Settings) -> None:
        settings["machine"] = settings["machine"] | options

    return change


def _human_loss(settings: Settings) -> None:
    """Networks at alpha 1 that learn MS-SSIM."""
    training_module.CodecModule.distortion = (  # type: ignore[method-assign]
        lambda self, decoded, image, alpha: human_distortion(decoded, image)
    )


def _no_hidden_state(settings: Settings) -> None:
    """The last iteration's latent alone reaches the synthesis."""
    forward = model.Recurrence.forward

    def forget(self: Any, *args: Any) -> Any:
        return 0 * forward(self, *args)

    model.Recurrence.forward = forget  # type: ignore


VARIANTS: dict[str, Variant] = {
    "rate": Variant("as it ships", "entropy"),
    "rate-small": Variant("half as wide (48 activations)", "entropy", _small),
    "rate-half": Variant("as it ships", "entropy", fraction=0.5),
    "rate-quarter": Variant("as it ships", "entropy", fraction=0.25),
    "rate-small-half": Variant("half as wide (48 activations)", "entropy", _small, 0.5),
    "rate-small-quarter": Variant("half as wide (48 activations)", "entropy", _small, 0.25),
    "no-masking": Variant("activity coarsens no steps", "entropy", _no_masking),
    "no-lapping": Variant("DCT not lapped", "entropy", _no_lapping),
    "flat-steps": Variant("one step for all frequencies", "entropy", _flat_steps),
    "no-neighbours": Variant("neighbours within a stage unknown (one pass)", "entropy", _no_neighbours),
    "no-history": Variant(
        "no filters over a channel's own past (its class and the network still tell it)", "entropy", _no_history
    ),
    "machine": Variant("as it ships", "decoder"),
    "machine-small": Variant("half as wide", "decoder", _small),
    "machine-half": Variant("as it ships", "decoder", fraction=0.5),
    "machine-quarter": Variant("as it ships", "decoder", fraction=0.25),
    "machine-small-half": Variant("half as wide", "decoder", _small, 0.5),
    "machine-small-quarter": Variant("half as wide", "decoder", _small, 0.25),
    "no-networks": Variant("not trained: centroids and linear synthesis alone", "decoder", fraction=0.0),
    "no-logits": Variant("features alone, no Kullback-Leibler divergence", "decoder", _machine(logits=0.0)),
    "lite0": Variant("EfficientNet-Lite0 alone in the loss", "decoder", _machine(networks=["efficientnet_lite0"])),
    "squeezenet": Variant("SqueezeNet alone in the loss", "decoder", _machine(networks=["squeezenet"])),
    "human": Variant("MS-SSIM in the loss instead of classifiers", "decoder", _human_loss),
    "no-hidden-state": Variant("no hidden state", "decoder", _no_hidden_state),
}
FIELDS = ("name", "title", "part", "minutes", "steps", "quality", "bpp", "ms_ssim", "divergence", "agreement")


class Timed(CodecTraining):
    """A run whose learning rate falls with the process's time instead of with its steps."""

    begun, given = 0.0, 1.0

    def begin(self, part: str, seconds: float) -> None:
        self.model.parts = [(part, 1 << 60)]
        self.begun, self.given = time.process_time(), seconds

    @property
    def done(self) -> float:
        return (time.process_time() - self.begun) / self.given

    def learning_rate(self, peak: float) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.done))))

    def learn(self, data: Path, part: str, seconds: float) -> None:
        """All of one part; the crops are the same for every variant."""
        self.begin(part, seconds)
        crop, count = CROPS[part]
        batches = PhotoCrops(data, crop, 1).batches(self.step, count)
        while self.done < 1:
            if part == "entropy" and self.done > INTEGERS_FROM:
                self.model.quantise_from = min(self.model.quantise_from, self.step)
            self.train_step(next(batches))


def learn(variant: Variant, options: argparse.Namespace, folder: Path) -> int:
    """Train and export to ``folder``; the number of steps."""
    settings = read_settings("swift")
    settings["quantise_from"] = 10**9
    variant.change(settings)
    if variant.part == "entropy":
        settings.pop("machine")
    alpha = 0.0 if variant.part == "entropy" else None
    run = Timed(CodecJob(options.train_data, options.val_data, "ablation", alpha, settings, folder))
    seconds = 60 * options.minutes * variant.fraction
    if variant.part == "entropy":
        run.learn(options.train_data, "entropy", seconds * HUMAN_FROM)
        run.learn(options.train_data, "eye", seconds * (1 - HUMAN_FROM))
    elif seconds:
        run.learn(options.train_data, "decoder", seconds)
    if variant.part == "decoder":  # the codes are those of the codec that ships: so is their entropy model
        shipped, (_, entropy_weights) = exported(weights.CODEC)
        entropy = context.ContextModel(run.average[0].layout, shipped.context)
        entropy.load_state_dict(entropy.state_dict() | entropy_weights)
        run.average[1] = entropy
        settings["model"]["context"] = shipped.context
    run.job.folder.mkdir(parents=True, exist_ok=True)
    run.save()
    export.export_codec(run.checkpoint, folder / "model")
    return run.step


def measure_rate(codec: Codec, photos: Path) -> Iterator[dict[str, Any]]:
    """Per quality, means over the photographs: bpp of the files, MS-SSIM of what they decode to, alpha 0."""
    qualities = list(range(1, layout.ITERATIONS + 1))
    points = []
    for path in find_photos(photos):
        image = load(path).convert("RGB")
        files = codec.encode_many(image, qualities, alpha=0.0)
        area = image.width * image.height
        points.append([(8 * len(data) / area, ms_ssim(image, codec.decode(data))) for data in files])
    for quality, (bpp, value) in zip(qualities, np.mean(points, 0), strict=True):
        yield {"quality": quality, "bpp": f"{bpp:.4f}", "ms_ssim": f"{value:.5f}"}


def measure_machine(codec: Codec, photos: Path, most: int) -> Iterator[dict[str, Any]]:
    """Qualities 2 and 3 at alpha 1: divergence of the observer's probabilities in nats, and how often its first
    choice stays."""
    squares, observer = protocol.get("paper"), observers.get(OBSERVER)
    rows: dict[int, list[tuple[float, ...]]] = {2: [], 3: []}
    for path in find_photos(photos)[:most]:
        image = squares.prepare(load(path), observer.info.input_size)
        before = observer.predict([squares.view(image, observer)])[0]
        files = codec.encode_many(image, list(rows), alpha=1.0)
        for quality, data in zip(rows, files, strict=True):
            decoded = codec.decode(data)
            after = observer.predict([squares.view(decoded, observer)])[0]
            divergence = float(np.sum(before * np.log((before + 1e-6) / (after + 1e-6))))
            bpp = 8 * len(data) / (image.width * image.height)
            same = float(before.argmax() == after.argmax())
            rows[quality].append((bpp, ms_ssim(image, decoded), divergence, same))
    for quality, values in rows.items():
        bpp, similarity, divergence, agreement = np.mean(values, 0)
        yield {
            "quality": quality,
            "bpp": f"{bpp:.4f}",
            "ms_ssim": f"{similarity:.5f}",
            "divergence": f"{divergence:.4f}",
            "agreement": f"{agreement:.4f}",
        }


def run_one(name: str, options: argparse.Namespace) -> None:
    """Train one variant, measure it, append its rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the exporter's, about itself
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    variant = VARIANTS[name]
    with tempfile.TemporaryDirectory(dir=options.output, prefix=".run-") as temporary:
        steps = learn(variant, options, Path(temporary))
        codec = Rnn(Path(temporary) / "model")
        if variant.part == "entropy":
            rows = list(measure_rate(codec, options.val_data))
        else:
            rows = list(measure_machine(codec, options.photos, options.most))
    shared = {"name": name, "title": variant.title, "part": variant.part}
    shared |= {"minutes": f"{options.minutes * variant.fraction:g}", "steps": str(steps)}
    table = options.output / "ablation.csv"
    new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(shared | row for row in rows)


def read(path: Path) -> dict[str, list[dict[str, str]]]:
    """Name -> rows, in the order of :data:`VARIANTS`."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {name: [row for row in rows if row["name"] == name] for name in VARIANTS}
    return {name: own for name, own in found.items() if own}


def tables(measured: dict[str, list[dict[str, str]]]) -> str:
    """Markdown: BD-rates of the first kind, divergences of the second, against the variants as they ship."""
    lines: list[str] = []

    def curve(rows: list[dict[str, str]]) -> list[tuple[float, float]]:
        return [(float(row["bpp"]), float(row["ms_ssim"])) for row in rows]

    base = measured.get("rate")
    if base:
        lines += ["| rate and people | minutes | steps | BD-rate against the first line |", "|---|---|---|---|"]
        for rows in measured.values():
            first = rows[0]
            if first["part"] == "entropy":
                change = "0" if rows is base else f"{bd_rate(curve(base), curve(rows)):+.1f} %"
                lines.append(f"| {first['title']} | {first['minutes']} | {first['steps']} | {change} |")
        lines.append("")
    if any(rows[0]["part"] == "decoder" for rows in measured.values()):
        lines += [
            "| decoder for machines | minutes | steps | divergence, quality 2 / 3 | first choice stays | MS-SSIM |",
            "|---|---|---|---|---|---|",
        ]
        for rows in measured.values():
            first = rows[0]
            if first["part"] == "decoder":
                cells = [" / ".join(row["divergence"][:5] for row in rows)]
                cells.append(" / ".join(f"{float(row['agreement']):.1%}" for row in rows))
                cells.append(" / ".join(f"{float(row['ms_ssim']):.4f}" for row in rows))
                lines.append(f"| {first['title']} | {first['minutes']} | {first['steps']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train-data", type=Path, required=True)
    parser.add_argument("--val-data", type=Path, required=True, help="photographs for BD-rates")
    parser.add_argument("--photos", type=Path, required=True, help=f"photographs for {OBSERVER}")
    parser.add_argument("--most", type=int, default=96, help="of those")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="of processor time for each variant")
    parser.add_argument("--only", help="names, separated by commas")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(VARIANTS)
    if unknown := set(wanted) - set(VARIANTS):
        parser.error(f"There is no variant {', '.join(sorted(unknown))}: choose from {', '.join(VARIANTS)}.")
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / "ablation.csv"
    for name in wanted:
        if name in read(table):
            continue
        begun = time.monotonic()
        # A process of its own: variants change the package.
        process = multiprocessing.get_context("spawn").Process(target=run_one, args=(name, options))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"The variant {name} failed.")
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    text = tables(read(table))
    (options.output / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
