"""Structural similarity.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004. The window is an 11 x 11 Gaussian of sigma 1.5, only
where it lies inside the picture. K1 = 0.01, K2 = 0.03, range 255. The result is the mean over the picture at full
resolution. Each RGB channel is compared by itself, and their mean is taken, as in :mod:`beholder.metrics.ms_ssim`.
"""

from __future__ import annotations

import numpy as np

from beholder.metrics.pixels import Picture, planes
from beholder.metrics.similarity import similarity, window_size


def ssim(a: Picture, b: Picture) -> float:
    """SSIM of two pictures, -1 to 1; 1 for identical ones.

    Args:
        a: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W), RGB.  A picture with a side below 11
            pixels is measured with the largest odd window that fits.
        b: the other picture, of the same size; the order does not matter.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
    """
    x, y = (p.astype(np.float64) for p in planes(a, b))
    size = window_size(min(x.shape[1:]))
    return float(np.mean([similarity(p, q, luminance_too=True, size=size) for p, q in zip(x, y, strict=True)]))
