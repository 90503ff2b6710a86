"""One image through one codec: encode, decode from the bytes, measure, classify."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from time import perf_counter
from typing import Any

from PIL import Image

from beholder.codecs.base import Codec
from beholder.errors import NotAvailableError
from beholder.evaluation import protocol as protocols
from beholder.evaluation.metadata import file_bytes, source_bytes, strip_metadata
from beholder.evaluation.protocol import Protocol
from beholder.metrics import ms_ssim, psnr
from beholder.observers import Observer, Prediction
from beholder.pictures.comparable import comparable

_WARM_UP_SIDE = 16


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known about one image after one codec.

    ``bytes`` and ``bpp`` (8 x ``bytes`` / pixels) count the whole file.  ``metadata_bytes`` of it hold EXIF data and a
    colour profile, ``pixel_bytes`` all the rest; ``metadata_left_out`` are bytes of metadata that the original has and
    the file has not.  MS-SSIM and PSNR (dB, infinite for equal pictures) are those of RGB pixels: opacity is
    composited on white.  Seconds are those of the one call, with models loaded before.  Predictions are sorted, best
    first.
    """

    image: str
    codec: str
    quality: float
    """Not whole for a file between two qualities."""
    alpha: float
    width: int
    height: int
    bytes: int
    bpp: float
    pixel_bytes: int
    metadata_bytes: int
    metadata_left_out: int
    ms_ssim: float
    psnr: float
    encode_seconds: float
    decode_seconds: float
    classifier: str
    predictions_original: list[Prediction]
    predictions_compressed: list[Prediction]
    original: Image.Image = field(repr=False, compare=False)
    """The picture that was compressed."""
    decompressed: Image.Image = field(repr=False, compare=False)
    """The picture that came back."""
    data: bytes = field(repr=False, compare=False)  # type: ignore[valid-type]
    """The compressed file."""

    @property
    def compression(self) -> str:
        """Second name of :attr:`codec`."""
        return self.codec

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON: without images and data, an infinite PSNR as None."""
        left_out = ("original", "decompressed", "data")
        result = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        for key in ("predictions_original", "predictions_compressed"):
            result[key] = [asdict(prediction) for prediction in result[key]]
        if not math.isfinite(self.psnr):
            result["psnr"] = None
        return result | {"compression": self.codec}


def check(observer: Observer, topk: int, protocol: str, keep_metadata: bool = False) -> Protocol:
    """Raise for what would fail after the work is done; return the protocol.

    Raises:
        BadOptionError: ``topk`` or ``protocol`` is impossible, or the protocol has no metadata to keep.
        NotAvailableError: the observer cannot run here.
    """
    rules = protocols.get(protocol)
    protocols.check_metadata(rules, keep_metadata)
    observer.check_topk(topk)
    reason = observer.unavailable()
    if reason is not None:
        raise NotAvailableError(reason)
    return rules


def evaluate_image(
    image: Image.Image,
    codec: Codec,
    observer: Observer,
    *,
    name: str = "image",
    quality: float | None = None,
    alpha: float = 0.0,
    topk: int = 5,
    protocol: Protocol | None = None,
    keep_metadata: bool = False,
) -> Evaluation:
    """Evaluate ``codec`` on ``image`` (mode L, LA, RGB or RGBA) with ``observer``.

    Colours are converted to sRGB and all metadata left out, so that codecs are compared by their pixels, unless
    ``keep_metadata`` says otherwise.

    Raises:
        BeholderError: an option is out of range, or codec or observer cannot run here.
    """
    rules = protocol or protocols.get("native")
    if quality is None or not isinstance(quality, float):
        quality = codec.scale.check(codec.name, quality)
    original = rules.prepare(image if keep_metadata else strip_metadata(image), observer.info.input_size)
    metadata_bytes = file_bytes(codec, original)
    _warm_up(codec, quality, alpha)
    started = perf_counter()
    data = codec.encode_between(original, quality, alpha=alpha)
    encoded = perf_counter()
    decompressed = codec.decode(data)
    decoded = perf_counter()
    pair = comparable(original, decompressed)
    seen = observer.predict([rules.view(original, observer), rules.view(decompressed, observer)])
    return Evaluation(
        image=name,
        codec=codec.name,
        quality=quality,
        alpha=alpha,
        width=original.width,
        height=original.height,
        bytes=len(data),
        bpp=8 * len(data) / (original.width * original.height),
        pixel_bytes=len(data) - metadata_bytes,
        metadata_bytes=metadata_bytes,
        metadata_left_out=0 if metadata_bytes else source_bytes(image),
        ms_ssim=ms_ssim(*pair),
        psnr=psnr(*pair),
        encode_seconds=encoded - started,
        decode_seconds=decoded - encoded,
        classifier=observer.info.name,
        predictions_original=observer.best(seen[0], topk),
        predictions_compressed=observer.best(seen[1], topk),
        original=original,
        decompressed=decompressed,
        data=data,
    )


def _warm_up(codec: Codec, quality: float, alpha: float) -> None:
    """Let the codec load its networks, so that the seconds belong to the image alone."""
    tiny = Image.new("RGB", (_WARM_UP_SIDE, _WARM_UP_SIDE), "gray")
    codec.decode(codec.encode_between(tiny, quality, alpha=alpha))
