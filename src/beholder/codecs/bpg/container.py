"""The BPG file header: magic, sample format, size, extensions, and the picture data behind them.

Follows the BPG specification 0.9.5, section 3 (the header of 0.9.1 and before is another one).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from io import SEEK_CUR, BytesIO
from typing import IO

from beholder.errors import BadFileError
from beholder.pictures.modes import check_size

MAGIC = b"BPG\xfb"

EXIF, ICC = 1, 2
"""The extension tags that Beholder reads and writes."""

_LARGEST_METADATA = 1 << 26
_MOST_EXTENSIONS = 1000
_LONGEST_UE7 = 5  # bytes: the specification's integers have at most 32 bits
_LONGEST_FIELDS = 6 + 4 * _LONGEST_UE7


class ColourSpace(IntEnum):
    """``color_space``: what the three coded planes mean."""

    YCBCR_601 = 0
    RGB = 1
    """Planes G, B, R."""
    YCGCO = 2
    YCBCR_709 = 3
    YCBCR_2020 = 4


class Alpha(IntEnum):
    """The alpha flags, alpha1 * 2 + alpha2: what the extra plane means."""

    NONE = 0
    WHITE = 1
    """The W of RGBW: CMYK pictures, colour = RGB * W."""
    STRAIGHT = 2
    PREMULTIPLIED = 3


@dataclass(frozen=True)
class Header:
    """Everything the file says about its samples before the HEVC data begins.

    ``chroma`` is HEVC's chroma_format_idc: 0 gray, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    """

    width: int
    height: int
    chroma: int
    bit_depth: int = 8
    cosited: bool = False
    """Chroma sits on the even luma columns (MPEG-2), not between two of them (JPEG); 4:2:0 and 4:2:2."""
    colour_space: ColourSpace = ColourSpace.YCBCR_601
    limited_range: bool = False
    alpha: Alpha = Alpha.NONE
    animation: bool = False
    extensions: dict[int, bytes] = field(default_factory=dict)


def write_file(header: Header, picture: bytes) -> bytes:
    """Return a complete file: the header, its extensions and the picture data with its length."""
    pixel_format = header.chroma + (3 if header.cosited else 0)
    alpha1, alpha2 = header.alpha >> 1, header.alpha & 1
    flags = header.colour_space << 4 | bool(header.extensions) << 3 | alpha2 << 2
    flags |= header.limited_range << 1 | header.animation
    parts = [
        MAGIC,
        bytes([pixel_format << 5 | alpha1 << 4 | (header.bit_depth - 8), flags]),
        to_ue7(header.width),
        to_ue7(header.height),
        to_ue7(len(picture)),
    ]
    if header.extensions:
        body = b"".join(to_ue7(tag) + to_ue7(len(data)) + data for tag, data in sorted(header.extensions.items()))
        parts += [to_ue7(len(body)), body]
    return b"".join([*parts, picture])


def read_file(data: bytes) -> tuple[Header, bytes]:
    """Split a file into its header and its picture data (HEVC headers and NAL units).

    Raises:
        BadFileError: not a BPG file, truncated, against the specification, or larger than what
            :func:`beholder.pictures.modes.check_size` lets pass.
    """
    file = BytesIO(data)
    header, length = read_header(file)
    position = file.tell()
    if length > len(data) - position:
        raise BadFileError(
            f"This BPG file is truncated: it holds {len(data) - position} of {length} bytes of picture data."
        )
    # A length of 0 stands for "all the rest".
    return header, data[position : position + length] if length else data[position:]


def read_header(file: IO[bytes]) -> tuple[Header, int]:
    """Parse everything before the picture data, and leave ``file`` there.

    Args:
        file: a binary file, at the first byte of a BPG file.

    Returns:
        The header, and the length of the picture data in bytes (0: up to the end of the file).

    Raises:
        BadFileError: as :func:`read_file`.
    """
    data = file.read(_LONGEST_FIELDS)
    if data[:4] != MAGIC:
        raise BadFileError("This is not a BPG file: it does not begin with the bytes 42 50 47 FB.")
    if len(data) < 6:
        raise BadFileError("This BPG file is truncated: it ends inside its header.")
    first, second = data[4], data[5]
    pixel_format, bit_depth, space = first >> 5, (first & 15) + 8, second >> 4
    if pixel_format > 5 or bit_depth > 14 or space > max(ColourSpace):
        raise BadFileError("This BPG file is damaged: its header names a sample format that does not exist.")
    alpha = Alpha((first >> 4 & 1) * 2 + (second >> 2 & 1))
    if pixel_format == 0 and (space != ColourSpace.YCBCR_601 or alpha is Alpha.WHITE):
        raise BadFileError("This BPG file is damaged: its header calls a gray picture coloured.")
    width, position = read_ue7(data, 6)
    height, position = read_ue7(data, position)
    check_size(width, height)
    length, position = read_ue7(data, position)
    size = 0
    if second & 8:
        size, position = read_ue7(data, position)
    file.seek(position - len(data), SEEK_CUR)
    metadata = file.read(min(size, _LARGEST_METADATA))
    if len(metadata) < size:
        raise BadFileError("This BPG file is truncated: it ends inside its metadata.")
    header = Header(
        width=width,
        height=height,
        chroma=pixel_format if pixel_format < 4 else pixel_format - 3,
        bit_depth=bit_depth,
        cosited=pixel_format >= 4,
        colour_space=ColourSpace(space),
        limited_range=bool(second & 2),
        alpha=alpha,
        animation=bool(second & 1),
        extensions=_read_extensions(metadata),
    )
    return header, length


def _read_extensions(body: bytes) -> dict[int, bytes]:
    """Return the first extension of each tag."""
    extensions: dict[int, bytes] = {}
    position = count = 0
    while position < len(body):
        tag, position = read_ue7(body, position)
        size, position = read_ue7(body, position)
        if size > len(body) - position:
            raise BadFileError("This BPG file is damaged: its metadata run over their own end.")
        count += 1
        if count > _MOST_EXTENSIONS:
            raise BadFileError("This BPG file is damaged: it has more metadata than any picture needs.")
        extensions.setdefault(tag, body[position : position + size])
        position += size
    return extensions


def to_ue7(value: int) -> bytes:
    """Return ``value`` as big-endian groups of 7 bits; the high bit of a byte says that more follow."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def read_ue7(data: bytes, position: int) -> tuple[int, int]:
    """Return the ue7 integer at ``position`` and the position behind it; raise BadFileError."""
    value = 0
    for index, byte in enumerate(data[position : position + _LONGEST_UE7]):
        if index == 0 and byte == 0x80:  # the specification allows the shortest form only
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + index + 1
    if position + _LONGEST_UE7 > len(data):
        raise BadFileError("This BPG file is truncated: it ends inside its header.")
    raise BadFileError("This BPG file is damaged: its header holds a malformed number.")
