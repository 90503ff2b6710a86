"""One picture through libx265 or libavcodec's HEVC decoder, both from PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.codecs.bpg import hevc
from beholder.codecs.bpg.mux import CodedPicture
from beholder.errors import BadFileError, BadImageError, NotAvailableError
from beholder.limits import check_size

if TYPE_CHECKING:
    import av

Plane = npt.NDArray[Any]
"""Samples (height, width) of one component, uint8 or uint16."""

# Each part of an HEVC picture costs at least one bit for its prediction mode, and no part is larger
# than 64x64 samples.  Fewer bits than that are no picture, whatever size the header claims.
_LARGEST_BLOCK = 64 * 64

_SMALLEST_SIDE = 16  # libx265 refuses less
_X265 = (
    "keyint=1:total-frames=1:repeat-headers=1:annexb=1:info=0:aud=0:hrd=0:bframes=0:rc-lookahead=0:"
    "scenecut=0:frame-threads=1:amp=1:rect=1:temporal-mvp=1:"
    # BPG has no levels, hence no largest width.
    "allow-non-conformance=1:"
    # Without threads the bytes depend on nothing but picture and settings.
    "wpp=0:pools=none:log-level=none"
)


@dataclass(frozen=True)
class Settings:
    """Options of libx265 for a picture: quantiser 0 to 51, preset, bits a sample, MD5 of the samples."""

    qp: int
    preset: str
    bit_depth: int
    checksum: bool
    chroma_offsets: tuple[int, int] = (0, 0)
    """Added to the QP of Cb and of Cr."""


def encode_picture(planes: Sequence[Plane], chroma: int, settings: Settings) -> CodedPicture:
    """Encode planes (Y or Y, Cb, Cr) as one intra picture.

    Args:
        planes: shown size, chroma planes already subsampled (sides rounded up); values fit ``bit_depth``.
        chroma: chroma_format_idc.
        settings: rate and effort.

    Raises:
        BadImageError: libx265 refuses a picture of this size.
        NotAvailableError: this build of libx265 writes what BPG cannot express.
    """
    import av

    height, width = planes[0].shape
    parameters = f"{_X265}:qp={settings.qp}:hash={int(settings.checksum)}"
    if any(settings.chroma_offsets):
        cb, cr = settings.chroma_offsets
        parameters += f":cbqpoffs={cb}:crqpoffs={cr}"
    padded = [-(-side // 8) * 8 for side in (width, height)]
    if min(padded) < _SMALLEST_SIDE:
        padded = [-(-side // 16) * 16 for side in (width, height)]
        parameters += ":ctu=16:min-cu-size=16:max-tu-size=16"
    else:
        parameters += ":min-cu-size=8"
    frame = av.VideoFrame(padded[0], padded[1], _pixel_format(chroma, settings.bit_depth))
    for plane, filled in zip(planes, frame.planes, strict=True):
        _fill(filled, plane)
    try:
        encoder = av.CodecContext.create("libx265", "w")
    except (av.FFmpegError, ValueError):
        raise NotAvailableError("The installed PyAV has no libx265: install its wheel with `pip install av`.") from None
    encoder.width, encoder.height = padded
    encoder.pix_fmt = frame.format.name
    encoder.time_base = Fraction(1)
    # bpgenc, too, tunes for SSIM.
    encoder.options = {"preset": settings.preset, "tune": "ssim", "x265-params": parameters}
    try:
        stream = b"".join(bytes(packet) for part in (frame, None) for packet in encoder.encode(part))
    except av.FFmpegError:
        raise BadImageError(
            f"libx265 cannot encode a picture of {width} x {height} pixels: choose another codec."
        ) from None
    return _headless(stream, padded, chroma, settings.bit_depth)


def _headless(stream: bytes, padded: list[int], chroma: int, bit_depth: int) -> CodedPicture:
    """Take the parameter sets off an encoder's stream."""
    sets = [nal for nal in hevc.split_nals(stream) if hevc.nal_type(nal) == hevc.SPS]
    kept = tuple(
        nal
        for nal in hevc.split_nals(stream)
        if hevc.nal_type(nal) in {hevc.PPS, hevc.SUFFIX_SEI} or hevc.nal_type(nal) < 32
    )
    try:
        tools, width, height = hevc.read_sps(sets[0], chroma, bit_depth)
    except (IndexError, ValueError, BadFileError):
        tools = None
    slices = {hevc.nal_type(nal) for nal in kept if hevc.nal_type(nal) < 32}
    if (
        tools is None
        or [width, height] != padded
        or [tools.coded(width), tools.coded(height)] != padded
        or not slices
        or not slices <= hevc.IDR
    ):
        raise NotAvailableError(
            "The libx265 of the installed PyAV writes streams that BPG cannot hold: install PyAV 18."
        )
    return CodedPicture(tools, kept)


def decode_picture(picture: CodedPicture, width: int, height: int, chroma: int, bit_depth: int) -> list[Plane]:
    """Decode one intra picture to its planes (height, width); the sides of chroma are rounded up.

    Raises:
        BadFileError: the data are damaged, or too short for a picture of this size.
    """
    import av

    pixel_format = _pixel_format(chroma, bit_depth)
    tools = picture.tools
    coded = tools.coded(width), tools.coded(height)
    check_size(*coded)
    if sum(map(len, picture.nals)) * 8 * _LARGEST_BLOCK < coded[0] * coded[1]:
        raise BadFileError(
            f"This BPG file is damaged: it has too few bytes for a picture of {width} x {height} pixels."
        )
    sps = hevc.build_sps(tools, *coded, chroma, bit_depth)
    data = b"".join(hevc.START_CODE + nal for nal in (hevc.VPS_NAL, sps, *picture.nals))
    decoder = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    try:
        frames = [frame for part in (av.Packet(data), None) for frame in decoder.decode(part)]
    except (av.FFmpegError, ValueError, MemoryError):
        raise BadFileError("This BPG file is damaged: its picture data cannot be decoded.") from None
    if not frames:
        raise BadFileError("This BPG file is damaged: its picture data hold no picture.")
    frame = frames[0]
    if (frame.width, frame.height) != coded or frame.format.name != pixel_format:
        raise BadFileError("This BPG file is damaged: its picture is not what the header announces.")
    planes = [_view(plane, bit_depth) for plane in frame.planes]
    across, down = subsampling(chroma)
    chroma_size = -(-height // down), -(-width // across)
    sizes = [(height, width), chroma_size, chroma_size]
    # Views, each of which keeps the frame alive.
    return [plane[:rows, :columns] for plane, (rows, columns) in zip(planes, sizes, strict=False)]


def subsampling(chroma: int) -> tuple[int, int]:
    """Return how many luma samples one chroma sample covers, across and down."""
    return (2 if chroma in {1, 2} else 1, 2 if chroma == 1 else 1)


def _pixel_format(chroma: int, bit_depth: int) -> str:
    """Return FFmpeg's name of a planar format; BadFileError where libavcodec decodes no such HEVC."""
    if bit_depth not in {8, 9, 10, 12}:
        raise BadFileError(f"This BPG file has {bit_depth} bits a sample, which is not supported: 8, 9, 10 and 12 are.")
    base = ("gray", "yuv420p", "yuv422p", "yuv444p")[chroma]
    return base if bit_depth == 8 else f"{base}{bit_depth}le"


def _fill(filled: av.video.plane.VideoPlane, plane: Plane) -> None:
    """Copy a plane into a frame's and replicate its last column and row over the rest."""
    view = _view(filled, 8 * plane.itemsize)
    height, width = plane.shape
    view[:height, :width] = plane
    view[:height, width:] = plane[:, -1:]
    view[height:] = view[height - 1]


def _view(plane: av.video.plane.VideoPlane, bits: int) -> Plane:
    """Return the samples of a frame's plane as an array that shares its memory."""
    sample = np.uint8 if bits == 8 else np.dtype("<u2")
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    samples: Plane = lines[: plane.height].view(sample)
    return samples[:, : plane.width]
