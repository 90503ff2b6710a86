"""Parameter sets and NAL units: what BPG leaves out of an HEVC stream, and how to put it back.

BPG drops the video and sequence parameter sets of HEVC (ITU-T H.265, 7.3.2) and keeps the few fields
of the latter that a decoder cannot guess: :class:`CodingTools`, the ``hevc_header`` of the BPG
specification 0.9.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from beholder.errors import BadFileError

SPS, PPS, SUFFIX_SEI = 33, 34, 40
IDR = frozenset({19, 20})
"""Slices of a picture that begins a stream (instantaneous decoding refresh)."""
INTRA_SLICES = frozenset(range(16, 22))
"""Slices of any random access point: all intra."""

_PICTURE_HASH = 132
"""payloadType of the decoded picture hash."""
_MD5_BYTES = 16

START_CODE = b"\0\0\1"
# Main 4:4:4 profiles (range extensions), level 8.5 = no limits, one sub-layer.
VPS_NAL = bytes.fromhex("40 01 0c 01 ff ff 04 08 00 00 03 00 90 10 00 00 03 00 00 ff f0 24")

_GENERAL_PROFILE = bytes.fromhex("04 08 00 00 00 90 10 00 00 00 00 ff")
_HEADER_ROOM = 128  # bytes: more than the longest hevc_header has any use for
# Flags of sps_range_extension that BPG forbids and that change how an intra picture is decoded:
# extended_precision_processing, cabac_bypass_alignment.
_FORBIDDEN_RANGE_FLAGS = 0b0_0001_0001


class BitReader:
    """Reads bits, most significant first; raises BadFileError past the end."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first bit of ``data`` (short: the whole is held as one integer)."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, bits: int) -> int:
        """Read an unsigned integer of ``bits`` bits.

        Raises:
            BadFileError: the data end.
        """
        self._left -= bits
        if self._left < 0:
            raise BadFileError("This BPG file is truncated: it ends inside an HEVC header.")
        return self._value >> self._left & ((1 << bits) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return bool(self.u(1))

    def ue(self) -> int:
        """Read an Exp-Golomb code of order 0 (H.265, 9.2).

        Raises:
            BadFileError: the code is longer than any, or the data end.
        """
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise BadFileError("This BPG file is damaged: its HEVC header holds a malformed number.")
        return (1 << zeros | self.u(zeros)) - 1


class BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        """Begin with no bits."""
        self._bits: list[str] = []

    def u(self, bits: int, value: int) -> None:
        """Append ``value`` as an unsigned integer of ``bits`` bits."""
        self._bits.append(f"{value:0{bits}b}")

    def ue(self, *values: int) -> None:
        """Append each value as an Exp-Golomb code of order 0."""
        for value in values:
            code = f"{value + 1:b}"
            self._bits.append("0" * (len(code) - 1) + code)

    def to_bytes(self) -> bytes:
        """Return the bits, zero padded to whole bytes."""
        text = "".join(self._bits)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


@dataclass(frozen=True)
class Pcm:
    """Storage of samples sent without prediction."""

    luma_bits: int
    chroma_bits: int
    log2_min_size: int
    log2_size_range: int
    loop_filter_disabled: bool


@dataclass(frozen=True)
class CodingTools:
    """The fields of a sequence parameter set that a BPG file stores, one ``hevc_header``."""

    log2_min_cb: int
    """Smallest coding block: the coded picture is a whole number of these."""
    log2_cb_range: int
    log2_min_tb: int
    log2_tb_range: int
    depth_intra: int
    sao: bool
    pcm: Pcm | None
    strong_intra_smoothing: bool
    range_flags: int | None
    """The nine flags of sps_range_extension; None without that extension."""

    def coded(self, size: int) -> int:
        """Return the coded width or height of a picture that shows ``size`` samples."""
        return -(-size >> self.log2_min_cb) << self.log2_min_cb

    def check(self) -> None:
        """Raise BadFileError unless H.265, 7.4.3.2 allows these values."""
        log2_ctb = self.log2_min_cb + self.log2_cb_range
        log2_max_tb = self.log2_min_tb + self.log2_tb_range
        possible = (
            4 <= log2_ctb <= 6
            and self.log2_min_tb < self.log2_min_cb
            and log2_max_tb <= min(log2_ctb, 5)
            and self.depth_intra <= log2_ctb - self.log2_min_tb
        )
        if not possible or (self.range_flags or 0) & _FORBIDDEN_RANGE_FLAGS:
            raise BadFileError("This BPG file is damaged: its HEVC header asks for impossible coding tools.")


def read_hevc_header(data: bytes) -> CodingTools:
    """Parse one ``hevc_header`` (the bytes behind its length); raise BadFileError."""
    bits = BitReader(data[:_HEADER_ROOM])
    sizes = [bits.ue() for _ in range(5)]
    sao = bits.flag()
    pcm = _read_pcm(bits)
    strong = bits.flag()
    tools = CodingTools(
        sizes[0] + 3, sizes[1], sizes[2] + 2, sizes[3], sizes[4], sao, pcm, strong, _read_extension(bits)
    )
    tools.check()
    return tools


def write_hevc_header(tools: CodingTools) -> bytes:
    """Return the bytes of a ``hevc_header``, without its length."""
    bits = BitWriter()
    bits.ue(tools.log2_min_cb - 3, tools.log2_cb_range, tools.log2_min_tb - 2, tools.log2_tb_range)
    bits.ue(tools.depth_intra)
    bits.u(1, tools.sao)
    _write_pcm(bits, tools.pcm)
    bits.u(1, tools.strong_intra_smoothing)
    _write_extension(bits, tools.range_flags)
    return bits.to_bytes()


def read_sps(nal: bytes, chroma: int, bit_depth: int) -> tuple[CodingTools, int, int]:
    """Return what BPG keeps of a sequence parameter set, and the coded width and height.

    Args:
        nal: the NAL unit without its start code, as an encoder wrote it.
        chroma: chroma_format_idc that the set must have.
        bit_depth: bits a sample that the set must have.

    Raises:
        ValueError: the set uses something that a BPG file has no field for.
        BadFileError: it ends too early.
    """
    bits = BitReader(unescape(nal)[2:])
    # One sub-layer, hence no sub-layer levels after profile, tier and level (12 bytes).
    expected = [bits.u(4), bits.u(3)] == [0, 0]
    bits.u(1 + 96)
    expected &= [bits.ue(), bits.ue()] == [0, chroma]  # sps id, chroma_format_idc
    if chroma == 3:
        expected &= not bits.flag()  # separate_colour_plane
    width, height = bits.ue(), bits.ue()
    expected &= not bits.flag()  # conformance_window
    expected &= [bits.ue(), bits.ue(), bits.ue()] == [
        bit_depth - 8,
        bit_depth - 8,
        4,
    ]  # luma, chroma, poc lsb
    bits.u(1)  # sub_layer_ordering_info_present
    for _ in range(3):  # decoded picture buffer, reordering, latency
        bits.ue()
    log2_min_cb, log2_cb_range = bits.ue() + 3, bits.ue()
    log2_min_tb, log2_tb_range = bits.ue() + 2, bits.ue()
    bits.ue()  # max_transform_hierarchy_depth_inter
    depth_intra = bits.ue()
    expected &= not bits.flag()  # scaling_list
    bits.u(1)  # amp: inter only
    sao = bits.flag()
    pcm = _read_pcm(bits)
    expected &= bits.ue() == 0 and not bits.flag()  # short-term sets, long-term pictures
    bits.u(1)  # temporal motion vectors: inter only
    strong = bits.flag()
    if bits.flag():
        _skip_vui(bits)
    tools = CodingTools(
        log2_min_cb,
        log2_cb_range,
        log2_min_tb,
        log2_tb_range,
        depth_intra,
        sao,
        pcm,
        strong,
        _read_extension(bits),
    )
    # The stop bit proves that nothing before it was misread.
    if not expected or not bits.flag():
        raise ValueError("a sequence parameter set that BPG cannot express")
    return tools, width, height


def build_sps(tools: CodingTools, width: int, height: int, chroma: int, bit_depth: int) -> bytes:
    """Return a sequence parameter set, a NAL unit without start code, for a coded size in samples."""
    bits = BitWriter()
    bits.u(4, 0)  # vps id
    bits.u(3, 0)  # one sub-layer
    bits.u(1, 1)  # temporal id nesting
    bits.u(96, int.from_bytes(_GENERAL_PROFILE, "big"))
    bits.ue(0, chroma)
    if chroma == 3:
        bits.u(1, 0)
    bits.ue(width, height)
    bits.u(1, 0)  # no conformance window: the caller crops
    bits.ue(bit_depth - 8, bit_depth - 8, 4)
    bits.u(1, 1)
    bits.ue(0, 0, 0)
    bits.ue(tools.log2_min_cb - 3, tools.log2_cb_range, tools.log2_min_tb - 2, tools.log2_tb_range)
    bits.ue(tools.depth_intra, tools.depth_intra)
    bits.u(1, 0)
    bits.u(1, 1)
    bits.u(1, tools.sao)
    _write_pcm(bits, tools.pcm)
    bits.ue(0)
    bits.u(1, 0)
    bits.u(1, 1)
    bits.u(1, tools.strong_intra_smoothing)
    bits.u(1, 0)  # no video usability information
    _write_extension(bits, tools.range_flags)
    bits.u(1, 1)
    return escape(bytes([SPS << 1, 1]) + bits.to_bytes())


def _read_pcm(bits: BitReader) -> Pcm | None:
    if not bits.flag():
        return None
    return Pcm(bits.u(4) + 1, bits.u(4) + 1, bits.ue() + 3, bits.ue(), bits.flag())


def _write_pcm(bits: BitWriter, pcm: Pcm | None) -> None:
    bits.u(1, pcm is not None)
    if pcm is not None:
        bits.u(4, pcm.luma_bits - 1)
        bits.u(4, pcm.chroma_bits - 1)
        bits.ue(pcm.log2_min_size - 3, pcm.log2_size_range)
        bits.u(1, pcm.loop_filter_disabled)


def _read_extension(bits: BitReader) -> int | None:
    if not bits.flag():
        return None
    has_range = bits.flag()
    if bits.u(7):
        raise BadFileError("This BPG file is damaged: its HEVC header names an unknown extension.")
    return bits.u(9) if has_range else None


def _write_extension(bits: BitWriter, range_flags: int | None) -> None:
    bits.u(1, range_flags is not None)
    if range_flags is not None:
        bits.u(8, 0b1000_0000)
        bits.u(9, range_flags)


def _skip_vui(bits: BitReader) -> None:
    """Skip video usability information without HRD parameters (H.265, E.2.1)."""
    if bits.flag() and bits.u(8) == 255:  # aspect ratio
        bits.u(32)
    if bits.flag():  # overscan
        bits.u(1)
    if bits.flag():  # video signal type
        bits.u(4)
        if bits.flag():
            bits.u(24)
    if bits.flag():  # chroma location
        bits.ue()
        bits.ue()
    bits.u(3)
    if bits.flag():  # default display window
        for _ in range(4):
            bits.ue()
    if bits.flag():  # timing
        bits.u(64)
        if bits.flag():
            bits.ue()
        if bits.flag():
            raise ValueError("HRD parameters, which BPG cannot express")
    if bits.flag():  # bitstream restriction
        bits.u(3)
        for _ in range(5):
            bits.ue()


def escape(nal: bytes) -> bytes:
    """Insert emulation prevention: no 00 00 00, 00 00 01, 00 00 02 or 00 00 03 stays (H.265, 7.4.2)."""
    out = bytearray()
    zeros = 0
    for byte in nal:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescape(nal: bytes) -> bytes:
    """Remove emulation prevention."""
    return nal.replace(b"\0\0\3", b"\0\0")


def split_nals(data: bytes, *, headless: bool = False) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B stream, without start codes and trailing zeros.

    ``headless`` streams begin with a NAL unit instead of a start code, as BPG's do.
    """
    start = 0 if headless else data.find(START_CODE) + len(START_CODE)
    while start < len(data):
        end = data.find(START_CODE, start)
        end = len(data) if end < 0 else end
        nal = data[start:end].rstrip(b"\0")
        if len(nal) > 2:
            yield nal
        start = end + len(START_CODE)


def nal_type(nal: bytes) -> int:
    """Return nal_unit_type."""
    return nal[0] >> 1 & 0x3F


def layer_id(nal: bytes) -> int:
    """Return nuh_layer_id: BPG puts alpha in layer 1."""
    return (nal[0] & 1) << 5 | nal[1] >> 3


def with_layer_id(nal: bytes, layer: int) -> bytes:
    """Return the unit moved to another layer, 0 to 31."""
    return bytes([nal[0] & 0xFE, layer << 3 | nal[1] & 7]) + nal[2:]


def begins_picture(nal: bytes) -> bool:
    """Whether a slice is the first of its picture."""
    return nal[2] >= 0x80


def holds_md5(nal: bytes, planes: int) -> bool:
    """Whether a suffix SEI message carries MD5 sums of ``planes`` planes (H.265, D.2.19), which libavcodec compares."""
    payload = unescape(nal)[2:]
    return (
        nal_type(nal) == SUFFIX_SEI
        and payload[:3] == bytes([_PICTURE_HASH, 1 + _MD5_BYTES * planes, 0])
        and len(payload) > 2 + _MD5_BYTES * planes
    )
