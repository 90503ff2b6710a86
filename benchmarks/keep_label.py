"""Mean bytes to keep the label: the smallest file of every codec in which a classifier still sees what it saw.

    beholder prepare efficientnet_lite1
    beholder prepare efficientnet_lite2
    python benchmarks/keep_label.py --data PHOTOS --output RESULTS [--jobs 2] [--resume] \
        [--publish docs/results/keep-label]

Three observers are asked in turn; every file is also judged by one that was not asked, for its size must not rest on
one network's opinion alone.  RESULTS gets a JSON file for each photograph, so that ``--resume`` goes on after an
interruption.  The page with its table, the figure and ``targets.csv`` are written to the folder of ``--publish``, by
default to RESULTS.
"""

from __future__ import annotations

import argparse
import os
import sys
from io import BytesIO
from pathlib import Path

from beholder.batch.plan import collect
from beholder.batch.run import run
from beholder.batch.target_sweep import TABLE, Need, TargetSweep, summarise
from beholder.cli import progress
from beholder.errors import BeholderError
from beholder.files import save_atomically
from beholder.targets import KeepLabel
from beholder.targets.choose import available

ASKED = ("efficientnet_lite0", "squeezenet", "efficientnet_lite1")
UNASKED = "efficientnet_lite2"
ALPHAS = (0.0, 1.0)
TITLES = {
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "squeezenet": "SqueezeNet",
}
PAGE, FIGURE = "README.md", "keep-label.png"

Rows = dict[str, list[Need]]
"""From a codec, with its alpha, to what it needs for each observer that was asked."""


def rows(needs: list[Need], asked: tuple[str, ...]) -> Rows:
    """The needs by codec, in the order of the observers."""
    found: Rows = {}
    for name in asked:
        for need in needs:
            if need.target == f"keep-label {name}":
                observer = "" if need.alpha is None else f", alpha {need.alpha:g}"
                found.setdefault(f"{need.codec}{observer}", []).append(need)
    return found


def page(found: Rows, asked: tuple[str, ...], unasked: str) -> str:
    """Markdown: a row for each codec and alpha, the mean over observers last, and what stands out."""
    images = next(iter(found.values()))[0].images
    lines = [
        "# Bytes to keep the label",
        "",
        "Mean bytes of the smallest file in which a classifier still gives the original's top-1, on "
        f"{images} photographs of ImageNet.",
        f"In parentheses: in how many files {_title(unasked)}, which was not asked, still sees what it saw.",
        "",
        "    python benchmarks/keep_label.py --data PHOTOS --output RESULTS --publish docs/results/keep-label",
        "",
        f"| | {' | '.join(map(_title, asked))} | mean |",
        f"|---|{'---|' * (len(asked) + 1)}",
    ]
    for name, needs in found.items():
        pairs = [(need.bytes, need.agrees[unasked]) for need in needs]
        mean = (_mean([size for size, _ in pairs]), _mean([fraction for _, fraction in pairs]))
        lines.append(f"| {name} | {' | '.join(_cell(*pair) for pair in (*pairs, mean))} |")
    lines += ["", f"![Bars: mean bytes for each codec and classifier]({FIGURE})", "", *_remarks(found, asked, unasked)]
    return "\n".join(lines) + "\n"


def _remarks(found: Rows, asked: tuple[str, ...], unasked: str) -> list[str]:
    sizes = {name: _mean([need.bytes for need in needs]) for name, needs in found.items()}
    order = sorted(sizes, key=lambda name: sizes[name])
    best = order[0]
    lines = []
    others = [name for name in order if name.partition(",")[0] != best.partition(",")[0]]
    if others:
        everywhere = all(
            found[best][place].bytes == min(needs[place].bytes for needs in found.values())
            for place in range(len(asked))
        )
        less = 100 * (1 - sizes[best] / sizes[others[0]])
        scope = "for each classifier, and on average" if everywhere else "on average,"
        lines += [f"{best} needs the fewest bytes {scope} {less:.0f} % fewer than {others[0]}, the next codec."]
    agreements = {name: 100 * _mean([need.agrees[unasked] for need in needs]) for name, needs in found.items()}
    rest = [agreements[name] for name in order if name != best]
    least, most = min(rest, default=0), max(rest, default=0)
    lines += [
        "A file that just keeps one classifier's label says little about another's: "
        f"at these sizes {_title(unasked)} still sees the same in {agreements[best]:.0f} % of the files of {best}, "
        f"and in {least:.0f} to {most:.0f} % of the larger files of the others.",
        "Where that matters, ask for more: `--confidence 0.9`.",
        "",
    ]
    missed = [
        f"{_title(observer)} for {100 * need.reached:.1f} % ({name})"
        for name, needs in found.items()
        for observer, need in zip(asked, needs, strict=True)
        if need.reached < 1
    ]
    if missed:
        lines += [f"Not every target was reached: {'; '.join(missed)}. There the nearest file counts.", ""]
    return [*lines, f"All rows: [{TABLE}]({TABLE})."]


def figure(found: Rows, asked: tuple[str, ...]) -> bytes:
    """A PNG: a group of bars for each codec and alpha, a bar for each observer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(figsize=(8, 0.55 * len(found) + 1.2), layout="constrained")
    width = 0.8 / len(asked)
    for place, (observer, colour) in enumerate(zip(asked, ("#0b3c5d", "#328cc1", "#d9a441", "#6b6b6b"), strict=False)):
        heights = [number - 0.4 + width * (place + 0.5) for number in range(len(found))]
        sizes = [needs[place].bytes for needs in found.values()]
        axes.barh(heights, sizes, 0.92 * width, color=colour, label=_title(observer))
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("mean bytes of the smallest file that keeps the label")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    out = BytesIO()
    canvas.savefig(out, format="png", dpi=120)
    pyplot.close(canvas)
    return out.getvalue()


def publish(needs: list[Need], asked: tuple[str, ...], unasked: str, results: Path, folder: Path) -> str:
    """Write the page, the figure and the table to ``folder``; the page's text."""
    found = rows(needs, asked)
    text = page(found, asked, unasked)
    folder.mkdir(parents=True, exist_ok=True)
    save_atomically(folder / PAGE, text.encode())
    save_atomically(folder / FIGURE, figure(found, asked))
    if folder.resolve() != results.resolve():
        save_atomically(folder / TABLE, (results / TABLE).read_bytes())
    return text


def _title(observer: str) -> str:
    return TITLES.get(observer, observer)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _cell(size: float, fraction: float) -> str:
    return f"{size:,.0f} ({100 * fraction:.1f} %)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results of each photograph")
    parser.add_argument("--publish", type=Path, help="folder of the page; default: that of --output")
    parser.add_argument("--codecs", help="default: all that can run here")
    parser.add_argument("--asked", default=",".join(ASKED))
    parser.add_argument("--unasked", default=UNASKED)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--workers", dest="jobs", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    asked = tuple(options.asked.split(","))
    names = tuple(options.codecs.split(",")) if options.codecs else tuple(codec.name for codec in available())
    targets = tuple(KeepLabel(name) for name in asked)
    task = TargetSweep(names, ALPHAS, targets, (*asked, options.unasked))
    try:
        task.check()
        plan = collect([options.data], task.wanted, output=options.output, recursive=True)
        items = plan.items[: options.limit]
        print(f"{len(items)} photographs, {len(names)} codecs, results in {options.output}", file=sys.stderr)
        with progress.counted("photographs") as show:
            summary = run(
                task,
                items,
                options.output,
                jobs=options.jobs,
                resume=options.resume,
                progress=lambda now: show(now.done, now.total, now.failed, now.resumed),
            )
        folder = options.publish or options.output
        print(publish(summarise(summary, options.output), asked, options.unasked, options.output, folder))
    except BeholderError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Interrupted. What is done lies in {options.output}: --resume goes on.", file=sys.stderr)
        return 130
    for row in summary.failures:
        print(f"Failed: {row.error}", file=sys.stderr)
    print(f"Written: {', '.join(os.fspath(folder / name) for name in (PAGE, FIGURE, TABLE))}", file=sys.stderr)
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
