"""SSIMULACRA 2, the perceptual metric of JPEG XL's authors, by the package ``ssimulacra2``.

J. Sneyers, "SSIMULACRA 2 - Structural SIMilarity Unveiling Local And Compression Related Artifacts", Cloudinary,
2023 (version 2.1): SSIM and asymmetric error maps in the XYB colour space at six scales, weighted to fit opinions on
compressed pictures.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
from PIL import Image

from beholder.metrics.pixels import Picture, planes

_SMALLEST_SIDE = 8


def ssimulacra2(original: Picture, decoded: Picture) -> float:
    """SSIMULACRA 2 of a picture: 100 for a perfect one, about 90 visually lossless, 70 high, 50 medium, 30 low quality.

    It can fall far below 0.  About 4 s for a megapixel.

    Args:
        original: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W), sRGB.
        decoded: the compressed picture, of the same size; the order matters.

    Returns:
        NaN for pictures with a side below 8 pixels, for which it is not defined.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
        ImportError: the package is missing (:func:`beholder.metrics.get` says so in words).
    """
    from ssimulacra2 import compute_ssimulacra2

    pair = planes(original, decoded)
    if min(pair[0].shape[1:]) < _SMALLEST_SIDE:
        return math.nan
    return float(compute_ssimulacra2(*(_bitmap(np.moveaxis(picture, 0, 2)) for picture in pair)))


def _bitmap(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> BytesIO:
    """The package reads files only; a BMP costs next to nothing."""
    rgb = np.repeat(pixels, 3 // pixels.shape[2], axis=2)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "BMP")
    file.seek(0)
    return file
