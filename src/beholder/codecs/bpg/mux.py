"""The picture data of a BPG file: HEVC headers, then the NAL units of colour and alpha interleaved."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.codecs.bpg import hevc
from beholder.codecs.bpg.container import read_ue7, to_ue7
from beholder.errors import BadFileError

_ALPHA_LAYER = 1
_MOST_UNITS = 20_000
"""NAL units of a picture: even 200 million pixels have fewer rows of blocks that could be slices."""


@dataclass(frozen=True)
class CodedPicture:
    """A picture as BPG stores it: its ``hevc_header``, and NAL units without VPS and SPS, in layer 0."""

    tools: hevc.CodingTools
    nals: tuple[bytes, ...]

    def first_slice(self) -> CodedPicture:
        """The picture without its further slices."""
        kinds = [hevc.nal_type(nal) < 32 and hevc.begins_picture(nal) for nal in self.nals]
        return CodedPicture(self.tools, self.nals[: kinds.index(True) + 1])


def join(colour: CodedPicture, alpha: CodedPicture | None = None) -> bytes:
    """Return picture data: alpha's header and units come before their counterparts of the colour."""
    units = list(enumerate(colour.nals))
    headers = [colour.tools]
    if alpha is not None:
        headers.insert(0, alpha.tools)
        units = [(index, hevc.with_layer_id(nal, _ALPHA_LAYER)) for index, nal in enumerate(alpha.nals)] + units
        units.sort(key=lambda unit: unit[0])  # stable: alpha first among equals
    written = [hevc.write_hevc_header(tools) for tools in headers]
    # The very first unit has no start code.
    return b"".join(to_ue7(len(header)) + header for header in written) + hevc.START_CODE.join(nal for _, nal in units)


def split(data: bytes, *, with_alpha: bool) -> tuple[CodedPicture, CodedPicture | None]:
    """Return the colour picture and, if there is one, the alpha picture: of an animation, the first.

    Raises:
        BadFileError: the data are truncated, or do not begin with intra pictures.
    """
    position = 0
    headers = []
    for _ in range(1 + with_alpha):
        size, position = read_ue7(data, position)
        if size > len(data) - position:
            raise BadFileError("This BPG file is truncated: it ends inside an HEVC header.")
        headers.append(hevc.read_hevc_header(data[position : position + size]))
        position += size
    units: list[list[bytes]] = [[] for _ in headers]
    begun = [False for _ in headers]
    for number, nal in enumerate(hevc.split_nals(data[position:], headless=True)):
        if number == _MOST_UNITS:
            raise BadFileError("This BPG file is damaged: its picture has more units than any picture needs.")
        kind, layer = hevc.nal_type(nal), hevc.layer_id(nal)
        if layer >= len(units):
            continue
        first_slice = kind < 32 and hevc.begins_picture(nal)
        if all(begun) and (first_slice or kind == hevc.PPS):
            break  # the next picture of an animation
        if kind < 32 and kind not in hevc.INTRA_SLICES:
            raise BadFileError("This BPG file is damaged: its first picture depends on another one.")
        if kind < 32 or kind in {hevc.PPS, hevc.SUFFIX_SEI}:
            begun[layer] |= first_slice
            units[layer].append(hevc.with_layer_id(nal, 0))
    if not all(begun):
        raise BadFileError("This BPG file is damaged: its picture data hold no picture.")
    pictures = [
        # Headers come alpha first, layers colour first.
        CodedPicture(tools, tuple(nals))
        for tools, nals in zip(reversed(headers), units, strict=True)
    ]
    return pictures[0], pictures[1] if with_alpha else None
