"""Shorten a codec config's schedule so that training takes about so many minutes.

    python scripts/scaled_config.py CONFIG --minutes 30 [--device cpu|cuda] > shorter.json

All parts of the schedule shrink alike: batches by the fourth root of the fraction of time, to no fewer than two
pictures, and numbers of steps by what is left.  Whatever else the config says stays.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

WHOLE_MINUTES = {"cpu": 36_000, "cuda": 60}
"""Estimates for the config that ships.  Two cores: a sample takes one core 0.14 s in the part "entropy", 0.6 s in
"step", and with optimised codes 3.8 s in "eye", 4.4 s in "decoder".  A GPU: the shipped weights' parts on one H100 and
H200."""
STEP_SETTINGS = ("quantise_from", "searched_from", "warmup")
LEAST_BATCH = 2
LEAST_STEPS = 2
MOST_UNVALIDATED = 500


def scaled(settings: dict[str, Any], fraction: float) -> dict[str, Any]:
    """Config with a schedule that costs ``fraction`` of the time, at most all of it."""
    if fraction >= 1:
        return settings
    largest = max(phase["batch"] for phase in settings["phases"])
    batch_factor = max(fraction**0.25, LEAST_BATCH / largest)
    step_factor = fraction / batch_factor
    parts = settings.get("parts", [["", settings["steps"]]])
    ends = {0: 0}
    for before, until in zip([0, *(until for _, until in parts)], (until for _, until in parts), strict=False):
        ends[until] = ends[before] + max(LEAST_STEPS, round((until - before) * step_factor))
    result = dict(settings)
    result["parts"] = [[name, ends[until]] for name, until in parts]
    result["steps"] = ends[parts[-1][1]]
    result["phases"] = [
        {
            **phase,
            "until": ends.get(phase["until"], round(phase["until"] * step_factor)),
            "batch": max(LEAST_BATCH, round(phase["batch"] * batch_factor)),
        }
        for phase in settings["phases"]
    ]
    for name in STEP_SETTINGS:
        if name in settings:
            result[name] = max(1, round(settings[name] * result["steps"] / settings["steps"]))
    # Validation takes as long as many steps: a short run does it once, at its end.
    result["validate_every"] = min(settings.get("validate_every", MOST_UNVALIDATED), result["steps"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--device", choices=sorted(WHOLE_MINUTES), default="cpu", help="two cores, or one GPU")
    options = parser.parse_args()
    settings = json.loads(options.config.read_text(encoding="utf-8"))
    print(json.dumps(scaled(settings, options.minutes / WHOLE_MINUTES[options.device]), indent=2))


if __name__ == "__main__":
    main()
