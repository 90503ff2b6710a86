"""The residual of the second decoder, written from docs/bhd-format.md; it shares no code with ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Symbol = Callable[[Any], int]
"""Takes the next symbol of a segment by cumulative probabilities in 24 bits."""


class Residual:
    """Adds the residual of some levels to the picture of quality 8.

    Args:
        tables: ``tables.npz`` of the format.
        coders: the range decoder of each level's segment.
        cumulative_of: from frequencies and their sum to cumulative probabilities.
        activity: (rows, columns) channel 0 of the latent.
        step_scale: of the header.
    """

    def __init__(
        self,
        tables: Path,
        coders: list[Symbol],
        cumulative_of: Callable[[list[int], int], list[int]],
        activity: Ints,
        step_scale: int,
    ) -> None:
        with np.load(tables) as arrays:
            self.arrays = {name: arrays[name].astype(np.int64) for name in arrays.files}
        self.coders, self.cumulative_of, self.step_scale = coders, cumulative_of, step_scale
        self.activity = activity

    def add(self, picture: Ints) -> Ints:
        """The better picture, of (height, width) or (height, width, 3)."""
        better = picture.copy()
        rows, columns = (-(-side // 8) for side in picture.shape[:2])
        for top in range(0, rows, 128):
            for left in range(0, columns, 128):
                area = (range(top, min(top + 128, rows)), range(left, min(left + 128, columns)))
                self.add_tile(better, area)
        return np.clip(better, 0, 255)

    def add_tile(self, picture: Ints, area: tuple[range, range]) -> None:
        planes = 3 if picture.ndim == 3 else 1
        rows, columns = (range(len(part)) for part in area)
        weights = [round(16 * 2 ** (4 * m / 7)) for m in range(16)]
        activity = {
            (y, x): weights[min(max(int(self.activity[area[0][y] // 2, area[1][x] // 2]), 0), 15)]
            for y in rows
            for x in columns
        }
        q: dict[tuple[int, int, int, int, int], int] = {}
        for level, symbol in enumerate(self.coders):
            old, known = q, {place: min(2 * abs(code), 31) for place, code in q.items()}
            q = {}
            for p in range(planes):
                for d in range(15):
                    members = [(i, d - i) for i in range(8) if 0 <= d - i < 8]
                    places = [(p, i, j, y, x) for i, j in members for y in rows for x in columns]
                    self.decode_group(level, symbol, places, old, q, known, activity)
                    known |= {place: min(abs(q[place]), 31) for place in places}
        self.draw(picture, area, planes, q)

    def decode_group(
        self, level: int, symbol: Symbol, places: Any, old: Any, q: Any, known: Any, activity: Any
    ) -> None:
        a, kinds = self.arrays, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]
        p, d = places[0][0], places[0][1] + places[0][2]

        def context(place: Any) -> int:
            _, i, j, y, x = place

            def m(di: int, dj: int, dy: int = 0, dx: int = 0, plane: int = p) -> int:
                return int(known.get((plane, i + di, j + dj, y + dy, x + dx), 0))

            sides = [(-1, 0), (1, 0), (0, -1), (0, 1)]
            features = [
                m(-1, 0) + m(0, -1),
                m(-1, -1) + m(-2, 0) + m(0, -2),
                m(1, 0) + m(0, 1),
                sum(m(0, 0, *side) for side in sides),
                sum(m(0, 0, dy, dx) for dy in (-1, 1) for dx in (-1, 1)),
                sum(m(-1, 0, *side) + m(0, -1, *side) for side in sides),
                m(0, 0, plane=0) if p > 0 else 0,
                m(0, 0, plane=1) if p > 1 else 0,
                activity[y, x],
                64,
            ]
            estimate = min(int(a["weights"][level, p, d] @ features) // 16, 4095)
            bin_ = int((a["edges"] <= estimate).sum())
            before = abs(old.get(place, 0))
            return 40 + 8 * (min(before, 3) - 1) + bin_ // 5 if before else bin_

        contexts = {place: context(place) for place in places}
        escaped = []
        for place in sorted(places, key=lambda place: (contexts[place], place)):
            c = contexts[place]
            if level == 0:
                frequencies = a["first"][p, kinds[d], c].tolist()
            else:
                one = a["zero"][level - 1, p, kinds[d], c] if c < 40 else a["refined"][level - 1, p].ravel()[c - 40]
                frequencies = [65536 - int(one), int(one)]
            q[place] = 2 * abs(old.get(place, 0)) + symbol(self.cumulative_of(frequencies, 1 << 16))
            if level == 0 and q[place] == 16:
                escaped.append(place)
        for place in sorted(escaped):
            q[place] += symbol(range(0, (1 << 24) + 1, 1 << 13))
        for place in places:
            negative = old.get(place, 0) < 0
            if q[place] and not old.get(place, 0):
                negative = symbol(range(0, (1 << 24) + 1, 1 << 23)) == 1
            q[place] *= -1 if negative else 1

    def draw(self, picture: Ints, area: tuple[range, range], planes: int, q: Any) -> None:
        level = len(self.coders) - 1
        u, x = np.indices((8, 8))
        b = np.floor(np.where(u == 0, np.sqrt(1 / 8), 0.5) * np.cos((2 * x + 1) * u * np.pi / 16) * 8192 + 0.5).astype(
            np.int64
        )
        for by, row in enumerate(area[0]):
            for bx, column in enumerate(area[1]):
                fine = []
                for p in range(planes):
                    dct = np.zeros((8, 8), np.int64)
                    for i in range(8):
                        for j in range(8):
                            dct[i, j] = self.coefficient(q[p, i, j, by, bx], level, p, i + j)
                    fine.append((b.T @ dct @ b + (1 << 21)) >> 22)
                if planes == 1:
                    added = (fine[0] + 512) >> 10
                else:
                    y, cb, cr = fine
                    colours = (22970 * cr, -5638 * cb - 11700 * cr, 29032 * cb)
                    added = np.stack([((y << 14) + colour + (1 << 23)) >> 24 for colour in colours], -1)
                part = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                part += added[: part.shape[0], : part.shape[1]]

    def coefficient(self, code: int, level: int, plane: int, diagonal: int) -> int:
        if code == 0:
            return 0
        finest = int(np.floor(64 * 2 / 14 * (14 + diagonal) * 2.0 ** (self.step_scale / 64) + 0.5))
        step = finest << (3 - level)
        centroid = int(self.arrays["centroid"][level, plane, int(abs(code) > 1)])
        value = min((step * (64 * abs(code) + centroid) + 32) // 64, (1 << 18) - 1)
        return value if code > 0 else -value
