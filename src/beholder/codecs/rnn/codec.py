"""`rnn`: the recurrent neural codec behind the interface that all codecs share.

Encoder, decoder and model are imported when a picture is coded: headers are read without them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder import weights
from beholder.codecs.base import Codec, QualityScale
from beholder.codecs.rnn import bitstream
from beholder.codecs.rnn.bitstream import ALPHA_STEPS, EXIF, ICC, PLANE, Bitstream
from beholder.codecs.rnn.layout import BEST_QUALITY, BLOCK, ITERATIONS, STEP_SCALES
from beholder.errors import BadFileError, BadOptionError
from beholder.pictures.bombs import check
from beholder.pictures.modes import check_size

if TYPE_CHECKING:
    from beholder.codecs.rnn.decoder import Part, Reconstruction
    from beholder.codecs.rnn.onnx_model import Model

WEBP_LIMIT = 16383
EFFORTS = (0, 1, 2, 3)
WIDTHS = (1.0, 0.55, 0.4, 0.3, 0.3, 0.2, 0.2)
"""Octaves by which steps are finer, or coarser, half way between two qualities: wide enough to leave out no size
(docs/log/2026-11-27-step-scale.md)."""
RESIDUAL_WIDTHS = (2.0, 0.5, 0.5, 0.5)
"""As WIDTHS from quality 8 on, for the steps of the residual, which halve from one quality to the next.  Between 8 and
9 they are up to four times as wide as those of quality 9, where hardly anything is left to code."""
Progress = Callable[[int, int], None]
MOST_SCALE = 127
"""Largest step scale that the header holds."""
BEYOND = 1.5
"""Octaves by which steps are coarser one quality below the scale, and finer one quality above it."""


class Rnn(Codec):
    """Recurrent neural codec; quality is the number of iterations, then of levels of the residual; alpha the observer.

    Args:
        model: folder that `beholder export` wrote; None for the model that ships.
        effort: rounds of latent optimisation for the observer: 0 none, 1 to 3 ever more; any decoder reads the files.
            Each quality is optimised on its own.  At alpha 0 effort 0 moves the codes by one learned step, and the
            others begin there.  From alpha 0.5 on, it has a single round for pictures of at most 768 pixels a side.
        human: what codes are made for at alpha 0: ``ms-ssim``, ``ssimulacra2``, ``psnr`` (effort 1 to 3 only) or
            ``blend`` of the first two; None for ``blend``.
        observer: gradient graph of the classifier that effort 1 to 3 serve above alpha 0; None for EfficientNet-Lite0.

    Raises:
        BadOptionError: there is no such effort, or no such distance.
    """

    name = "rnn"
    title = "recurrent neural codec, progressive, takes alpha"
    suffix = ".bhd"
    scale = QualityScale(1, BEST_QUALITY, 4, "a number of segments from")
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    takes_alpha = True
    progressive = True
    fine = True
    beyond = 1

    def __init__(
        self, model: Path | None = None, effort: int = 0, human: str | None = None, observer: Path | None = None
    ) -> None:
        self._folder = Path(model) if model is not None else weights.CODEC
        if isinstance(effort, bool) or effort not in EFFORTS:
            raise BadOptionError(f"There is no effort {effort!r}: choose 0 (fast), 1, 2 or 3 (better and slower).")
        if human is not None:
            from beholder.codecs.rnn.optimise.distortions import HUMAN_DISTANCES

            if human not in HUMAN_DISTANCES:
                raise BadOptionError(f"There is no distance {human!r} for humans: choose {', '.join(HUMAN_DISTANCES)}.")
        self.effort, self.human, self.observer = effort, human, observer

    @property
    def model(self) -> Model:
        """The trained networks, loaded on first use."""
        from beholder.codecs.rnn import onnx_model

        return onnx_model.load(self._folder)

    def unavailable(self) -> str | None:
        if (self._folder / "model.json").is_file():
            return None
        return f"There is no codec model in {self._folder}: give a folder that `beholder export` wrote with --model."

    def without_effect(self, alpha: float) -> str | None:
        human = bitstream.quantise_alpha(alpha) == 0
        if self.observer is not None and not (self.effort and not human):
            return "An observer to optimise for has no effect without --effort 1, 2 or 3 and an alpha above 0."
        if self.human is None:
            return None
        from beholder.codecs.rnn.optimise.distortions import HUMAN_DISTANCES

        learned = HUMAN_DISTANCES[self.human].learned_step and self.model.has_step
        if not (self.effort or learned):
            return f"Effort 0 optimises nothing for {self.human}: --human has no effect without --effort 1, 2 or 3."
        if not human:
            return f"Above alpha 0 files serve a machine: --human {self.human} has no effect."
        return None

    def recognises(self, head: bytes) -> bool:
        return head.startswith(bitstream.MAGIC)

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        return self._write(image, quality, alpha)

    def _encode_between(self, image: Image.Image, quality: float, alpha: float) -> bytes:
        segments, step_scale = _between(quality)
        return self._write(image, segments, alpha, step_scale)

    def settings_between(self, quality: float) -> tuple[int, int]:
        return _between(quality)

    def _write(self, image: Image.Image, quality: int, alpha: float, step_scale: int = 0) -> bytes:

        check_size(image.width, image.height, BLOCK)
        # The decoder hears of alpha through the header alone.
        alpha = bitstream.quantise_alpha(alpha) / ALPHA_STEPS
        chunks = {
            tag: bytes(image.info[key]) for tag, key in ((ICC, "icc_profile"), (EXIF, "exif")) if image.info.get(key)
        }
        if image.mode in ("LA", "RGBA"):
            chunks[PLANE] = _write_plane(image.getchannel("A"))
        stream = Bitstream(
            model=self.model.identity,
            width=image.width,
            height=image.height,
            alpha=alpha,
            quality=quality,
            grey=image.mode in ("L", "LA"),
            optimised=self._optimises(image, alpha, quality),
            step_scale=step_scale,
            chunks=chunks,
        )
        with self.model.guard():
            self._code(stream, image)
        return bitstream.write(stream)

    def _code(self, stream: Bitstream, image: Image.Image) -> None:
        """Fill in the segments."""
        from beholder.codecs.rnn import encoder
        from beholder.codecs.rnn.residual import layer

        model, levels = self.model.scaled(stream.iteration_scale), stream.quality - stream.iterations
        base = _begin(model, stream) if levels else None
        progress = _parts(self.progress, 2 if levels else 1)
        stream.segments = encoder.encode(
            model,
            _Padded(image),
            stream.alpha,
            stream.iterations,
            self.effort,
            next(progress),
            self.human,
            self.observer,
            base,
        )
        if base is not None:
            mode = "L" if stream.grey else "RGB"
            original = image if image.mode == mode else image.convert(mode)
            decoded = _paint(stream, base.picture(ITERATIONS - 1))
            stream.segments += layer.encode(original, decoded, base.codes[0], levels, stream.step_scale, next(progress))

    def _optimises(self, image: Image.Image, alpha: float, quality: int) -> bool:
        from beholder.codecs.rnn import encoder

        size = (-(-image.height // BLOCK), -(-image.width // BLOCK))
        return encoder.optimised_for(self.model, alpha, self.effort, min(quality, ITERATIONS), size) > 0

    def encodes_at_once(self, image: Image.Image, alpha: float) -> bool:
        return not self._optimises(image, bitstream.quantise_alpha(alpha) / ALPHA_STEPS, ITERATIONS)

    def encode_many(self, image: Image.Image, qualities: Sequence[int], *, alpha: float = 0.0) -> list[bytes]:
        """One encoding at the best quality; the others are its first segments under their own header.

        Where codes are optimised for a quality, one encoding for all qualities from 8 on, whose iterations are the
        same, and every other quality by itself.  Modes and errors are as for :meth:`encode`.
        """
        wanted = [self.scale.check(self.name, quality) for quality in qualities]
        shared = set(wanted)
        if not self.encodes_at_once(image, alpha):
            shared = {quality for quality in wanted if quality >= ITERATIONS}
        files = {quality: self.encode(image, quality, alpha=alpha) for quality in set(wanted) - shared}
        if shared:
            whole = bitstream.read(self.encode(image, max(shared), alpha=alpha))
            for quality in shared:
                files[quality] = bitstream.write(replace(whole, quality=quality, segments=whole.segments[:quality]))
        return [files[quality] for quality in wanted]

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        from beholder.codecs.rnn import onnx_model

        stream = bitstream.read(data)
        segments = _choose(stream, quality)
        onnx_model.check_model(self.model, stream.model)
        with self.model.guard():
            image = self._draw(stream, segments)
        if PLANE in stream.chunks:
            image.putalpha(_read_plane(stream.chunks[PLANE], image.size))
        for tag, key in ((ICC, "icc_profile"), (EXIF, "exif")):
            if tag in stream.chunks:
                image.info[key] = stream.chunks[tag]
        return image

    def _draw(self, stream: Bitstream, segments: list[bytes]) -> Image.Image:
        from beholder.codecs.rnn.decoder import decode_tiles

        model = self.model.scaled(stream.iteration_scale)
        iterations, levels = segments[:ITERATIONS], segments[ITERATIONS:]
        base, progress = _begin(model, stream), _parts(self.progress, 2 if levels else 1)
        if not levels:
            return _paint(stream, decode_tiles(model, iterations, base, next(progress)))
        from beholder.codecs.rnn.residual import layer

        layer.check(levels, (stream.width, stream.height), stream.grey)
        image = _paint(stream, decode_tiles(model, iterations, base, next(progress)))
        layer.apply(levels, image, base.codes[0], stream.step_scale, next(progress))
        return image

    def describe(self, data: bytes) -> dict[str, Any]:
        """Fields of the header of a `.bhd` file; no pixel is decoded.

        Raises:
            BadFileError: the file is damaged.
        """
        stream = bitstream.read(data)
        names = {ICC: "icc_profile", EXIF: "exif", PLANE: "opacity_plane"}
        return {
            "model": stream.model.hex(),
            "version": bitstream.VERSION,
            "width": stream.width,
            "height": stream.height,
            "alpha": stream.alpha,
            "qualities": stream.quality,
            "complete_qualities": len(stream.segments),
            "grey": stream.grey,
            "optimised": stream.optimised,
            "step_scale": stream.step_scale,
            "segments": [len(s) for s in stream.segments],
            "chunks": {names.get(tag, f"tag {tag}"): len(chunk) for tag, chunk in stream.chunks.items()},
        }


def _between(quality: float) -> tuple[int, int]:
    """Segments and step scale of a file between two qualities: the nearer one's, with finer or coarser steps.

    Files above quality 8 all have a residual."""
    nearest = min(max(math.floor(quality + 0.5), 1), BEST_QUALITY)
    octaves = BEYOND
    if 1 <= quality < BEST_QUALITY:
        octaves = 2 * (*WIDTHS, *RESIDUAL_WIDTHS)[math.floor(quality) - 1]
    if ITERATIONS < quality < ITERATIONS + 1:
        nearest, octaves = ITERATIONS + 1, RESIDUAL_WIDTHS[0]
    return nearest, min(round(STEP_SCALES * octaves * (nearest - quality)), MOST_SCALE)


def _begin(model: Model, stream: Bitstream) -> Reconstruction:
    from beholder.codecs.rnn.decoder import Reconstruction

    size = (-(-stream.height // BLOCK), -(-stream.width // BLOCK))
    return Reconstruction(model, size, stream.alpha, stream.optimised_for)


def _paint(stream: Bitstream, tiles: Iterator[Part]) -> Image.Image:
    # The picture takes memory: not before all codes are known to be there, which the first tile tells.
    first = next(tiles)
    image = Image.new("L" if stream.grey else "RGB", (stream.width, stream.height))
    for rows, columns, pixels in itertools.chain([first], tiles):
        # Pasting cuts off what lies beyond the right and lower edge.
        image.paste(Image.fromarray(pixels).convert(image.mode), (columns.start, rows.start))
    return image


def _parts(progress: Progress, parts: int) -> Iterator[Progress]:
    """Progress of each of several parts of a work that follow one another."""
    for part in range(parts):
        yield functools.partial(_tell, progress, part, parts)


def _tell(progress: Progress, part: int, parts: int, done: int, total: int) -> None:
    progress(part * total + done, parts * total)


class _Padded:
    """A picture's RGB pixels as (3, 16H, 16W), the last row and column repeated; windows are made when asked for."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.shape = (3, *(-(-side // BLOCK) * BLOCK for side in (image.height, image.width)))

    def __getitem__(self, window: tuple[slice, slice, slice], /) -> NDArray[np.uint8]:
        _, rows, columns = window
        right, bottom = min(columns.stop, self._image.width), min(rows.stop, self._image.height)
        part = np.asarray(self._image.crop((columns.start, rows.start, right, bottom)).convert("RGB"))
        beyond = ((0, rows.stop - bottom), (0, columns.stop - right), (0, 0))
        return np.pad(part, beyond, mode="edge").transpose(2, 0, 1)


def _choose(stream: Bitstream, quality: int | None) -> list[bytes]:
    """The segments to decode, or BadFileError / BadOptionError if the wanted ones are not there."""
    whole = len(stream.segments)
    if quality is not None:
        if not 1 <= quality <= stream.quality:
            raise BadOptionError(f"Quality {quality} is not in this file: it holds qualities 1 to {stream.quality}.")
        if quality <= whole:
            return stream.segments[:quality]
    if whole == 0:
        raise BadFileError("The file ends before its first segment is complete: get the whole file.")
    if stream.cut or quality is not None:
        raise BadFileError(
            f"The file ends inside segment {whole + 1} of {stream.quality}: get the whole file, or "
            f"decompress what is there with quality {whole}."
        )
    return stream.segments


def _write_plane(plane: Image.Image) -> bytes:
    out = BytesIO()
    if max(plane.size) <= WEBP_LIMIT:
        plane.convert("RGB").save(out, "WEBP", lossless=True, method=4)
    else:
        plane.save(out, "PNG", optimize=True)
    return out.getvalue()


def _read_plane(data: bytes, size: tuple[int, int]) -> Image.Image:
    try:
        check(BytesIO(data))
        with Image.open(BytesIO(data), formats=("WEBP", "PNG")) as plane:
            if plane.size == size:
                return plane.convert("RGB").getchannel(0)
    except Exception:
        pass
    raise BadFileError("The opacity of this .bhd file is damaged: get the file anew.") from None
