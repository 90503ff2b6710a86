"""The BPG codec: Pillow images to ``.bpg`` files and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from PIL import Image

from beholder.codecs.base import Codec, QualityScale
from beholder.codecs.bpg import colour, container, hevc, mux
from beholder.codecs.bpg.pictures import Plane, Settings, decode_picture, encode_picture
from beholder.errors import BadFileError, BadOptionError
from beholder.extras import install_command

_CHROMA = {"420": 1, "422": 2, "444": 3}
_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
_CHROMA_STEPS = 8
"""Steps of either chroma component's QP that make a 4:4:4 file as much larger as one step of QP does, some 15 %."""
_TIFF_MAGICS = (b"II*\0", b"MM\0*")
_EXIF_PREFIX = b"Exif\0\0"
_LARGE = 16_000_000
"""Pixels of a picture whose upper rows are decoded first: those of small ones save nothing."""
_BANDS, _TALLEST_BLOCK = 16, 64
_CORNER = 8  # samples a side: the smallest coding block


class Bpg(Codec):
    """BPG (specification 0.9.5) with libx265 as encoder and libavcodec as decoder, both through PyAV.

    Writes full-range BT.601 YCbCr, the picture's alpha as a second, gray picture at the same QP.  With
    the defaults -- 4:4:4, 8 bits, preset ``slow``, tuned for SSIM -- its rate-distortion curve lies
    within 1 % of ``bpgenc -m 9 -f 444 -b 8``, and a file holds nothing that one of ``bpgenc`` does not:
    this is the anchor of published comparisons.  QP is x265's; an intra picture is coded at QP - 3, as
    by ``bpgenc``.  Equal input, options and PyAV give equal bytes.

    Reads gray, 4:2:0, 4:2:2 and 4:4:4 in either siting; RGB, YCgCo, YCbCr of BT.601, 709 and 2020, full
    and limited range; 8, 9, 10 and 12 bits; straight and premultiplied alpha; CMYK (as RGBW); the first
    picture of an animation.  Pixels equal those of the original ``bpgdec``.

    Truncation is always noticed.  Other damage to the picture data mostly decodes to wrong pixels without
    an error, because the format has no check sums of its own; write with ``checksum`` where that matters.
    """

    name = "bpg"
    title = "BPG 4:4:4 (libx265 through PyAV)"
    suffix = ".bpg"
    scale = QualityScale(lowest=0, highest=51, default=29, unit="QP", higher_is_better=False)
    fine = True
    modes = frozenset({"L", "LA", "RGB", "RGBA"})

    def __init__(
        self,
        *,
        chroma: str = "444",
        preset: str = "slow",
        bit_depth: int = 8,
        checksum: bool = False,
    ) -> None:
        """Choose how to encode; decoding takes any file.

        Args:
            chroma: "444", "422" or "420" (``bpgenc``'s default), for colour images.
            preset: x265's effort, "ultrafast" to "veryslow".
            bit_depth: of the coded samples: 8, 10 or 12.
            checksum: store MD5 sums of the samples (an HEVC message, as ``bpgenc -hash``), so that wrong
                pixels raise BadFileError; up to 60 bytes a picture, hence off where rates are compared.  Decoding
                then refuses files without them.

        Raises:
            BadOptionError: an option is none of these.
        """
        for option, value, known in (
            ("chroma", chroma, tuple(_CHROMA)),
            ("preset", preset, _PRESETS),
            ("bit_depth", bit_depth, (8, 10, 12)),
        ):
            if value not in known:
                choices = ", ".join(map(str, known))
                raise BadOptionError(f"BPG has no {option} {value!r}: choose one of {choices}.")
        self._chroma = _CHROMA[chroma]
        self._preset = preset
        self._bit_depth = bit_depth
        self._checksum = checksum

    def unavailable(self) -> str | None:
        """Say so where PyAV is missing."""
        if find_spec("av") is None:
            return f"The codec bpg needs PyAV: {install_command('bpg')}."
        return None

    def recognises(self, head: bytes) -> bool:
        """Compare the magic number."""
        return head[:4] == container.MAGIC

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        return self._write(image, Settings(quality, self._preset, self._bit_depth, self._checksum))

    def _encode_between(self, image: Image.Image, quality: float, alpha: float) -> bytes:
        qp = math.ceil(quality)
        steps = round(_CHROMA_STEPS * (qp - quality))
        offsets = (-((steps + 1) // 2), -(steps // 2))  # one component at a time
        return self._write(image, Settings(qp, self._preset, self._bit_depth, self._checksum, offsets))

    def _write(self, image: Image.Image, settings: Settings) -> bytes:
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        colours = 1 if image.mode in {"L", "LA"} else 3
        chroma = self._chroma if colours == 3 else 0
        planes = colour.to_planes(pixels[:, :, :colours], chroma, self._bit_depth)
        picture = encode_picture(planes, chroma, settings)
        opacity = None
        if image.mode in {"LA", "RGBA"}:
            planes = colour.to_planes(pixels[:, :, colours:], 0, self._bit_depth)
            opacity = encode_picture(planes, 0, settings)
        header = container.Header(
            width=image.width,
            height=image.height,
            chroma=chroma,
            bit_depth=self._bit_depth,
            alpha=container.Alpha.STRAIGHT if opacity else container.Alpha.NONE,
            extensions=_extensions(image),
        )
        return container.write_file(header, mux.join(picture, opacity))

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        header, picture_data = container.read_file(data)
        picture, extra = mux.split(picture_data, with_alpha=header.alpha != container.Alpha.NONE)
        if self._checksum:
            _check_for_sums(picture, planes=3 if header.chroma else 1)
            if extra is not None:
                _check_for_sums(extra, planes=1)
        size = header.width, header.height
        if header.width * header.height > _LARGE:
            _check_begins(picture, header)
        planes = decode_picture(picture, *size, header.chroma, header.bit_depth)
        _check_covered(planes, header)
        alpha = decode_picture(extra, *size, 0, header.bit_depth)[0] if extra else None
        image: Image.Image | None = None
        for rows, strip in colour.to_pixels(planes, alpha, header):
            part = Image.fromarray(strip[:, :, 0] if strip.shape[2] == 1 else strip)
            image = image or Image.new(part.mode, size)
            image.paste(part, (0, rows.start))
        assert image is not None
        image.info.update(metadata(header))
        return image


def _check_begins(picture: mux.CodedPicture, header: container.Header) -> None:
    """Raise BadFileError if the first slice ends within the upper rows of a large picture, which takes little memory.

    Nothing is said of files whose upper rows cannot be decoded by themselves."""
    rows = max(header.height // _BANDS, _TALLEST_BLOCK)
    try:
        planes = decode_picture(picture.first_slice(), header.width, rows, header.chroma, header.bit_depth)
    except BadFileError:
        return
    _check_covered(planes, header)


def _check_covered(planes: Sequence[Plane], header: container.Header) -> None:
    """Raise BadFileError if the last slice ends before the picture does.

    libavcodec leaves samples at 0 that no slice covers, in all planes.  No pixel has such a colour, unless the planes
    are those of RGB or there is but one: then it is black, and nobody can tell."""
    if header.chroma and header.colour_space is not container.ColourSpace.RGB:
        corners = (plane[-_CORNER:, -_CORNER:] for plane in planes)
        if not any(corner.any() for corner in corners):
            raise BadFileError("This BPG file is damaged: its picture data end before the picture does.")


def metadata(header: container.Header) -> dict[str, bytes]:
    """Return what a file's extensions hold as entries for a Pillow image's ``info``."""
    exif = _find_tiff(header.extensions.get(container.EXIF, b""))
    found = {"icc_profile": header.extensions.get(container.ICC), "exif": _EXIF_PREFIX + exif if exif else b""}
    return {key: data for key, data in found.items() if data}


def _check_for_sums(picture: mux.CodedPicture, planes: int) -> None:
    """Raise BadFileError unless the decoder will find check sums to compare its pixels with."""
    if not any(hevc.holds_md5(nal, planes) for nal in picture.nals):
        raise BadFileError(
            "This BPG file has no readable checksum: get a whole copy, or decode it without asking for a checksum."
        )


def _extensions(image: Image.Image) -> dict[int, bytes]:
    """Return the metadata of an image as BPG extensions."""
    found = {
        container.EXIF: _find_tiff(image.info.get("exif") or b""),
        container.ICC: image.info.get("icc_profile") or b"",
    }
    return {tag: data for tag, data in found.items() if data}


def _find_tiff(exif: bytes) -> bytes:
    """Return EXIF data from their TIFF header on, or nothing where there is none.

    JPEG and Pillow put "Exif" and two zeros before it; bpgenc drops the name and only one zero.
    """
    for start in (0, 1, len(_EXIF_PREFIX)):
        if exif[start : start + 4] in _TIFF_MAGICS:
            return exif[start:]
    return b""
