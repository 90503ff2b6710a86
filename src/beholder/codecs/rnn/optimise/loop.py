"""Search at encode time (``--effort``): codes that serve the observer better, in files that any decoder reads.

Gradients of the observer's own distortion, through the decoder, say which codes this very image needs (Campos et al.,
"Content adaptive optimization for neural image compression", 2019; Yang, Bamler and Mandt, "Improving inference for
neural image compression", 2020).  Each round decodes, compares and moves the codes by Adam.  What is minimised is

    d(alpha) + price * bits per pixel,    d(alpha) = (1 - alpha) d_human + alpha d_machine

with the distortions of training and a price at which files hardly grow.  A search that ends worse than it began is
thrown away.

While the search runs a code is a real number.  What is decoded is that number rounded softly (Agustsson and Theis,
"Universally quantized neural compression", 2020), the harder the later; its rate is that of the whole number next to
it plus a slope: what the entropy model would charge for moving to the other neighbour.

Rates and distortions come from a :class:`Judge`: :mod:`.ms_ssim` for alpha 0, which needs nothing but NumPy and ONNX
Runtime, and :mod:`beholder.codecs.rnn.torch.objective` for machines, which needs torch and a classifier: the extra
``[train]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn.layout import BLOCK
from beholder.codecs.rnn.threads import one_blas_thread
from beholder.codecs.rnn.tiles import Pixels

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

WINDOW = 64
"""Side, in blocks, of the windows that are searched one by one: 1024 pixels, or memory would grow with the image."""
MARGIN = 4
"""Blocks around a window that are decoded with it and stay as they are."""
SMALLEST = 4
"""Blocks: in smaller pictures classifiers see nothing, and nor does MS-SSIM."""
BETAS = (0.8, 0.95)
"""Adam's: how much of the gradient's mean and of its square each round keeps."""
MACHINE_STEADY = (0.3, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Added to Adam's denominator for a machine after each iteration, in root mean squares of the first gradient, or noise
moves what hardly matters to it, which is most of many fine codes.  Nothing is for the eye."""
SOFTNESS = (0.3, 0.02)
"""Width of the soft rounding's step in the first and in the last round."""
EYE_PRICE, MACHINE_PRICE = (1.0, 0.95, 1.1, 1.1, 1.3, 0.95, 0.85, 0.78), 1.5
"""Price of a bit per pixel times the image's bits per pixel: for the eye after each iteration, and for a machine."""
LEAST_BPP = 0.02
"""Images that need less are not charged more for a bit."""


class Prices(Protocol):
    """What codes cost."""

    def bits(self, latents: list[Floats]) -> float:
        """What the latents after each iteration cost in all."""

    def slopes(self, latents: list[Floats], direction: Floats) -> list[Floats]:
        """What it would cost to move each code by 1 or -1 while all others stay, in bits for each unit; for each
        iteration, and 0 where nothing is coded or the code could not move."""


@dataclass(frozen=True)
class Pace:
    """How a search goes on.

    Attributes:
        rounds: how often the picture is decoded and compared.
        rate: how far Adam moves a code in the first round; less and less, down to nothing.
        refresh: prices are made anew every so many rounds, and at most one and a half times as many old.
        price: of a bit, beside EYE_PRICE: a short search does not spend all that a low price asks for.
    """

    rounds: int
    rate: float
    refresh: int = 1
    price: float = 1.0


class Judge(Protocol):
    """What codes of one picture, or of a window of it, cost and are worth.

    Latents and codes are whole numbers held as float32, (c, a, b), but for ``soft`` ones.
    """

    def prices(self, latents: list[Floats]) -> Prices:
        """Exact for ``latents``, and nearly so for others like them."""

    def pace(self, effort: int) -> Pace:
        """How to search; effort 0 is for training."""

    def distortion(self, latents: list[Floats]) -> float:
        """d(alpha) of what is decoded from the last."""

    def gradient(self, soft: Floats, latents: list[Floats]) -> Floats:
        """How d(alpha) grows with each code of ``soft``, which stands for the last of ``latents``."""


def improve(
    judge: Callable[[Picture], Judge],
    pixels: Pixels,
    latent: Floats,
    gains: Sequence[Floats],
    alpha: float,
    effort: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """A latent whose codes serve the observer better; the same every time.

    Args:
        judge: makes one for a window of the picture.
        pixels: (3, 16a, 16b).
        latent: (c, a, b) as analysis gave it; overwritten with the result.
        gains: (c, 1, 1) for each iteration that will be sent: 1 / step, or 0 where nothing has been coded.
        alpha: the observer.
        effort: 1 or 2.
        progress: called after each round of each window: how many of how many are over.
    """
    result = latent
    height, width = latent.shape[1:]
    if min(height, width) < SMALLEST:
        return result
    windows = [(rows, columns) for rows in _windows(height) for columns in _windows(width)]
    rounds = 0
    # NumPy's products are small: more threads would be in each other's way, and round otherwise.
    with one_blas_thread():
        for inner in windows:
            outer = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in inner)
            rows, columns = (
                slice(s.start * BLOCK, min(s.stop * BLOCK, n)) for s, n in zip(outer, pixels.shape[1:], strict=True)
            )
            start = np.ascontiguousarray(result[:, *outer])
            own = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
            free = np.zeros_like(start[:1])
            free[:, *own] = 1
            one = judge(np.ascontiguousarray(pixels[:, rows, columns]))
            total = one.pace(effort).rounds * len(windows)

            def over(total: int = total) -> None:
                nonlocal rounds
                rounds += 1
                progress(rounds, total)

            found = descend(one, start, free, gains, alpha, effort, over)
            result[:, *inner] = found[:, *own]
    return result


def descend(
    judge: Judge,
    start: Floats,
    free: Floats,
    gains: Sequence[Floats],
    alpha: float,
    effort: int,
    over: Callable[[], None] = lambda: None,
) -> Floats:
    """One window: the better of ``start`` and where Adam ends.

    Args:
        judge: of the window.
        start: (c, a, b) latent.
        free: (1, a, b), 1 where codes may move.
        gains, alpha, effort: as for :func:`improve`; effort 0 is for training.
        over: called after each round.
    """
    t = len(gains) - 1
    coded = gains[-1] > 0
    gain = np.where(coded, gains[-1], np.float32(1))
    shares = [g / gain for g in gains]

    def between(ends: tuple[float, float]) -> float:
        return ends[0] + alpha * (ends[1] - ends[0])

    def latents(codes: Floats) -> list[Floats]:
        return [np.trunc(codes * share) for share in shares]

    free = free * coded
    free[0] = 0  # the contrast decides the steps of all other codes
    scaled = start * gain * coded
    begun: Floats = np.trunc(scaled)
    # Within a cell, codes begin on their own side of it: rounding gives what truncation gave.
    place: Floats = np.where(begun == 0, scaled / 2, scaled - np.float32(0.5) * np.sign(scaled))
    codes: Floats = np.where(free > 0, place, begun)
    area = start[0].size * BLOCK**2
    pace = judge.pace(effort)
    adam = _Adam(codes.shape)

    # Prices and pictures need not wait for each other, and both release the interpreter.
    with ThreadPoolExecutor(2) as pool:
        whole = latents(begun)
        coming = pool.submit(judge.prices, whole)
        distortion = judge.distortion(whole)
        prices = coming.result()
        bits = prices.bits(whole)
        price = between((EYE_PRICE[t] * pace.price, MACHINE_PRICE)) / max(bits / area, LEAST_BPP) / area
        before = price * bits + distortion
        for number in range(pace.rounds):
            softness = SOFTNESS[0] * (SOFTNESS[1] / SOFTNESS[0]) ** (number / max(pace.rounds - 1, 1))
            low = np.floor(codes)
            curve = np.tanh((codes - low - np.float32(0.5)) / np.float32(2 * softness))
            height = np.float32(1 / (2 * math.tanh(0.25 / softness)))
            hard: Floats = np.where(free > 0, np.round(codes), codes)
            soft: Floats = np.where(free > 0, low + np.float32(0.5) + height * curve, codes)
            whole = latents(hard)
            # New prices are made while rounds go on, and taken when half of their time is over.
            if number and number % pace.refresh == 0:
                coming = pool.submit(judge.prices, whole)
            if number >= pace.refresh and number % pace.refresh == pace.refresh // 2:
                prices = coming.result()
            slopes = pool.submit(prices.slopes, whole, np.where(hard > low, np.float32(-1), np.float32(1)))
            gradient = judge.gradient(soft, whole)
            for slope, share in zip(slopes.result(), shares, strict=True):
                gradient += slope * (share * np.float32(price))
            gradient *= free
            gradient *= (1 - curve * curve) * (height / np.float32(2 * softness))
            if number == 0:
                size = math.sqrt(float(np.square(gradient).sum()) / max(float(free.sum()), 1))
                adam.steady = between((0.0, MACHINE_STEADY[t])) * size + 1e-12
            codes = codes - np.float32(pace.rate * (1 - number / pace.rounds)) * adam.step(gradient)
            over()
        end: Floats = np.round(codes)
        whole = latents(end)
        if price * prices.bits(whole) + judge.distortion(whole) >= before:
            return start
    # Inside the cells, so that no rounding error moves a code.
    inside = (end + np.float32(0.3) * np.sign(end)) / gain
    return np.where(free > 0, inside, start)


class _Adam:
    """Kingma and Ba, 2015: the direction of each step."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.square = np.zeros((2, *shape), np.float32)
        self.count, self.steady = 0, 1e-12

    def step(self, gradient: Floats) -> Floats:
        self.count += 1
        for state, kept, value in zip((self.mean, self.square), BETAS, (gradient, gradient * gradient), strict=True):
            state *= np.float32(kept)
            state += np.float32(1 - kept) * value
        mean, square = (s / np.float32(1 - k**self.count) for s, k in zip((self.mean, self.square), BETAS, strict=True))
        direction: Floats = mean / (np.sqrt(square) + np.float32(self.steady))
        return direction


def _windows(blocks: int) -> Iterator[slice]:
    return (slice(start, min(start + WINDOW, blocks)) for start in range(0, blocks, WINDOW))
