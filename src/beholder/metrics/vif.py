"""Visual information fidelity in the pixel domain, by torchmetrics.

H. R. Sheikh, A. C. Bovik, "Image information and visual quality", IEEE Transactions on Image Processing 15(2), 2006.
This is the multi-scale pixel version (VIFp) that its authors released. It estimates the fraction of a picture's
visual information that is left in its copy. Each RGB channel is compared by itself, and their mean is taken.
"""

from __future__ import annotations

import math

import numpy as np

from beholder.metrics.pixels import Picture, planes

_SMALLEST_SIDE = 41


def vif(original: Picture, decoded: Picture) -> float:
    """VIF of a picture: 1 for an identical one, 0 if nothing is left; sharper than the original can exceed 1.

    About 3 s for a megapixel.

    Args:
        original: Pillow image or uint8 array of shape (H, W, 3), (H, W, 1) or (H, W), RGB.
        decoded: the compressed picture, of the same size; the order matters.

    Returns:
        NaN for pictures with a side below 41 pixels, for which it is not defined.  A channel of one value holds no
        information; what that gives (1 or NaN) means nothing.

    Raises:
        BadImageError: the sizes differ or an argument is no picture.
        ImportError: torchmetrics is missing (:func:`beholder.metrics.get` says so in words).
    """
    import torch
    from torchmetrics.functional.image import visual_information_fidelity

    pair = planes(original, decoded)
    if min(pair[0].shape[1:]) < _SMALLEST_SIDE:
        return math.nan
    # Single precision: torch would unfold every window in double, 2 kB a pixel.
    reference, copy = (torch.from_numpy(picture.astype(np.float32))[None] for picture in pair)
    with torch.inference_mode():
        return float(visual_information_fidelity(copy, reference))
