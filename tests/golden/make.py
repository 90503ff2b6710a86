"""Make the golden files: small photographs as the shipped codec codes and decodes them today.

    python tests/golden/make.py

Writes next to this script, for every case, the compressed file ``NAME.bhd``, the decoded pixels ``NAME.webp``
(lossless) and ``golden.json`` with the SHA-256 of each file.  Run it after the shipped model has changed, and only
then: any other change of these bytes breaks files that people have.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from beholder import samples
from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.optimise.adjust import propose
from beholder.codecs.rnn.optimise.distortions import DEFAULT, HUMAN_DISTANCES
from beholder.codecs.rnn.optimise.loop import SMALLEST

FOLDER = Path(__file__).resolve().parent
INDEX = FOLDER / "golden.json"
OFFSETS = 48
"""Places tried for each cut.  float32 convolutions differ a little between processors.  The cut is made where scaled
latents lie farthest from the borders of their quantiser cells, so that the bytes do not depend on the processor."""
LARGEST_TOTAL = 300_000
"""Bytes of all golden files together."""


@dataclass(frozen=True)
class Case:
    """One photograph coded once.

    Args:
        photo: name of a function in ``PHOTOGRAPHS``.
        quality: as for :meth:`Codec.encode_between`.
        alpha, effort: as for :func:`beholder.compress`.
    """

    photo: str
    quality: float
    alpha: float = 0.0
    effort: int = 0

    @property
    def name(self) -> str:
        return f"{self.photo}-q{self.quality:g}-alpha{self.alpha:g}-effort{self.effort}"


def _cases() -> list[Case]:
    plain = [Case("coffee", quality, alpha) for quality in (1, 4, 8) for alpha in (0.0, 0.5, 1.0)]
    optimised = [Case("cat", quality, 0.0, 1) for quality in (1, 4, 8)]
    optimised += [Case("cat", 1, 1.0, 1), Case("cat", 4, 1.0, 1)]
    kinds = [Case(photo, 4, alpha) for photo in ("grey", "opacity", "profile") for alpha in (0.0, 1.0)]
    sizes = [Case("one-pixel", 1), Case("one-pixel", 8, 1.0), Case("odd-sides", 4), Case("odd-sides", 4, 1.0)]
    between = [Case("coffee", 2.6), Case("coffee", 2.6, 1.0), Case("odd-sides", 0.3), Case("coffee", 8.4)]
    residual = [Case("coffee", 12), Case("grey", 10, 1.0)]
    return plain + optimised + kinds + sizes + between + residual


CASES = _cases()


def photograph(name: str, offset: int = 0) -> Image.Image:
    """One of the photographs: a cut from a sample, in mode L, RGB or RGBA.

    Args:
        name: coffee, cat, grey, opacity, profile, one-pixel or odd-sides.
        offset: pixels by which the cut moves to the right.
    """
    if name == "cat":
        return _cut("chelsea", 130 + offset, 60, 96, 96)
    image = {
        "coffee": lambda: _cut("coffee", 240 + offset, 120, 96, 80),
        "grey": lambda: _cut("coffee", 100 + offset, 60, 64, 48).convert("L"),
        "opacity": lambda: _cut("chelsea", 200 + offset, 100, 48, 64),
        "profile": lambda: _cut("coffee", 300 + offset, 200, 48, 48),
        "one-pixel": lambda: _cut("coffee", 300 + offset, 200, 1, 1),
        "odd-sides": lambda: _cut("chelsea", 100 + offset, 80, 127, 131),
    }[name]()
    if name == "opacity":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    if name == "profile":
        image.info["icc_profile"] = (FOLDER / "srgb.icc").read_bytes()
        exif = Image.Exif()
        exif[0x010E] = "Golden file"
        image.info["exif"] = exif.tobytes()
    return image


def decoded_pixels(name: str, mode: str) -> Image.Image:
    """The stored decoded picture of the case ``name``, in ``mode``."""
    with Image.open(FOLDER / f"{name}.webp") as image:
        return image.convert(mode)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    _write_profile()
    for old in [*FOLDER.glob("*.bhd"), *FOLDER.glob("*.webp")]:
        old.unlink()
    offsets = {name: _offset(name) for name in dict.fromkeys(case.photo for case in CASES)}
    index = {}
    for case in CASES:
        codec = Rnn(effort=case.effort)
        image = photograph(case.photo, offsets[case.photo])
        data = codec.encode_between(image, case.quality, alpha=case.alpha)
        (FOLDER / f"{case.name}.bhd").write_bytes(data)
        decoded = codec.decode(data)
        decoded.save(FOLDER / f"{case.name}.webp", lossless=True, exact=True, method=6)
        index[case.name] = {"bytes": len(data), "sha256": sha256(data)}
    text = {"model": Rnn().model.identity.hex(), "offsets": offsets, "files": index}
    INDEX.write_text(json.dumps(text, indent=1) + "\n")
    total = sum(path.stat().st_size for path in FOLDER.iterdir() if path.suffix != ".py" and path.is_file())
    print(f"{len(CASES)} cases, {total:,} bytes")
    if total > LARGEST_TOTAL:
        raise SystemExit(f"The golden files are larger than {LARGEST_TOTAL:,} bytes together: make the cuts smaller.")


def _cut(name: str, left: int, top: int, width: int, height: int) -> Image.Image:
    with Image.open(samples.path(name)) as image:
        cut = image.convert("RGB").crop((left, top, left + width, top + height))
    cut.info.clear()
    return cut


def _write_profile() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes([7, 0xEA, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # the date, which would be today's
    (FOLDER / "srgb.icc").write_bytes(profile)


def _offset(name: str) -> int:
    """The place of the cut that keeps all scaled latents farthest from the borders of their quantiser cells."""
    distances = [_border_distance(photograph(name, offset)) for offset in range(OFFSETS)]
    print(f"{name}: distance from a border {max(distances):.1e}")
    return int(np.argmax(distances))


def _border_distance(photo: Image.Image) -> float:
    model = Rnn().model
    image = np.asarray(photo.convert("RGB"))
    below, right = -image.shape[0] % 16, -image.shape[1] % 16
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge").transpose(2, 0, 1)
    nearest = 1.0
    for alpha in (0.0, 0.5, 1.0):
        latent = model.analyse(padded, alpha)
        for t in range(8):
            scaled = latent * model.steps.gain(alpha, t)
            distance = np.abs(scaled - np.round(scaled))
            # The cell of 0 has no border at 0; the first channel holds whole numbers, exactly.
            nearest = min(nearest, float(distance[(np.abs(scaled) > 0.5) & (distance > 0)].min(initial=1)))
    if min(padded.shape[1:]) // 16 >= SMALLEST:
        latent = model.analyse(padded, 0.0)
        for quality in (1, 4, 8):
            gains = [model.steps.gain(0.0, t, quality) for t in range(quality)]
            moved = propose(model, padded, latent, gains, HUMAN_DISTANCES[DEFAULT].step)
            nearest = min(nearest, float(np.abs(np.abs(moved - np.round(moved)) - 0.5).min()))
    return nearest


if __name__ == "__main__":
    main()
