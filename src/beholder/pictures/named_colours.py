"""Colours that a file names in other ways than by an ICC profile: codes of ITU-T H.273, gamma and chromaticities.

PNG (cICP), AVIF and HEIC (nclx) give two numbers, one for the primaries and one for the transfer characteristic.  They
become an ICC profile, so that all that follows knows but one way.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.errors import note

Chromaticities = tuple[float, ...]
"""x and y of red, green, blue and white."""

CODES = "cicp"
"""Key in ``image.info`` for primaries and transfer characteristic, as H.273 numbers them."""
_HEIF_CODES = "nclx_profile"  # of pillow-heif

_D65 = (0.3127, 0.3290)
_SRGB: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_UNSPECIFIED = 2
_PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB,
    _UNSPECIFIED: _SRGB,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
_SRGB_CURVE = 0.0
"""Stands for the piecewise curve of sRGB in the place of an exponent."""
# The curves of BT.601, BT.709 and BT.2020 are those of cameras; screens show such pictures about like sRGB.
_EXPONENTS = {_UNSPECIFIED: _SRGB_CURVE, 1: _SRGB_CURVE, 6: _SRGB_CURVE, 13: _SRGB_CURVE, 14: _SRGB_CURVE}
_EXPONENTS |= {15: _SRGB_CURVE, 4: 2.2, 5: 2.8, 8: 1.0}

_USUAL_GAMMA = 1 / 2.2
_GAMMAS = (0.1, 4.0)  # others are mistakes
_SAME = 0.01  # chromaticities that differ by less are the same

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def apply_named_colours(image: Image.Image, source: Image.Image) -> Image.Image:
    """Return ``image`` with a profile of the colours that ``source`` names, or converted from the gamma it names.

    Codes of a PNG file go before its profile; in other files a profile goes first.  Codes that no profile expresses,
    such as those of HDR, are told.

    Args:
        image: in mode L, LA, RGB or RGBA; ``info`` holds a profile alone.
        source: the opened file that ``image`` was converted from.
    """
    info = source.info
    codes = info.get(CODES) or _heif_codes(info.get(_HEIF_CODES))
    profile = image.info.get("icc_profile")
    if codes and (not profile or source.format == "PNG"):
        return _apply_codes(image, *codes)
    if source.format == "PNG" and not profile and "srgb" not in info:
        return _apply_gamma(image, info.get("gamma"), info.get("chromaticity"))
    return image


def _heif_codes(profile: Any) -> tuple[int, int] | None:
    try:
        return int(profile["color_primaries"]), int(profile["transfer_characteristics"])
    except (KeyError, TypeError, ValueError):
        return None


def _apply_codes(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    corners, exponent = _PRIMARIES.get(primaries), _EXPONENTS.get(transfer)
    if corners is None or exponent is None:
        note(
            f"The picture names other colours than sRGB (primaries {primaries}, transfer {transfer} of H.273): "
            "they are taken for sRGB."
        )
        return image
    image.info = {}
    if (corners, exponent) != (_SRGB, _SRGB_CURVE):
        image.info["icc_profile"] = make_profile(corners, exponent)
    return image


def _apply_gamma(image: Image.Image, gamma: object, chromaticity: object) -> Image.Image:
    """Apply gAMA and cHRM; a gamma alone that is about that of sRGB is as good as none."""
    if not isinstance(gamma, float) or not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        return image
    corners = _corners(chromaticity)
    if corners is not None:
        image.info = {"icc_profile": make_profile(corners, 1 / gamma)}
        return image
    if abs(gamma / _USUAL_GAMMA - 1) < 0.05:
        return image
    light = (np.arange(256) / 255) ** (1 / gamma)
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.rint(255 * values).astype(int).tolist()
    note(f"The picture has a gamma of {gamma:.4g}: its colours are converted to sRGB.")
    colours = len(image.getbands()) - (image.mode in ("LA", "RGBA"))
    return image.point(table * colours + list(range(256)) * (image.mode in ("LA", "RGBA")))


def _corners(chromaticity: object) -> Chromaticities | None:
    """Return the chromaticities of a cHRM chunk, white first there; None for sRGB's own and for impossible ones."""
    if not isinstance(chromaticity, tuple) or len(chromaticity) != len(_SRGB):
        return None
    corners = tuple(map(float, chromaticity[2:] + chromaticity[:2]))
    if np.allclose(corners, _SRGB, rtol=0, atol=_SAME):
        return None
    try:
        matrix = _to_xyz(corners)
    except (ValueError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return corners if np.isfinite(matrix).all() and np.abs(matrix).max() < 2 else None


@lru_cache(maxsize=8)
def make_profile(corners: Chromaticities, exponent: float) -> bytes:
    """Return an ICC profile (version 4, matrix and curve) of these primaries and white.

    Args:
        corners: x and y of red, green, blue and white.
        exponent: of the curve from sample to light; :data:`_SRGB_CURVE` for that of sRGB.
    """
    adapt = _adaptation(corners)
    columns = (adapt @ _to_xyz(corners)).T
    curve = [exponent] if exponent != _SRGB_CURVE else [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]
    shape = b"para" + bytes(4) + struct.pack(">HH", 3 if len(curve) > 1 else 0, 0) + _fixed(curve)
    tags = {
        b"desc": _text("Colours named by the file"),
        b"cprt": _text("None"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + _fixed(adapt.ravel()),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), shape),
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(data)
            data += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"", 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _fixed(_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _to_xyz(corners: Chromaticities) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ, whose white has Y = 1."""
    xyz = [_from_xy(x, y) for x, y in zip(corners[::2], corners[1::2], strict=True)]
    primaries = np.array(xyz[:3]).T
    return np.asarray(primaries * np.linalg.solve(primaries, xyz[3]))


def _from_xy(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(corners: Chromaticities) -> NDArray[np.float64]:
    """Return Bradford's chromatic adaptation from the white in ``corners`` to D50, that of all profiles."""
    ratio = (_BRADFORD @ _D50) / (_BRADFORD @ _from_xy(*corners[6:]))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD)


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65_536)) for value in values)


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _text(words: str) -> bytes:
    packed = words.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(packed), 28) + packed
