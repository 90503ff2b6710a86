"""Colour conversion and chroma resampling in the integers of libbpg, so that pixels agree exactly.

Coefficients are scaled to fill 31 bits; chroma is resampled vertically and horizontally with a 14-bit
intermediate.  Pictures are converted in strips of rows, which bounds the temporary memory.

The only difference to libbpg: limited-range codes far outside the legal range saturate here where its
32-bit sums wrap around.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.codecs.bpg.container import Alpha, ColourSpace, Header
from beholder.codecs.bpg.pictures import Plane, subsampling

Pixels = npt.NDArray[np.uint8]
"""Samples (height, width, channels), 0 to 255."""
_Integers = npt.NDArray[Any]

_STRIP = 64  # rows converted at once; even, so that a strip begins on a chroma row
_LUMA_WEIGHTS = {  # of red and blue
    ColourSpace.YCBCR_601: (0.299, 0.114),
    ColourSpace.YCBCR_709: (0.2126, 0.0722),
    ColourSpace.YCBCR_2020: (0.2627, 0.0593),
}
# Interpolation by two: at a quarter sample after the middle tap (mirrored: before it), and halfway.
_QUARTER = (-1, 4, -10, 57, 18, -6, 2)
_HALF = (-1, 4, -11, 40, 40, -11, 4, -1)
_DECIMATE = (2, -4, -8, 17, 57, 57, 17, -8, -4, 2)


def to_planes(pixels: Pixels, chroma: int, bit_depth: int) -> list[Plane]:
    """Convert gray (h, w, 1) or RGB (h, w, 3) pixels to full-range planes, JPEG-sited BT.601 YCbCr.

    Args:
        pixels: 8 bits a sample.
        chroma: chroma_format_idc; 0 exactly for gray pixels.
        bit_depth: of the planes, 8 to 12.

    Returns:
        Y or Y, Cb, Cr; uint8 for 8 bits, else uint16; chroma sides rounded up.
    """
    sample = np.uint8 if bit_depth == 8 else np.uint16
    if chroma == 0:
        return [_rescale(pixels[:, :, 0], bit_depth).astype(sample)]
    height, width = pixels.shape[:2]
    planes: list[Plane] = [np.empty((height, width), sample) for _ in range(3)]
    shift, scale = _scale(255, 31 - bit_depth, (1 << bit_depth) - 1)
    red, blue = _LUMA_WEIGHTS[ColourSpace.YCBCR_601]
    green = 1 - red - blue
    matrix = (
        (red, green, blue),
        (-0.5 * red / (1 - blue), -0.5 * green / (1 - blue), 0.5),
        (0.5, -0.5 * green / (1 - red), -0.5 * blue / (1 - red)),
    )
    rounding, centre, top = 1 << (shift - 1), 1 << (bit_depth - 1), (1 << bit_depth) - 1
    for rows in _strips(height):
        channels = [pixels[rows, :, index].astype(np.int32) for index in range(3)]
        for plane, weights, offset in zip(planes, matrix, (0, centre, centre), strict=True):
            total = sum(round(weight * scale) * channel for weight, channel in zip(weights, channels, strict=True))
            plane[rows] = np.clip(((total + rounding) >> shift) + offset, 0, top)
    across, down = subsampling(chroma)
    if across == 2:
        planes[1:] = [_decimate(plane, bit_depth, vertically=down == 2) for plane in planes[1:]]
    return planes


def to_pixels(planes: Sequence[Plane], alpha: Plane | None, header: Header) -> Iterator[tuple[slice, Pixels]]:
    """Convert decoded planes to 8-bit pixels: L, LA, RGB or RGBA by the number of channels.

    Args:
        planes: Y or three planes (H, W) as ``header`` describes them, chroma sides rounded up.
        alpha: the extra plane (H, W), exactly if ``header`` announces one.
        header: meaning of the samples.
    """
    colours = 1 if header.chroma == 0 else 3
    has_opacity = header.alpha in {Alpha.STRAIGHT, Alpha.PREMULTIPLIED}
    for rows in _strips(header.height):
        strip = np.empty((rows.stop - rows.start, header.width, colours + has_opacity), np.uint8)
        if header.chroma == 0:
            strip[:, :, 0] = _luma_to_8(planes[0][rows], header)
        else:
            chroma = [_at_luma(plane, rows, header) for plane in planes[1:]]
            _to_rgb(planes[0][rows], chroma[0], chroma[1], header, strip)
        if alpha is not None:
            _apply_alpha(strip, alpha[rows], header)
        yield rows, strip


def _to_rgb(luma: Plane, second: Plane, third: Plane, header: Header, out: Pixels) -> None:
    """Fill the first three channels of ``out``; all planes have its size."""
    if header.colour_space is ColourSpace.RGB:
        for channel, plane in enumerate((third, luma, second)):
            out[:, :, channel] = _luma_to_8(plane, header)
        return
    # Legal sums fit 32 bits; limited range stretches illegal codes beyond them.
    integer = np.int64 if header.limited_range else np.int32
    centre = 1 << (header.bit_depth - 1)
    shift, y_scale, c_scale, offset = _to_8_bits(header)
    y: _Integers = luma.astype(integer)
    cb: _Integers = second.astype(integer) - centre
    cr: _Integers = third.astype(integer) - centre
    sums: tuple[_Integers, ...]
    if header.colour_space is ColourSpace.YCGCO:
        one = round(y_scale)
        sums = ((y - cb + cr) * one, (y + cb) * one, (y - cb - cr) * one)
    else:
        y *= round(y_scale)
        red, blue = _LUMA_WEIGHTS[header.colour_space]
        green = 1 - blue - red
        sums = (
            y + round(2 * (1 - red) * c_scale) * cr,
            y - round(2 * blue * (1 - blue) / green * c_scale) * cb - round(2 * red * (1 - red) / green * c_scale) * cr,
            y + round(2 * (1 - blue) * c_scale) * cb,
        )
    for channel, total in enumerate(sums):
        out[:, :, channel] = np.clip((total + offset) >> shift, 0, 255)


def _luma_to_8(plane: Plane, header: Header) -> Plane:
    if header.bit_depth == 8 and not header.limited_range:
        return plane
    shift, y_scale, _, offset = _to_8_bits(header)
    result: Plane = np.clip((plane.astype(np.int64) * round(y_scale) + offset) >> shift, 0, 255)
    return result


def _to_8_bits(header: Header) -> tuple[int, float, float, int]:
    """Return shift, scales of luma and chroma, and what to add before the shift."""
    shift, scale = _scale((1 << header.bit_depth) - 1, 22, 255)
    if not header.limited_range:
        return shift, scale, scale, 1 << (shift - 1)
    more = header.bit_depth - 8
    _, y_scale = _scale(219 << more, 22, 255)
    _, c_scale = _scale(224 << more, 22, 255)
    return shift, y_scale, c_scale, (1 << (shift - 1)) - (16 << more) * round(y_scale)


def _scale(largest_in: int, shift: int, largest_out: int) -> tuple[int, float]:
    return shift, largest_out * (1 << shift) / largest_in


def _rescale(plane: Plane, bit_depth: int) -> Plane:
    """Stretch 8-bit samples to ``bit_depth`` bits."""
    if bit_depth == 8:
        return plane
    shift, scale = _scale(255, 31 - bit_depth, (1 << bit_depth) - 1)
    result: Plane = (plane.astype(np.int64) * round(scale) + (1 << (shift - 1))) >> shift
    return result


def _apply_alpha(pixels: Pixels, alpha: Plane, header: Header) -> None:
    """Fill the last channel of ``pixels``, or blend the colours with white's part, in place."""
    if header.alpha is Alpha.WHITE:
        product = pixels.astype(np.int32) * alpha[:, :, None].astype(np.int32)
        pixels[:] = (product + (1 << (header.bit_depth - 1))) >> header.bit_depth
        return
    if header.bit_depth > 8:  # alpha has full range even where colour has not
        shift, scale = _scale((1 << header.bit_depth) - 1, 22, 255)
        alpha = (alpha.astype(np.int64) * round(scale) + (1 << (shift - 1))) >> shift
    pixels[:, :, -1] = alpha
    if header.alpha is Alpha.PREMULTIPLIED:
        divisor = pixels[:, :, -1:].astype(np.int64)
        colours = pixels[:, :, :-1]
        safe = np.maximum(divisor, 1)
        inverse = ((255 << 16) + divisor // 2 + 128) // safe
        quotient = (colours * inverse + (1 << 15)) >> 16
        colours[:] = np.where(colours >= divisor, 255, quotient)


def _at_luma(plane: Plane, rows: slice, header: Header) -> Plane:
    """Return the chroma of some luma rows at every luma position."""
    across, down = subsampling(header.chroma)
    if down == 2:
        return _upsample_columns(_upsample_rows(plane, rows, header.bit_depth), 14 - header.bit_depth, header)
    if across == 2:
        return _upsample_columns(plane[rows].astype(np.int32), 0, header)
    return plane[rows]


def _upsample_rows(plane: Plane, rows: slice, bit_depth: int) -> _Integers:
    """Interpolate chroma lines to luma lines, scaled up to 14 bits (and a little overshoot)."""
    first, last = rows.start // 2, -(-rows.stop // 2)
    wanted = np.clip(np.arange(first - 3, last + 3), 0, len(plane) - 1)
    lines = plane[wanted].astype(np.int32)
    shift = bit_depth - 8
    rounding = (1 << shift) >> 1
    result = np.empty((2 * (last - first), plane.shape[1]), np.int32)
    for parity, taps in enumerate((_QUARTER[::-1], _QUARTER)):
        result[parity::2] = (_weigh(lines, taps) + rounding) >> shift
    return result[: rows.stop - rows.start]


def _upsample_columns(lines: _Integers, fraction: int, header: Header) -> Plane:
    """Interpolate chroma across to the picture's width and drop ``fraction`` fractional bits."""
    shift, top = 6 + fraction, (1 << header.bit_depth) - 1
    padded = np.pad(lines, ((0, 0), (3, 4)), mode="edge").T
    half = 1 << (shift - 1)
    if header.cosited:
        even = (lines + ((1 << fraction) >> 1)) >> fraction
        odd = ((_weigh(padded, _HALF) + half) >> shift).T
    else:
        even = ((_weigh(padded[:-1], _QUARTER[::-1]) + half) >> shift).T
        odd = ((_weigh(padded[:-1], _QUARTER) + half) >> shift).T
    result: _Integers = np.stack((even, odd), axis=-1).reshape(len(lines), -1)[:, : header.width]
    return np.clip(result, 0, top)


def _decimate(plane: Plane, bit_depth: int, *, vertically: bool) -> Plane:
    """Halve the columns and, where wanted, the rows; samples fall between two old ones."""
    height, width = plane.shape
    shift = bit_depth - 7 if vertically else 7
    narrow: _Integers = np.empty((height, -(-width // 2)), np.int16)
    top = (1 << bit_depth) - 1
    for rows in _strips(height):
        padded = np.pad(plane[rows].astype(np.int32), ((0, 0), (4, 5)), mode="edge").T
        narrow[rows] = ((_weigh(padded, _DECIMATE, step=2) + (1 << (shift - 1))) >> shift).T
    if not vertically:
        return np.clip(narrow, 0, top).astype(plane.dtype)
    shift = 21 - bit_depth
    result: Plane = np.empty((-(-height // 2), narrow.shape[1]), plane.dtype)
    for rows in _strips(len(result)):
        wanted = np.clip(np.arange(2 * rows.start - 4, 2 * rows.stop + 4), 0, height - 1)
        total = _weigh(narrow[wanted].astype(np.int32), _DECIMATE, step=2)
        result[rows] = np.clip((total + (1 << (shift - 1))) >> shift, 0, top)
    return result


def _weigh(lines: _Integers, taps: Sequence[int], step: int = 1) -> _Integers:
    """Correlate along the first axis, without padding, at every ``step``-th position."""
    count = len(lines) - len(taps) + 1
    total: _Integers = taps[0] * lines[0:count:step]
    for index, tap in enumerate(taps[1:], 1):
        total += tap * lines[index : index + count : step]
    return total


def _strips(height: int) -> Iterator[slice]:
    for start in range(0, height, _STRIP):
        yield slice(start, min(start + _STRIP, height))
