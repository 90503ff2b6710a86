"""Running a trained codec without torch: ONNX graphs and the integer entropy model.

A model is a folder:

    analysis.onnx     (1, 3, h, w) uint8, alpha (1,)                                    -> latent (1, c, h/16, w/16)
    recurrence.onnx   belief (1, c, ., .), memory (1, k, ., .), alpha, t (1,)           -> memory
    synthesis.onnx    belief, memory, alpha, t, row (1,) of picture_network.py          -> (1, 3, h, w) uint8
    eye.onnx          belief, row                                                       -> the same for alpha 0
    eye_adjoint.onnx  its gradient: gradient (1, 3, h, w), belief, row                  -> gradient (1, c, ., .)
    eye.weights       what the last two hold in common
    entropy.npz       integer weights and probability tables (entropy/), quantiser, layout
    model.json        name, sizes, files with their SHA-256, training summary

Its identity, which every file it writes carries, is a SHA-256 over the contents of what decodes; the adjoint
only searches.  Networks run in tiles with a margin as wide as they see, so tiles do not show.  What is held of the
whole picture are its quantised latent, 16 bits a value, and for machines the decoder's memory: 1.5 and 1.5 bytes a
pixel; the entropy model needs up to 1.5 more.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn import tiles as tiling
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.layout import BLOCK, CODE_LIMIT, FULL_SHARE, ITERATIONS, LEVELS, Layout
from beholder.codecs.rnn.optimise import loop as search
from beholder.codecs.rnn.threads import one_blas_thread
from beholder.codecs.rnn.tiles import Area, Pixels, Tile, tiles
from beholder.errors import BadFileError, BadOptionError

Floats = NDArray[np.float32]
Ints = NDArray[Any]
Codes = NDArray[np.int16]

PARTS = ("analysis.onnx", "recurrence.onnx", "synthesis.onnx", "entropy.npz")
EYE, ADJOINT, EYE_WEIGHTS = "eye.onnx", "eye_adjoint.onnx", "eye.weights"
"""Models of before lack them: they decode for the eye with synthesis.onnx, search with torch, and have weights in their
graphs."""
MARGIN = {"analysis": 8, "recurrence": 2, "synthesis": 10, "eye": 10}
"""How far each network sees, in latent positions (an upper bound; checked by a test)."""


def default_folder() -> Path:
    """The model that ships."""
    return Path(str(resources.files("beholder"))) / "weights" / "codec"


@functools.lru_cache(maxsize=4)
def load(folder: Path) -> Model:
    """The model in ``folder``, loaded once.

    Raises:
        BadOptionError: the folder does not hold a complete model.
    """
    missing = [name for name in (*PARTS, "model.json") if not (folder / name).is_file()]
    if missing:
        raise BadOptionError(
            f"{folder} is no codec model: it lacks {missing[0]}; give a folder that `beholder export` wrote."
        )
    return Model(folder)


class Model:
    """Networks and entropy model of one trained codec."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = identity(folder)
        self._for_eye = (folder / EYE).is_file()
        self.searches_for_eye = (folder / ADJOINT).is_file()
        try:
            self.card: dict[str, Any] = json.loads((folder / "model.json").read_text())
            with np.load(folder / "entropy.npz", allow_pickle=False) as arrays:
                self._arrays = {name: arrays[name] for name in arrays.files}
            self._log_ratio = log_ratio(self._arrays)
            self.latent, self.memory = (int(n) for n in self._arrays["sizes"])
            self.layout = Layout.from_rows(self.latent, self._arrays["layout"], self._arrays["passes"])
            steps = [(self._log_ratio, 2), (self._arrays.get("searched_ratio"), ITERATIONS)]
            if any(ratio is not None and ratio.shape != (count, self.latent) for ratio, count in steps):
                raise ValueError("its steps are not those of its channels")
        except (ValueError, KeyError, IndexError, OSError, zipfile.BadZipFile) as error:
            raise BadOptionError(f"The codec model in {folder} is damaged ({error}): export it again.") from None

    @functools.cached_property
    def entropy(self) -> EntropyModel:
        try:
            return EntropyModel(self._arrays, self.layout)
        except KeyError as error:
            raise BadOptionError(
                f"The codec model in {self.folder} is of another version (it lacks {error}): export it again."
            ) from None

    def gain(self, alpha: float, t: int, target: int = 0) -> Floats:
        """1 / quantiser step of every channel after iteration ``t``, (c, 1, 1); 0 where nothing has been coded.

        ``target`` is the number of iterations that codes were searched for, or 0 if they were not."""
        eye, machine = self._log_ratio
        if target and "searched_ratio" in self._arrays:  # models of before lack it
            eye = self._arrays["searched_ratio"][target - 1]
        ratio = np.exp(eye + np.float32(alpha) * (machine - eye))
        levels = self.layout.levels(t)
        return np.where(levels < 0, 0, ratio * np.exp2(levels)).astype(np.float32)[:, None, None]

    def quantise(self, latent: Floats, alpha: float, t: int, target: int = 0) -> Codes:
        """Latent -> integers of iteration ``t``: towards 0, so that finer levels split the cells of coarser ones."""
        # Clipped alike on every level, or levels would not nest.  No image comes near half of what the finest level
        # holds, and the other half is for steps finer than the layout's.
        most = np.float32(CODE_LIMIT >> LEVELS)
        scaled = np.clip(latent, -most, most) * self.gain(alpha, t, target)
        return np.clip(scaled, -CODE_LIMIT, CODE_LIMIT).astype(np.int16)

    def dequantise(self, integers: Ints | Floats, alpha: float, t: int, target: int = 0) -> Floats:
        """The centroids of the cells, (c, h, w); linear between whole numbers."""
        codes = integers.astype(np.float32)
        sign = np.clip(codes, -1, 1)
        centroid, beyond = self._centroids(alpha, t, target > 0)
        values = codes + centroid * sign
        if target:
            values += beyond * np.clip(codes - sign, -1, 1)
        result: Floats = values * self._step(alpha, t, target)
        return result

    def dequantised_slope(self, codes: Floats, t: int, target: int) -> Floats:
        """How :meth:`dequantise` grows with each code, for alpha 0 and a search."""
        centroid, beyond = self._centroids(0.0, t, searched=True)
        size = np.abs(codes)
        slope = 1 + centroid * (size < 1) + beyond * ((size >= 1) & (size < 2))
        result: Floats = slope * self._step(0.0, t, target)
        return result

    def _centroids(self, alpha: float, t: int, searched: bool) -> tuple[Floats, Floats]:
        """Of the first cell on either side of 0's, and what is added to it in those beyond."""
        eye, machine = self._arrays["centroid"][:, t, :, None, None]
        beyond: Floats = np.zeros_like(eye)
        if searched and "searched" in self._arrays:  # models of before lack it
            eye, beyond = self._arrays["searched"][:, t, :, None, None]
        centroid: Floats = eye + np.float32(alpha) * (machine - eye)
        return centroid, beyond * np.float32(1 - alpha)

    def _step(self, alpha: float, t: int, target: int) -> Floats:
        gain = self.gain(alpha, t, target)
        return np.reciprocal(np.where(gain > 0, gain, np.float32(1)))

    def analyse(self, pixels: Pixels, alpha: float) -> Floats:
        """(3, 16a, 16b) uint8 -> latent (c, a, b)."""
        latent = np.empty((self.latent, pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK), np.float32)
        for tile, part in self._analyse(pixels, alpha):
            latent[:, *tile.inner] = part
        return latent

    def _analyse(self, pixels: Pixels, alpha: float) -> Iterator[tuple[Tile, Floats]]:
        height, width = pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK
        for tile in tiles(height, width, MARGIN["analysis"]):
            window = pixels[:, *tile.outer_pixels]
            (out,) = self._run("analysis", image=window[None], alpha=_scalar(alpha))
            yield tile, out[0][:, *tile.crop]

    def remember(self, belief: Floats, memory: Floats, alpha: float, t: int) -> Floats:
        """The decoder's memory after iteration ``t``."""
        new_memory = memory.copy()
        self._remember(lambda area: belief[:, *area], new_memory, alpha, t)
        return new_memory

    def _remember(self, belief: Callable[[Area], Floats], memory: Floats, alpha: float, t: int) -> None:
        """Bring ``memory`` up to date in place, with what ``belief`` makes of areas."""
        step, margin = np.array([t], np.int64), MARGIN["recurrence"]
        height, width = memory.shape[1:]
        above = memory[:, :0]
        for top in range(0, height, tiling.TILE):
            # Rows above have been overwritten already, but for a copy of the last ones.
            bottom = min(top + tiling.TILE, height)
            band = np.concatenate([above, memory[:, top : bottom + margin]], 1)
            for tile in tiles(height, width, margin, top):
                rows = slice(tile.outer[0].start - top + above.shape[1], tile.outer[0].stop - top + above.shape[1])
                old = band[None, :, rows, tile.outer[1]]
                inputs = {"belief": belief(tile.outer)[None], "memory": old, "alpha": _scalar(alpha), "t": step}
                (out,) = self._run("recurrence", **inputs)
                memory[:, *tile.inner] = out[0][:, *tile.crop]
            end = bottom - top + above.shape[1]
            above = band[:, max(end - margin, 0) : end].copy()

    def synthesise(
        self, belief: Floats, memory: Floats | None, alpha: float, t: int, target: int = 0
    ) -> NDArray[np.uint8]:
        """The image (16a, 16b, 3) as it stands after iteration ``t``; without memory, as the eye gets it."""
        pixels = np.empty((belief.shape[1] * BLOCK, belief.shape[2] * BLOCK, 3), np.uint8)
        for rows, columns, part in self._synthesise(
            lambda area: belief[:, *area], (belief.shape[1], belief.shape[2]), memory, alpha, t, target
        ):
            pixels[rows, columns] = part
        return pixels

    def _synthesise(
        self,
        belief: Callable[[Area], Floats],
        size: tuple[int, int],
        memory: Floats | None,
        alpha: float,
        t: int,
        target: int,
    ) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
        """Rows and columns of pixels, and these, (rows, columns, 3), tile by tile."""
        row = _row(t, target)
        for_eye = memory is None or (alpha == 0 and self._for_eye)
        blends = not for_eye and alpha < FULL_SHARE and self._for_eye and "row" in self._inputs("eye")
        for tile in tiles(*size, max(MARGIN["eye"], MARGIN["synthesis"])):
            believed = belief(tile.outer)[None]
            if for_eye or blends:
                (picture,) = self._run("eye", belief=believed, row=row)
            if not for_eye:
                assert memory is not None
                inputs = {"belief": believed, "memory": memory[None, :, *tile.outer], "alpha": _scalar(alpha)}
                (machine,) = self._run("synthesis", **inputs, t=np.array([t]), row=row)
                if blends:
                    eye, share = picture.astype(np.float32), np.float32(alpha / FULL_SHARE)
                    picture = np.round(eye + share * (machine - eye)).astype(np.uint8)
                else:
                    picture = machine
            yield *tile.inner_pixels, picture[0].transpose(1, 2, 0)[tile.crop_pixels]

    def eye_adjoint(self, gradient: Floats, belief: Floats, t: int, target: int) -> Floats:
        """From a gradient for each of the eye's pixels, (3, 16a, 16b), to one for each value of belief, (c, a, b)."""
        inputs = {"gradient": gradient[None], "belief": belief[None], "contrast": belief[None, :1]}
        (out,) = self._run("eye_adjoint", **inputs, row=_row(t, target))
        result: Floats = out[0]
        return result

    def encode(
        self,
        pixels: Pixels,
        alpha: float,
        iterations: int,
        effort: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
        dead_zone: float = 1.0,
    ) -> list[bytes]:
        """(3, 16a, 16b) uint8 -> one segment an iteration; ``effort`` above 0 searches for better codes and tells
        ``progress`` how many of its rounds are over.

        A ``dead_zone`` above 1, for effort 0, makes the last segment smaller: see :meth:`_widen`."""
        with one_blas_thread():
            finest = self._finest(pixels, alpha, iterations, effort, progress, dead_zone)
            now = np.zeros_like(finest)
            return [self.entropy.encode(finest, now, t, finer=self._finer(t, iterations)) for t in range(iterations)]

    def states(
        self,
        pixels: Pixels,
        alpha: float,
        iterations: int,
        effort: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Ints]:
        """The quantised latent (c, a, b) after each iteration that :meth:`encode` writes."""
        finest = self._finest(pixels, alpha, iterations, effort, progress)
        coded = [self.layout.levels(t)[:, None, None] >= 0 for t in range(iterations)]
        shifts = [self._finer(t, iterations)[:, None, None] for t in range(iterations)]
        return [np.sign(finest) * (np.abs(finest) >> s) * c for s, c in zip(shifts, coded, strict=True)]

    def _finest(
        self,
        pixels: Pixels,
        alpha: float,
        iterations: int,
        effort: int,
        progress: Callable[[int, int], None],
        dead_zone: float = 1.0,
    ) -> Codes:
        """The quantised latent after the last iteration; those before it split its channels less finely."""
        height, width = pixels.shape[1] // BLOCK, pixels.shape[2] // BLOCK
        finest = np.empty((self.latent, height, width), np.int16)
        target = iterations if effort else 0
        if effort:
            gains = [self.gain(alpha, t, target) for t in range(iterations)]
            latent = self.analyse(pixels, alpha)
            search.improve(self._judge(alpha, iterations - 1), pixels, latent, gains, alpha, effort, progress)
            for tile in tiles(height, width, 0):
                finest[:, *tile.inner] = self.quantise(latent[:, *tile.inner], alpha, iterations - 1, target)
        else:
            for tile, latent in self._analyse(pixels, alpha):
                codes = self.quantise(latent, alpha, iterations - 1)
                finest[:, *tile.inner] = self._widen(codes, latent, alpha, iterations, dead_zone)
        return finest

    def _widen(self, codes: Codes, latent: Floats, alpha: float, iterations: int, dead_zone: float) -> Codes:
        """Widen the dead zone of the last iteration's ``codes``: what was 0 before stays 0 below ``dead_zone`` steps.

        Codes that were not 0 are refined as ever, so that all iterations still agree.
        """
        if dead_zone <= 1:
            return codes
        fresh = np.ones(codes.shape, bool)
        if iterations > 1:
            coded = self.layout.levels(iterations - 2)[:, None, None] >= 0
            fresh = (np.abs(codes) >> self._finer(iterations - 2, iterations)[:, None, None] == 0) | ~coded
        weak = np.abs(latent * self.gain(alpha, iterations - 1)) < dead_zone
        return np.where(fresh & weak, 0, codes)

    def _finer(self, t: int, iterations: int) -> Ints:
        """By how many levels each channel is finer after the last iteration than after iteration ``t``."""
        last, now = self.layout.levels(iterations - 1), self.layout.levels(t)
        return np.maximum(last, 0) - np.maximum(now, 0)

    def _judge(self, alpha: float, t: int) -> Callable[[NDArray[np.uint8]], search.Judge]:
        if alpha == 0 and self.searches_for_eye:
            from beholder.codecs.rnn.optimise.ms_ssim import EyeJudge

            return functools.partial(EyeJudge, self, t)
        from beholder.codecs.rnn.torch.objective import load

        return functools.partial(load(self.folder), alpha, t)

    def decode(
        self, segments: list[bytes], height: int, width: int, alpha: float, target: int = 0
    ) -> NDArray[np.uint8]:
        """Segments of an image of ``height`` x ``width`` blocks -> (16 height, 16 width, 3) uint8; ``target`` as for
        :meth:`gain`."""
        pixels = np.empty((height * BLOCK, width * BLOCK, 3), np.uint8)
        for rows, columns, part in self.decode_tiles(segments, height, width, alpha, target):
            pixels[rows, columns] = part
        return pixels

    def decode_tiles(
        self,
        segments: list[bytes],
        height: int,
        width: int,
        alpha: float,
        target: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
        """As :meth:`decode`, but tile by tile: rows and columns, and the pixels (rows, columns, 3) there.

        Raises:
            BadFileError: segments are too short or damaged; before the first tile.
        """
        for t, segment in enumerate(segments):
            self.entropy.check_length(segment, t, height * width)
        last = len(segments) - 1
        total, done = 2 * len(segments) + sum(1 for _ in tiles(height, width, 0)), 0
        now = np.zeros((self.latent, height, width), np.int16)
        memory = np.zeros((self.memory, height, width), np.float32) if alpha else None
        for t, segment in enumerate(segments):
            with one_blas_thread():
                self.entropy.decode(segment, now, t)
            if memory is not None:  # the share of what the networks correct is 0 for the eye
                self._remember(functools.partial(self._believe, now, alpha, t, target), memory, alpha, t)
            progress(done := done + 2, total)
        believe = functools.partial(self._believe, now, alpha, last, target)
        for part in self._synthesise(believe, (height, width), memory, alpha, last, target):
            yield part
            progress(done := done + 1, total)

    def _believe(self, now: Codes, alpha: float, t: int, target: int, area: Area) -> Floats:
        return self.dequantise(now[:, *area], alpha, t, target)

    def _run(self, network: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        session = self._session(network)
        # Networks of models of before ask for less.
        feeds = {name: np.ascontiguousarray(inputs[name]) for name in self._inputs(network)}
        outputs: list[NDArray[Any]] = session.run(None, feeds)
        return outputs

    @functools.cache  # noqa: B019 - models live as long as the process
    def _inputs(self, network: str) -> list[str]:
        return [value.name for value in self._session(network).get_inputs()]

    @functools.cache  # noqa: B019 - models live as long as the process
    def _session(self, network: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Networks and NumPy's products take turns: threads that wait busily for the next turn slow the other down.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = self.folder / f"{network}.onnx"
        try:
            return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception:  # ONNX Runtime raises many kinds
            raise BadOptionError(
                f"{file} cannot be opened: the model is damaged or lacks a file; export it again."
            ) from None


def log_ratio(arrays: Mapping[str, NDArray[Any]]) -> Floats:
    """(2, latent) of the arrays of `entropy.npz`: logarithm of how much finer the eye's and a machine's steps are than
    the layout's."""
    ratio: Floats = arrays["log_ratio"].astype(np.float32)
    return np.stack([np.zeros_like(ratio), ratio]) if ratio.ndim == 1 else ratio  # models of before: a machine's


def identity(folder: Path) -> bytes:
    """8 bytes that name the model by the content of its files."""
    digest = hashlib.sha256()
    for name in (*PARTS, *(name for name in (EYE, EYE_WEIGHTS) if (folder / name).is_file())):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.digest()[:8]


def check_model(model: Model, wanted: bytes) -> None:
    """BadFileError that names both models unless ``wanted`` is this one."""
    if model.identity != wanted:
        raise BadFileError(
            f"The file was written by codec model {wanted.hex()}, and this is {model.identity.hex()}: give the folder "
            "of that model with --model, or install the version of beholder that shipped it."
        )


def _row(t: int, target: int) -> Ints:
    """As ``picture_network.row_of``."""
    return np.array([t if target else t + ITERATIONS])


def _scalar(alpha: float) -> Floats:
    return np.array([alpha], np.float32)
