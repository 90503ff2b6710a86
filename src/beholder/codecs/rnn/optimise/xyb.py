"""X, Y and B - Y of a picture at all scales of SSIMULACRA2, strip by strip, and the gradient back to its values."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.metrics.ssimulacra2 import HALF, SMALLEST
from beholder.metrics.ssimulacra2.xyb import BIAS, CONES, SHIFT, XYB, halve, linear_values, mix

Floats = NDArray[np.float32]
Channels = tuple[tuple[int, ...], ...]
"""For each scale, the channels that are compared: 0 to 2 for X, Y and B - Y."""

STRIP = 1 << 15
"""Values of a strip: 128 KiB as float32, a dozen of which fit into the processor's cache."""


@functools.cache
def _slope() -> Floats:
    """(256,): derivative of the linear values by those of sRGB, 0 to 255."""
    x = np.arange(256) / 255
    slope = np.where(x <= 0.04045, 1 / 12.92, 2.4 / 1.055 * ((x + 0.055) / 1.055) ** 1.4) / 255
    return slope.astype(np.float32)


def halved_light(picture: NDArray[np.uint8]) -> Floats:
    """Linear RGB of (3, H, W) at half its size, both sides of which are even: (3, H / 2, W / 2)."""
    height, width = picture.shape[1:]
    result = np.empty((3, height // 2, width // 2), np.float32)

    for rows in strips(height, width):
        light = np.take(linear_values(np.float32), picture[:, rows])
        pairs = light[:, ::2] + light[:, 1::2]
        pairs *= np.float32(0.25)
        np.add(pairs[..., ::2], pairs[..., 1::2], out=result[:, rows.start // 2 : rows.stop // 2])

    return result


def add_by_light(gradient: Floats, by_light: Floats, picture: NDArray[np.uint8]) -> None:
    """Add the gradient by a picture's values, (3, H, W), to what is there, from that by :func:`halved_light` of it."""
    for rows in strips(*picture.shape[1:]):
        by_pixel = np.take(_slope(), picture[:, rows])
        pairs = by_pixel.reshape(3, -1, 2, by_pixel.shape[2])
        pairs *= np.repeat(by_light[:, rows.start // 2 : rows.stop // 2] * np.float32(0.25), 2, 2)[:, :, None]
        gradient[:, rows] += by_pixel


@functools.cache
def _matrices(channels: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Linear RGB to the cone responses that some channels need, and the roots of these to the channels."""
    rows = XYB[list(channels)].astype(np.float32)
    cones = np.flatnonzero(rows.any(0))
    return CONES[cones].astype(np.float32), np.ascontiguousarray(rows[:, cones])


@dataclass
class Scale:
    """A picture at one scale.

    Attributes:
        planes: by channel, (H + 10, W + 10): as in the package, there is 0 beyond the left and right edge, and the
            picture mirrored beyond the others.
        roots: cube roots of the cone responses that the planes come from, (k, H, W); None where they are not kept.
    """

    planes: dict[int, Floats]
    roots: Floats | None


def scales_of(picture: NDArray[Any], compared: Channels, keep_roots: bool) -> list[Scale]:
    """The picture (3, H, W) at as many scales as have sides of 8 pixels or more, finest first.

    Args:
        picture: uint8, or its linear RGB as float32.
        compared: channels, by scale.
        keep_roots: for :func:`by_values`.
    """
    result: list[Scale] = []
    shift = SHIFT.astype(np.float32)
    # Of a picture of bytes, that of the first scale would take much memory.
    light: Floats | None = None if picture.dtype == np.uint8 else picture
    height, width = picture.shape[1:]
    for channels in compared:
        if min(height, width) < SMALLEST:
            break
        coarser = np.empty((3, -(-height // 2), -(-width // 2)), np.float32)
        to_cones, to_channels = _matrices(channels)
        planes = {channel: np.zeros((height + 2 * HALF, width + 2 * HALF), np.float32) for channel in channels}
        roots = np.empty((len(to_cones), height, width), np.float32) if keep_roots else None

        for rows in strips(height, width):
            here = np.take(linear_values(np.float32), picture[:, rows]) if light is None else light[:, rows]
            coarser[:, rows.start // 2 : -(-rows.stop // 2)] = halve(here)
            cones = mix(to_cones, here)
            cones += np.float32(BIAS)
            np.cbrt(cones, out=cones)
            if roots is not None:
                roots[:, rows] = cones
            cones -= np.cbrt(np.float32(BIAS))
            for (channel, plane), values in zip(planes.items(), mix(to_channels, cones), strict=True):
                np.add(values, shift[channel], out=plane[rows.start + HALF : rows.stop + HALF, HALF:-HALF])

        for plane in planes.values():
            plane[:HALF] = plane[2 * HALF - 1 : HALF - 1 : -1]
            plane[-HALF:] = plane[-HALF - 1 : -2 * HALF - 1 : -1]
        result.append(Scale(planes, roots))
        light, (height, width) = coarser, coarser.shape[1:]
    return result


def by_values(
    roots: Floats, by_planes: dict[int, Floats], coarser: Floats | None, picture: NDArray[np.uint8] | None
) -> Floats:
    """Gradient by the values of one scale, (3, H, W): linear RGB, or those of ``picture``.

    Args:
        roots: as :class:`Scale` has them.
        by_planes: gradient by each channel, (H, W).
        coarser: gradient by the linear RGB of the next scale.
        picture: (3, H, W) uint8, at the first scale.
    """
    to_cones, to_channels = _matrices(tuple(by_planes))
    result = np.empty((3, *roots.shape[1:]), np.float32)

    for rows in strips(*roots.shape[1:]):
        here = roots[:, rows]
        by_roots = mix(to_channels.T, np.stack([plane[rows] for plane in by_planes.values()]))
        by_roots /= 3 * here * here
        here = mix(to_cones.T, by_roots)
        if coarser is not None:
            here += _halve_adjoint(coarser[:, rows.start // 2 : -(-rows.stop // 2)], here.shape[1:])
        if picture is not None:
            here *= np.take(_slope(), picture[:, rows])
        result[:, rows] = here

    return result


def _halve_adjoint(x: Floats, size: tuple[int, ...]) -> Floats:
    """Adjoint of :func:`~beholder.metrics.ssimulacra2.xyb.halve` of a picture of ``size``."""
    height, width = size
    result: Floats = np.repeat(np.repeat(x * np.float32(0.25), 2, -2), 2, -1)
    if height % 2:
        result[:, -2] += result[:, -1]
    if width % 2:
        result[..., -2] += result[..., -1]
    return result[:, :height, :width]


def strips(height: int, width: int) -> list[slice]:
    """Rows; a strip begins at an even one, and has at least ``HALF`` where the picture has."""
    rows = max(STRIP // width // 2 * 2, 4 * HALF)
    starts = [0, *range(rows, height - HALF, rows)]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], height], strict=True)]
