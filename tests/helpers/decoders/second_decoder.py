"""A second decoder of `.bhd` files, written from docs/bhd-format.md with NumPy's integers; it shares no code with ours.

It takes one symbol after another in Python, so it is meant for pictures of a few blocks.
"""

from __future__ import annotations

import bisect
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from helpers.decoders.second_residual import Residual
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Place = tuple[int, int]
HASHED = ("recurrence.onnx", "synthesis.onnx", "entropy.npz", "eye.onnx", "eye.weights")
MEAN_COLOURS = (0, 1, 7, 8)
EVEN, DEAD_ZONE = 0, 1
WRAP = (1 << 64) - 1
TAPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


@dataclass
class File:
    identity: bytes
    width: int
    height: int
    alpha: float
    quality: int
    grey: bool
    optimised: bool
    step_scale: int = 0
    segments: list[bytes] = field(default_factory=list)
    chunks: dict[int, bytes] = field(default_factory=dict)


def parse(data: bytes) -> File:
    place = 13

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def checked(seed: int) -> bytes:
        nonlocal place
        length = varint()
        checksum = int.from_bytes(data[place : place + 4], "little")
        body = data[place + 4 : place + 4 + length]
        place += 4 + length
        assert zlib.crc32(body, seed) == checksum
        return body

    assert data[:5] == b"\x8bBHD\x02"
    width, height = varint(), varint()
    alpha, flags = data[place], data[place + 1]
    place += 2
    file = File(data[5:13], width, height, alpha / 250, flags & 15, bool(flags & 16), bool(flags & 64))
    if flags & 128:
        file.step_scale = (data[place] ^ 128) - 128
        place += 1
    if flags & 32:
        for _ in range(varint()):
            tag = data[place]
            place += 1
            file.chunks[tag] = checked(0)
    seed = zlib.crc32(data[:place])
    while place < len(data):
        file.segments.append(checked(seed))
    assert len(file.segments) <= file.quality
    return file


class RangeDecoder:
    def __init__(self, data: bytes) -> None:
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)][::-1]
        self.lower, self.range = 0, WRAP
        self.point = self.word() << 32 | self.word()

    def word(self) -> int:
        return self.words.pop() if self.words else 0

    def symbol(self, cumulative: Any) -> int:
        scale = self.range >> 24
        quantile = ((self.point - self.lower) & WRAP) // scale
        assert quantile < 1 << 24
        symbol = bisect.bisect_right(cumulative, quantile) - 1
        self.lower = (self.lower + scale * cumulative[symbol]) & WRAP
        self.range = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.range < 1 << 32:
            self.lower, self.range = self.lower << 32 & WRAP, self.range << 32
            self.point = (self.point << 32 | self.word()) & WRAP
        return symbol


def cumulative_of(frequencies: list[int], total: int) -> list[int]:
    count, sums = len(frequencies), [0]
    for frequency in frequencies[:-1]:
        sums.append(sums[-1] + frequency)
    return [f * ((1 << 24) - count) // total + i for i, f in enumerate(sums)] + [1 << 24]


def equiprobable(bits: int) -> range:
    return range(0, (1 << 24) + 1, 1 << (24 - bits))


SHIFTS = cumulative_of([2, 3, 8, 29, 12, 7, 3], 64)


def relu(x: Ints) -> Ints:
    return np.clip(x // 256, 0, 255)


def clip(x: Ints) -> Ints:
    return np.clip(x, -511, 511)


def log(x: Ints) -> Ints:
    return np.round(32 * np.log2(1 + np.minimum(np.abs(x), 511))).astype(np.int64)


def dense(x: Ints, weight: Ints, bias: Ints) -> Ints:
    return np.tensordot(weight, x, 1) + bias.reshape(-1, *(1,) * (x.ndim - 1))


def shifted(x: Ints) -> list[Ints]:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    return [padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in TAPS]


def convolve(x: Ints, weight: Ints) -> Ints:
    result: Ints = sum(
        np.tensordot(weight[:, :, dy + 1, dx + 1], x, 1) for (dy, dx), x in zip(TAPS, shifted(x), strict=True)
    )
    return result


def depthwise(x: Ints, weight: Ints) -> Ints:
    result: Ints = sum(weight[:, dy + 1, dx + 1, None, None] * x for (dy, dx), x in zip(TAPS, shifted(x), strict=True))
    return result


class Model:
    def __init__(self, folder: Path) -> None:
        hashes = b"".join(hashlib.sha256((folder / name).read_bytes()).digest() for name in HASHED)
        self.identity = hashlib.sha256(hashes).digest()[:8]
        self.folder = folder
        with np.load(folder / "entropy.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.latent, self.hidden = self.arrays["sizes"].tolist()
        self.layout, self.passes = self.arrays["layout"].tolist(), self.arrays["passes"].tolist()
        self.reach = self.arrays["reach"].astype(int).tolist()
        entries = [2 * L + (4, 3, 1, 1)[table >> 10] for table, L in enumerate(self.reach)]
        parts = np.split(self.arrays["tables"].astype(int), np.cumsum(entries)[:-1])
        self.tables = [cumulative_of(part.tolist(), 1 << 16) for part in parts]

    def graph(self, name: str, **inputs: Any) -> NDArray[Any]:
        result: NDArray[Any] = onnxruntime.InferenceSession(self.folder / f"{name}.onnx").run(None, inputs)[0]
        return result

    def weights(self, stage: int) -> dict[str, Ints]:
        prefix = f"{stage}."
        return {k.removeprefix(prefix): v.astype(np.int64) for k, v in self.arrays.items() if k.startswith(prefix)}


def decode(data: bytes, folder: Path, tables: Path = Path()) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, or (height, width) of a grey file; opacity and metadata are left out.

    ``tables`` is ``tables.npz`` of the residual, for files above quality 8.
    """
    file, model = parse(data), Model(folder)
    assert file.identity == model.identity
    h, w = -(-file.height // 16), -(-file.width // 16)
    q = np.zeros((model.latent, h, w), np.int64)
    levels = np.full(model.latent, -1)
    hidden = np.zeros((1, model.hidden, h, w), np.float32)
    alpha = np.array([file.alpha], np.float32)
    for t, segment in enumerate(file.segments[:8]):
        coder = RangeDecoder(segment)
        for stage in sorted({row[0] for row in model.layout if row[1] == t}):
            decode_stage(model, coder, stage, q, levels)
        y_hat = dequantise(model, file, q, levels, t)
        if file.alpha > 0:
            hidden = model.graph("recurrence", belief=y_hat, memory=hidden, alpha=alpha, t=np.array([t]))
    last = min(len(file.segments), 8) - 1
    row, step = np.array([last + (0 if file.optimised else 8)]), np.array([last])
    if file.alpha < 0.5:
        picture = human = model.graph("eye", belief=y_hat, row=row).astype(float)
    if file.alpha > 0:
        inputs = {"belief": y_hat, "memory": hidden, "alpha": alpha, "t": step, "row": row}
        picture = machine = model.graph("synthesis", **inputs).astype(float)
        if file.alpha < 0.5:
            picture = np.round(human + 2 * file.alpha * (machine - human))
    rgb = picture[0].transpose(1, 2, 0)[: file.height, : file.width]
    base = np.round(rgb @ (0.299, 0.587, 0.114) if file.grey else rgb).astype(np.uint8)
    if len(file.segments) <= 8:
        return base
    coders = [RangeDecoder(segment).symbol for segment in file.segments[8:]]
    residual = Residual(tables, coders, cumulative_of, q[0], file.step_scale)
    return residual.add(base.astype(np.int64)).astype(np.uint8)


def dequantise(model: Model, file: File, q: Ints, levels: Ints, t: int) -> NDArray[np.float32]:
    human, machine = model.arrays["log_ratio"].astype(float)
    a, b = model.arrays["centroid"][:, t].astype(float)
    beyond = np.zeros(model.latent)
    if file.optimised:
        human = model.arrays["searched_ratio"][min(file.quality, 8) - 1].astype(float)
        a, beyond = model.arrays["searched"][:, t].astype(float)
        beyond = (1 - file.alpha) * beyond
    scale = np.full(model.latent, file.step_scale / 64 if file.quality <= 8 else 0.0)
    scale[[0, 1, 7, 8, 2, 3]] = 0
    step = np.where(levels < 0, 0, 2.0 ** (scale - levels) / np.exp(human + file.alpha * (machine - human)))
    centroid, beyond, step = (x[:, None, None] for x in (a + file.alpha * (b - a), beyond, step))
    values = (q + centroid * np.sign(q) + beyond * np.sign(q) * (np.abs(q) > 1)) * step
    return values[None].astype(np.float32)


def decode_stage(model: Model, coder: RangeDecoder, stage: int, q: Ints, levels: Ints) -> None:
    ranges = [row[2:] for row in model.layout if row[0] == stage]
    channels = [c for first, end, _ in ranges for c in range(first, end)]
    target = [level for first, end, level in ranges for _ in range(first, end)]
    refined = np.array(
        [max(new - levels[c], 0) if levels[c] >= 0 else 0 for c, new in zip(channels, target, strict=True)]
    )
    shifts = [0] * len(channels)
    if model.arrays["adapts"] and q[0].size >= 100 and coder.symbol(equiprobable(1)):
        shifts = [2 * coder.symbol(SHIFTS) - 6 for _ in channels]
    pyramid = model.passes[stage] == 0
    codes = np.zeros((len(channels), *q.shape[1:]), np.int64)
    predict: Predict
    if pyramid:
        positions, predict = pyramid_stage(model, stage, channels[0], q, codes)
    else:
        positions, predict = other_stage(model, stage, channels, refined, q, codes, levels)
    for number, places in enumerate(positions):
        if not places:
            continue
        found = predict(number, places)  # (family, scale, part, whole) by (channel, place)
        order = []
        for (channel, place), (family, scale, part, whole) in found.items():
            if pyramid or family != EVEN:
                scale = min(max(scale + shifts[channel], 0), 63)
            order.append(((family * 64 + scale) * 16 + part, channel, place, whole))
        escaped = []
        for table, channel, place, whole in sorted(order):
            reach = model.reach[table]
            symbol = coder.symbol(model.tables[table])
            if symbol > 2 * reach + (table >> 10 == EVEN):
                escaped.append((channel, place))
            codes[(channel, *place)] = symbol - reach + whole
        for channel, place in sorted(escaped):
            codes[(channel, *place)] = coder.symbol(equiprobable(16)) - 32768
    old = q[channels]
    new = np.where(old == 0, codes, np.sign(old) * ((1 << refined[:, None, None]) * np.abs(old) + codes))
    q[channels] = np.clip(new, -32767, 32767)
    levels[channels] = target


Found = dict[tuple[int, Place], tuple[int, int, int, int]]
Predict = Callable[[int, list[Place]], Found]


def pyramid_stage(model: Model, stage: int, channel: int, q: Ints, codes: Ints) -> tuple[list[list[Place]], Predict]:
    height, width = q.shape[1:]
    weights, first = model.weights(stage), channel == 0
    earlier = [c for row in model.layout[:stage] for c in range(row[2], row[3]) if c != 0]
    places = [(r, c) for r in range(height) for c in range(width)]
    positions = [[(r, c) for r, c in places if r % 32 == 0 and c % 32 == 0]]
    around: list[list[Place]] = [[]]
    for s in (16, 8, 4, 2, 1):
        both = {(r, c): (r % (2 * s) == s, c % (2 * s) == s) for r, c in places if r % s == 0 and c % s == 0}
        positions += [[x for x in both if all(both[x])], [x for x in both if sum(both[x]) == 1]]
        around += [[(-s, -s), (-s, s), (s, -s), (s, s)], [(-s, 0), (0, -s), (0, s), (s, 0)]]
    mask = [round(16 * 2 ** (4 * m / 7)) for m in range(16)]

    def contrast(place: Place) -> int:
        return int(np.clip(q[(0, *place)], 0, 15))

    def worth(plane: Ints, place: Place, seen_from: Place) -> int:
        v = int(plane[place])
        return 16 * v if first else 8 * (2 * v + int(np.sign(v))) * mask[contrast(place)] // mask[contrast(seen_from)]

    def predict(number: int, places: list[Place]) -> Found:
        kind = 1 if number == 0 or number % 2 else 0
        found: Found = {}
        for place in places:
            near: list[Place | None] = [(place[0] + dy, place[1] + dx) for dy, dx in around[number]] or [None] * 4
            near = [x if x and 0 <= x[0] < height and 0 <= x[1] < width else None for x in near]
            x = [worth(codes[0], n, place) if n else 0 for n in near]
            inside = sum(n is not None for n in near)
            ref = sum(x) // inside if inside else 0
            d = [value - ref if n else 0 for value, n in zip(x, near, strict=True)]
            for e in earlier:
                d += [worth(q[e], n, place) - worth(q[e], place, place) if n else 0 for n in near]
            d = np.clip([*d, ref], -2047, 2047)
            contrasts = [] if first else [16 * contrast(place), *(16 * contrast(n or place) for n in near)]
            entered = np.concatenate([clip(d), log(np.abs(d) // 4), np.array(contrasts, int)])
            half = np.split(weights["enter.weight"], 2)[kind]
            h = relu(half @ entered + weights["by_pass"][number])
            h = relu(weights["mix.weight"] @ h + weights["mix.bias"])
            m, s = (weights["out.weight"] @ h + weights["out.bias"]).tolist()
            # linear / 256 + m / 512 + 1/2, as one fraction
            mean = ref + (2 * int(weights["linear.weight"][kind] @ d) + m + 256) // 512
            scale = min(max(s // 2048 + 32, 0), 63)
            if first or abs(mean) >= 16:
                e = mean if first else int(np.sign(mean)) * max(abs(mean) - 8, 0)
                e = min(max(e, -2032), 2032)
                found[0, place] = (EVEN, scale, e % 16, e // 16)
            else:
                found[0, place] = (DEAD_ZONE, scale, min(max((mean + 1) // 2 + 8, 0), 15), 0)
        return found

    return positions, predict


def other_stage(
    model: Model, stage: int, channels: list[int], refined: Ints, q: Ints, codes: Ints, levels: Ints
) -> tuple[list[list[Place]], Predict]:
    height, width = q.shape[1:]
    weights, count = model.weights(stage), model.passes[stage]
    row, column = np.indices((height, width))
    which = {1: 0 * row, 2: (row + column) % 2, 4: np.array([[0, 2], [3, 1]])[row % 2, column % 2]}[count]
    positions = [[(r, c) for r, c in np.argwhere(which == p).tolist()] for p in range(count)]
    prior = int(np.flatnonzero(levels >= 0)[-1]) + 1
    values = q[:prior] * 2 ** (5 - np.maximum(levels[:prior, None, None], 0))
    before = relu(dense(np.concatenate([clip(values), log(values)]), weights["before.weight"], weights["before.bias"]))
    before = relu(convolve(before, weights["gather_before.weight"]) + weights["gather_before.bias"][:, None, None])
    back = convolve(before, weights["spread_before.weight"])
    old = q[channels].copy()
    member = np.minimum(np.abs(old), 3)

    def predict(number: int, places: list[Place]) -> Found:
        known = which < number
        near = codes * known
        entered = np.concatenate([clip(near), log(near)])
        current = relu(dense(entered, weights["current.weight"], weights["current.bias"])) * known
        hidden = back + convolve(current, weights["spread_current.weight"]) + weights["by_pass"][number][:, None, None]
        hidden = relu(dense(relu(hidden), weights["mix.weight"], weights["mix.bias"]))
        mean, scale = np.split(dense(hidden, weights["out.weight"], weights["out.bias"]), 2)
        mean = mean + 32 * depthwise(clip(near), weights["neighbours.weight"])
        scale = scale + depthwise(log(near), weights["activity.weight"])
        if "own.weight" in weights:
            scale = scale + depthwise(log(old), weights["own.weight"])
            ours = np.arange(len(channels))[:, None, None]
            mean = np.where(old == 0, mean, 0) + weights["state_mean"][ours, member]
            scale = np.where(old == 0, scale, 0) + weights["state_scale"][ours, member]
        found: Found = {}
        for j, channel in enumerate(channels):
            for place in places:
                m, s = int(mean[(j, *place)]), int(scale[(j, *place)])
                family = 1 + int(refined[j]) if refined[j] else EVEN if channel in MEAN_COLOURS else DEAD_ZONE
                if old[(j, *place)]:
                    family = EVEN
                index = min(max(s // 2048 + 32, 0), 63)
                if family == EVEN:
                    e = min(max((m + 256) // 512, -2032), 2032)
                    found[j, place] = (family, index, e % 16, e // 16)
                else:
                    found[j, place] = (family, index, min(max((m + 512) // 1024 + 8, 0), 15), 0)
        return found

    return positions, predict
