"""Samples of any number format to 8 bits, and arrays of any usual shape to pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.errors import BadFileError, BadImageError, note
from beholder.limits import check_size

TAKEN = (
    "give (height, width), (height, width, channels) or (channels, height, width) with 1 to 4 channels of uint8, "
    "uint16, bool, or floating point from 0 to 1"
)
"""The end of the sentence that refuses an array."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_STRIP = 1 << 22
"""Samples that are converted at once: 32 MiB as float64."""
_OVERSHOOT = 0.25
"""Largest fraction of the positive samples that may lie above white.  Sharpening and highlights leave a few percent
there, samples of a wider range nearly all."""
_FOREIGN = 0.25
"""Share of negative samples from which an array is no picture but data around zero, such as a normalised tensor."""


class ArrayLike(Protocol):
    """Values that can become a NumPy array: NumPy's own arrays, tensors of torch, and other libraries' arrays."""

    def __array__(self) -> NDArray[Any]:
        """Return the samples."""


def is_array(value: object) -> bool:
    """Whether :func:`picture_of` takes ``value``.  Pillow's pictures have an array, too, but are none."""
    return hasattr(value, "__array__") and not isinstance(value, Image.Image | type)


def picture_of(array: ArrayLike) -> Image.Image:
    """Return an array as a picture in mode L, LA, RGB or RGBA.

    Args:
        array: (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels, or one of these as a batch of one.  Where both
            orders are possible, torch's tensors have the channels first and all others last.  bool, uint8, uint16
            (65,535 is white), other integers and floating point (see :func:`to_8_bits`).

    Raises:
        BadImageError: the shape or type is none of these, or most samples are negative.
    """
    torch = type(array).__module__.partition(".")[0] == "torch"
    try:
        values = _from_torch(array) if torch else np.asarray(array)
    except Exception as error:  # another library's failure to convert
        raise BadImageError(f"The array cannot be read ({error}): {TAKEN}.") from None
    described = f"An array of shape {tuple(values.shape)} and type {getattr(array, 'dtype', values.dtype)}"
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3) or not values.size:
        raise BadImageError(f"{described} is no image: {TAKEN}.")
    if values.ndim == 3:
        first, last = values.shape[0] in _MODES, values.shape[2] in _MODES
        if not first and not last:
            raise BadImageError(f"{described} is no image: {TAKEN}.")
        if first and (torch or not last):
            values = np.moveaxis(values, 0, 2)
    try:
        check_size(values.shape[1], values.shape[0])
    except BadFileError as error:
        raise BadImageError(str(error)) from None
    if values.dtype.kind == "f" and _fraction(values, lambda strip: strip < 0) > _FOREIGN:
        raise BadImageError(f"{described} has many negative samples: scale it to 0 (black) to 1 (white) first.")
    channels = values.shape[2] if values.ndim == 3 else 1
    pixels = np.ascontiguousarray(to_8_bits(values, "The array").reshape(*values.shape[:2], channels))
    return Image.frombytes(_MODES[channels], (pixels.shape[1], pixels.shape[0]), pixels.data)


def to_8_bits(values: NDArray[Any], name: str, white: float | None = None) -> NDArray[np.uint8]:
    """Scale samples of any number format to 0..255, rounded.

    Args:
        values: (H, W) or (H, W, C).
        name: the beginning of the sentences that tell what was guessed or clipped.
        white: the value that becomes 255.  None: that of the type for bool, uint8 and uint16; for others the smallest
            of 1 (floating point only), 255, 65,535 and the type's largest that nearly all samples reach up to.  This
            is a guess and told, unless all floating-point samples lie in 0..1.

    Samples below 0 and above ``white`` are clipped and NaN becomes black, with a note.
    """
    if values.dtype == np.uint8 and white in (None, 255):
        return values
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    guessed = white is None and values.dtype not in (np.bool_, np.uint16)
    if white is None:
        white = 1 if values.dtype == np.bool_ else 65_535 if values.dtype == np.uint16 else _guess_white(values)
    result = np.empty(values.shape, np.uint8)
    lowest, highest, broken = np.inf, -np.inf, 0
    for part in _strips(values):
        strip = values[part].astype(np.float64)
        if values.dtype.kind == "f":
            finite = np.isfinite(strip)
            if not finite.all():
                broken += strip.size - int(np.count_nonzero(finite))
                strip = np.nan_to_num(strip, nan=0.0, posinf=white, neginf=0.0)
        lowest, highest = min(lowest, strip.min()), max(highest, strip.max())
        result[part] = np.clip(np.rint(strip * (255 / white)), 0, 255)
    _tell(name, lowest, highest, white, broken, guessed)
    return result


def _tell(name: str, lowest: float, highest: float, white: float, broken: int, guessed: bool) -> None:
    if broken:
        note(f"{name} has {broken:,} samples that are not finite: NaN becomes black, infinity white.")
    clipped = lowest < 0 or highest > white
    if clipped or (guessed and white > 1):
        rule = f"0 is taken for black and {white:,.0f} for white"
        rest = ", and what lies beyond is clipped" if clipped else ""
        note(f"{name} has samples from {lowest:.6g} to {highest:.6g}: {rule}{rest}.")
    elif white == 65_535 and 0 < highest < 4096:
        note(f"{name} has samples up to {highest:.0f} of 65,535 and is nearly black: scale samples of fewer bits.")


def _guess_white(values: NDArray[Any]) -> float:
    if values.dtype.kind == "f":
        whole = all(bool((strip == np.floor(strip)).all()) for strip in _finite(values))
        above_one = any(bool((strip > 1).any()) for strip in _finite(values))
        candidates = [255, 65_535] if whole and above_one else [1, 255, 65_535]
    else:
        candidates = [white for white in (255, 65_535) if white <= np.iinfo(values.dtype).max]
    for white in candidates:
        positive = above = 0
        for strip in _finite(values):
            positive += int(np.count_nonzero(strip > 0))
            above += int(np.count_nonzero(strip > white))
        if above <= (_OVERSHOOT if white < 65_535 else 0.5) * positive:
            return white
    return 65_535 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)


def _fraction(values: NDArray[Any], test: Any) -> float:
    return sum(int(np.count_nonzero(test(values[part]))) for part in _strips(values)) / values.size


def _finite(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for part in _strips(values):
        strip = values[part]
        yield strip[np.isfinite(strip)] if values.dtype.kind == "f" else strip


def _strips(values: NDArray[Any]) -> Iterator[slice]:
    rows = max(1, _STRIP * len(values) // values.size)
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)


def _from_torch(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.element_size() == 2:
        tensor = tensor.float()  # NumPy has no bfloat16
    return np.asarray(tensor.numpy())
