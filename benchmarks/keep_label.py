"""Mean bytes to keep the label: the smallest file of every codec in which a classifier still sees what it saw.

    beholder prepare efficientnet_lite1
    beholder prepare efficientnet_lite2
    python benchmarks/keep_label.py --data PHOTOS --output docs/results/keep-label [--jobs 2] [--resume]

Three observers are asked in turn; every file is also judged by one that was not asked, for its size must not rest on
one network's opinion alone.  Prints a table and writes it to ``README.md`` beside ``targets.csv`` in the output folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from beholder.batch.plan import collect
from beholder.batch.run import run
from beholder.batch.target_sweep import Need, TargetSweep, summarise
from beholder.targets import KeepLabel

ASKED = ("efficientnet_lite0", "squeezenet", "efficientnet_lite1")
UNASKED = "efficientnet_lite2"
CODECS = ("rnn", "jpeg", "webp", "bpg", "avif")
ALPHAS = (0.0, 1.0)


def table(needs: list[Need], asked: tuple[str, ...], unasked: str, images: int) -> str:
    """Markdown: a row for each codec and alpha, the mean over observers last."""
    rows: dict[tuple[str, float | None], list[Need]] = {}
    for need in needs:
        rows.setdefault((need.codec, need.alpha), []).append(need)
    lines = [
        f"Mean bytes of the smallest file in which an observer still gives the original's top-1, {images} photographs;",
        f"in parentheses, in how many files {unasked}, which was not asked, still sees what it saw.",
        "",
        f"| | {' | '.join(asked)} | mean |",
        f"|---|{'---|' * (len(asked) + 1)}",
    ]
    for (codec, alpha), found in rows.items():
        by_target = {need.target: need for need in found}
        chosen = [by_target[f"keep-label {name}"] for name in asked]
        cells = [_cell(need.bytes, need.agrees[unasked]) for need in chosen]
        mean = _cell(
            sum(need.bytes for need in chosen) / len(chosen),
            sum(need.agrees[unasked] for need in chosen) / len(chosen),
        )
        name = codec if alpha is None else f"{codec}, alpha {alpha:g}"
        lines.append(f"| {name} | {' | '.join(cells)} | {mean} |")
    missed = [need for need in needs if need.reached < 1]
    for need in missed:
        observer = "" if need.alpha is None else f", alpha {need.alpha:g}"
        lines += [
            "",
            f"{need.codec}{observer}, {need.target}: reached for {100 * need.reached:.1f} % of the photographs; "
            "for the others the nearest file counts.",
        ]
    return "\n".join(lines) + "\n"


def _cell(size: float, fraction: float) -> str:
    return f"{size:,.0f} ({100 * fraction:.1f} %)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--asked", default=",".join(ASKED))
    parser.add_argument("--unasked", default=UNASKED)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--workers", dest="jobs", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    asked = tuple(options.asked.split(","))
    targets = tuple(KeepLabel(name) for name in asked)
    task = TargetSweep(tuple(options.codecs.split(",")), ALPHAS, targets, (*asked, options.unasked))
    task.check()
    plan = collect([options.data], task.wanted, output=options.output, recursive=True)
    summary = run(
        task,
        plan.items[: options.limit],
        options.output,
        jobs=options.jobs,
        resume=options.resume,
        progress=lambda now: print(f"{now.done} of {now.total}", file=sys.stderr),
    )
    done = len(summary.rows) - len(summary.failures)
    text = table(summarise(summary, options.output), asked, options.unasked, done)
    (options.output / "README.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
