"""The `.bhd` container, version 2: header, optional chunks, one checksummed segment a quality.

    offset  size      field
    0       4         8B 42 48 44                    (a non-ASCII byte, then "BHD")
    4       1         version: 2
    5       8         identity of the model: first 8 bytes of its SHA-256 (:mod:`beholder.codecs.rnn.onnx_model`)
    13      varint    width in pixels
            varint    height
            1         alpha x 250, rounded
            1         bits 0-3: quality n, 1..12; bit 4: grey; bit 5: chunks follow; bit 6: the latent is
                            optimised for min(n, 8) iterations; bit 7: a step scale follows
    [step scale, if bit 7]
            1         signed: quantiser steps are multiplied by 2^(step scale / 64): those of the iterations, but for
                            low-frequency channels, where n <= 8; those of the residual alone where n > 8
    [chunks, if bit 5]
            varint    number of chunks; for each:
            1         tag: 1 ICC profile, 2 EXIF, 3 opacity (a lossless WebP or PNG, grey); others are skipped
            varint    length
            4         CRC-32 of the data
                      data
    [segments, n times]
            varint    length
            4         CRC-32 of header and chunks (everything before the first segment), then the data
                      data: codes of one iteration, or from the ninth on of one level of the residual, range coded

Numbers are little-endian; a varint holds 7 bits a byte, lowest first, the high bit saying that more follow.
A file cut off right after segment k is a complete file of quality k.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from io import SEEK_CUR, BytesIO
from typing import IO

from beholder.codecs.rnn.layout import BEST_QUALITY, BLOCK, ITERATIONS
from beholder.errors import BadFileError
from beholder.pictures.modes import check_size

MAGIC = b"\x8bBHD"
VERSION = 2
ALPHA_STEPS = 250
ICC, EXIF, PLANE = 1, 2, 3
GREY, CHUNKS, OPTIMISED, SCALED = 0x10, 0x20, 0x40, 0x80
MOST_CHUNKS = 64
_PIECE = 1 << 24


@dataclass
class Bitstream:
    """Content of a `.bhd` file.

    Attributes:
        model: identity, 8 bytes.
        width, height: pixels.
        alpha: the observer, 0 (human) to 1 (machine).
        quality: 1 to 12: so many segments has the whole file.
        grey: whether the picture is grey.
        optimised: whether the latent is optimised for :attr:`iterations`.
        chunks: data by tag.
        segments: data of the iterations, then of the residual's levels; fewer than ``quality`` if the file was cut off.
    """

    model: bytes
    width: int
    height: int
    alpha: float
    quality: int
    grey: bool = False
    optimised: bool = False
    step_scale: int = 0
    """Quantiser steps are multiplied by 2 to the power of this / 64; -128 to 127."""
    chunks: dict[int, bytes] = field(default_factory=dict)
    segments: list[bytes] = field(default_factory=list)
    cut: bool = False
    """Whether the file ends inside a segment."""

    @property
    def iterations(self) -> int:
        """Iterations of the whole file; the residual's levels go on behind them."""
        return min(self.quality, ITERATIONS)

    @property
    def iteration_scale(self) -> int:
        """Step scale of the iterations."""
        return self.step_scale if self.quality <= ITERATIONS else 0

    @property
    def optimised_for(self) -> int:
        """Iterations that the latent is optimised for, 0 without; a file that was cut off keeps the number."""
        return self.iterations if self.optimised else 0


def write(stream: Bitstream) -> bytes:
    """Return the bytes of a file."""
    head = bytearray(MAGIC + bytes([VERSION]) + stream.model)
    head += _varint(stream.width) + _varint(stream.height)
    flags = stream.quality | (GREY if stream.grey else 0) | (CHUNKS if stream.chunks else 0)
    flags |= OPTIMISED if stream.optimised else 0
    flags |= SCALED if stream.step_scale else 0
    head += bytes([quantise_alpha(stream.alpha), flags])
    if stream.step_scale:
        head += stream.step_scale.to_bytes(1, "little", signed=True)
    if stream.chunks:
        head += _varint(len(stream.chunks))
        for tag, data in sorted(stream.chunks.items()):
            head += bytes([tag]) + _varint(len(data)) + zlib.crc32(data).to_bytes(4, "little") + data
    seed = zlib.crc32(head)
    body = b"".join(_varint(len(s)) + zlib.crc32(s, seed).to_bytes(4, "little") + s for s in stream.segments)
    return bytes(head) + body


def read(data: bytes) -> Bitstream:
    """Parse a file; all complete segments have been checked.

    Raises:
        BadFileError: no `.bhd` file, another version, a damaged or impossible header, a wrong checksum.
    """
    file = BytesIO(data)
    stream = read_header(file)
    reader = _Reader(file)
    seed = zlib.crc32(data[: file.tell()])
    for number in range(1, stream.quality + 1):
        if reader.done():
            break
        try:
            length = reader.varint()
            checksum = int.from_bytes(reader.read(4), "little")
            segment = reader.read(length)
        except BadFileError:
            stream.cut = True
            break
        if zlib.crc32(segment, seed) != checksum:
            raise BadFileError(f"The checksum of segment {number} is wrong: the file is damaged, get it anew.")
        stream.segments.append(segment)
    if not stream.cut and not reader.done():
        raise BadFileError("Bytes follow the last segment of this .bhd file: it is damaged, get it anew.")
    return stream


def read_header(file: IO[bytes], skip: frozenset[int] = frozenset()) -> Bitstream:
    """Parse everything before the first segment, and leave ``file`` there.

    Args:
        file: a binary file, at the first byte of a `.bhd` file.
        skip: tags of chunks to pass over unread: they come back as ``b""``.

    Raises:
        BadFileError: as :func:`read`.
    """
    reader = _Reader(file)
    if reader.read(4) != MAGIC:
        raise BadFileError("This is no .bhd file: its first bytes are not those of one.")
    if (version := reader.read(1)[0]) != VERSION:
        remedy = "update beholder" if version > VERSION else "decompress it with the older beholder that wrote it"
        raise BadFileError(f"This .bhd file has version {version}, and we read version {VERSION}: {remedy}.")
    model = reader.read(8)
    width, height = reader.varint(), reader.varint()
    check_size(width, height, BLOCK)
    alpha, flags = reader.read(2)
    quality = flags & 0x0F
    if not 1 <= quality <= BEST_QUALITY or alpha > ALPHA_STEPS:
        raise BadFileError("The header of this .bhd file is damaged: get the file anew.")
    stream = Bitstream(model, width, height, alpha / ALPHA_STEPS, quality)
    stream.grey, stream.optimised = bool(flags & GREY), bool(flags & OPTIMISED)
    if flags & SCALED:
        stream.step_scale = int.from_bytes(reader.read(1), "little", signed=True)
    if flags & CHUNKS:
        _read_chunks(reader, stream, skip)
    return stream


def quantise_alpha(alpha: float) -> int:
    """``alpha`` as the header stores it, 0..250."""
    return round(alpha * ALPHA_STEPS)


def _read_chunks(reader: _Reader, stream: Bitstream, skip: frozenset[int]) -> None:
    count = reader.varint()
    if count > MOST_CHUNKS:
        raise BadFileError("The header of this .bhd file is damaged: get the file anew.")
    for _ in range(count):
        tag = reader.read(1)[0]
        length = reader.varint()
        checksum = int.from_bytes(reader.read(4), "little")
        if tag in skip:
            reader.skip(length)
            stream.chunks[tag] = b""
            continue
        chunk = reader.read(length)
        if zlib.crc32(chunk) != checksum:
            raise BadFileError("The checksum of the metadata is wrong: the file is damaged, get it anew.")
        stream.chunks[tag] = chunk


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        # A file object makes room for all that it is asked for, before it looks whether there is as much.
        pieces, left = [], count
        while left and (piece := self._file.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        if left:
            raise BadFileError("This .bhd file ends inside its header: get the whole file.")
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        self._file.seek(count, SEEK_CUR)

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.read(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BadFileError("The header of this .bhd file is damaged: get the file anew.")

    def done(self) -> bool:
        if not (byte := self._file.read(1)):
            return True
        self._file.seek(-len(byte), SEEK_CUR)
        return False


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
