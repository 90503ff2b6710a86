"""When two curves may be compared: enough points on each, and enough in common."""

from __future__ import annotations

from beholder.errors import BadOptionError

LEAST_POINTS = 4
"""Points of a curve that a Bjontegaard difference needs, as in the common test conditions of JCT-VC."""
LEAST_OVERLAP = 0.5
"""Least fraction of the shorter curve's range that the other curve must reach as well."""

Range = tuple[float, float]
"""Where a curve begins and ends, in dB or in the logarithm of the rate."""


def overlap(a: Range, b: Range) -> float:
    """Share of the shorter of two ranges that both have in common, 0 to 1."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    shorter = min(a[1] - a[0], b[1] - b[0])
    return max(common, 0.0) / shorter if shorter > 0 else 0.0


def check_points(points: int, curve: str) -> None:
    """Raise BadOptionError unless the curve called ``curve`` has enough ``points``."""
    if points < LEAST_POINTS:
        raise BadOptionError(
            f"The {curve} curve has {points} point{'' if points == 1 else 's'} of rising rate and quality, and a BD "
            f"difference needs {LEAST_POINTS}: measure more qualities."
        )


def check_overlap(a: Range, b: Range, what: str) -> None:
    """Raise BadOptionError unless two ranges of ``what`` (qualities, rates) overlap enough."""
    fraction = overlap(a, b)
    if fraction < LEAST_OVERLAP:
        raise BadOptionError(
            f"The two curves have {100 * fraction:.0f} % of their {what} in common, and a BD difference needs "
            f"{100 * LEAST_OVERLAP:.0f} %: measure {what} that both reach."
        )
