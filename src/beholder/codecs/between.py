"""The search between two qualities whose files lie on either side of the wanted size or quality."""

from __future__ import annotations

from collections.abc import Callable, Hashable

_LEAST = 0.05
"""Part of the gap that each try leaves on either side: values are not quite linear, and jump here and there."""

_HALVINGS = 20
"""Halves of a gap between two qualities that are finer than the settings of any codec."""

Place = tuple[float, float | None]
"""A quality, and its signed distance from what is wanted; None where only the side is known."""


def close_in(
    distance: Callable[[float], tuple[bool, float | None]],
    below: Place,
    above: Place,
    enough: Callable[[], bool],
    tries: int,
    settings: Callable[[float], Hashable] = lambda quality: quality,
) -> None:
    """Try qualities between two, by regula falsi (the Illinois algorithm) or, without distances, by halving the gap.

    Args:
        distance: tries a quality; whether it is above what is wanted, and the signed distance.
        below: a quality that is below what is wanted.
        above: one that is above it, on either side of ``below`` on the codec's scale.
        enough: asked before each try; True ends the search.
        tries: at most so many.
        settings: of a quality; files of equal settings are equal, and none is tried twice.
    """
    (low, under), (high, over) = below, above
    last = None
    for _ in range(tries):
        if enough():
            return
        fraction = 0.5
        if under is not None and over is not None and over > under:
            fraction = min(max(under / (under - over), _LEAST), 1 - _LEAST)
        quality = _untried(low + fraction * (high - low), low, high, settings)
        if quality is None:
            return
        side, value = distance(quality)
        if side:
            high, over = quality, value
            under = under / 2 if last is True and under is not None else under
        else:
            low, under = quality, value
            over = over / 2 if last is False and over is not None else over
        last = side


def _untried(quality: float, low: float, high: float, settings: Callable[[float], Hashable]) -> float | None:
    """The quality next to ``quality`` whose settings are not those of ``low`` or ``high``; None if there is none."""
    used = settings(low), settings(high)
    if settings(quality) not in used:
        return quality
    # Halves the gap in which the settings change from those of the near end.
    near, far = (quality, high) if settings(quality) == used[0] else (quality, low)
    first = settings(near)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        near, far = (middle, far) if settings(middle) == first else (near, middle)
    return None if settings(far) in used else far
