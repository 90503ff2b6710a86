"""From a photograph to the square that a network is trained on: random crop, flip and colour.

Augmentation of the reference, TF-Slim's Inception and VGG. A crop has a random area and aspect, or a fixed size in a
photograph of random size. A flip follows, then changes of brightness, contrast and saturation.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.pictures.modes import flatten
from beholder.training.classifier.settings import Augmentation, Range

Pixels = npt.NDArray[np.uint8]

_ATTEMPTS = 10
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def augment(image: Image.Image, side: int, options: Augmentation, rng: np.random.Generator) -> Pixels:
    """A random view of ``image``: (side, side, 3) uint8.

    Args:
        image: any mode and size.
        side: of the square in pixels.
        options: ranges and probabilities.
        rng: every random number comes from it, always as many for the same options.
    """
    rgb = flatten(image).convert("RGB")
    box = _scaled_box(rgb, options.short_side, rng) if options.short_side else _free_box(rgb, options, rng)
    square = rgb.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if rng.random() < options.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shift = rng.uniform(-1, 1) * options.brightness
    contrast = rng.uniform(*options.contrast)
    saturation = rng.uniform(*options.saturation)
    pixels = np.asarray(square)
    if (shift, contrast, saturation) == (0, 1, 1):
        return pixels.copy()
    return _colour(pixels, shift, contrast, saturation)


def _free_box(image: Image.Image, options: Augmentation, rng: np.random.Generator) -> tuple[float, float, float, float]:
    width, height = image.size
    box = None
    low, high = options.aspect
    # All attempts are drawn: how much is taken from the generator must not depend on the picture.
    for area, aspect, x, y in rng.random((_ATTEMPTS, 4)):
        pixels_kept = float(np.interp(area, (0, 1), options.area)) * width * height
        ratio = low + (high - low) * aspect
        crop = math.sqrt(pixels_kept * ratio), math.sqrt(pixels_kept / ratio)
        if box is None and crop[0] <= width and crop[1] <= height:
            left, top = x * (width - crop[0]), y * (height - crop[1])
            box = left, top, min(left + crop[0], width), min(top + crop[1], height)
    return box or (0, 0, width, height)


def _scaled_box(image: Image.Image, short_side: Range, rng: np.random.Generator) -> tuple[float, float, float, float]:
    crop = min(1.0, 224 / rng.uniform(*short_side)) * min(image.size)
    left, top = rng.random() * (image.width - crop), rng.random() * (image.height - crop)
    return left, top, min(left + crop, image.width), min(top + crop, image.height)


def _colour(pixels: Pixels, shift: float, contrast: float, saturation: float) -> Pixels:
    values = pixels.astype(np.float32)
    values += np.float32(255 * shift)
    if contrast != 1:
        mean = values.mean(axis=(0, 1), keepdims=True)
        values = (values - mean) * np.float32(contrast) + mean
    if saturation != 1:
        grey = (values @ _LUMA)[..., np.newaxis]
        values = (values - grey) * np.float32(saturation) + grey
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
