"""HEIC (HEVC in HEIF, ISO/IEC 23008-12) through libheif, x265 and libde265 in the package pillow-heif."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from types import ModuleType

from PIL import Image

from beholder.codecs.base import Codec, QualityScale
from beholder.codecs.opening import damaged
from beholder.codecs.pillow_codec import check_side
from beholder.errors import BadFileError, note
from beholder.extras import install_command
from beholder.limits import check_claim

_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


class Heic(Codec):
    """HEIC 4:2:0 with opacity; greyscale is stored as monochrome HEVC."""

    name = "heic"
    title = "HEIC 4:2:0 (x265)"
    suffix = ".heic"
    other_suffixes = (".heif", ".hif")
    scale = QualityScale(0, 100, 50, "quality")
    modes = frozenset({"L", "LA", "RGB", "RGBA"})
    oriented_by_exif = False

    def unavailable(self) -> str | None:
        if importlib.util.find_spec("pillow_heif") is None:
            return f"HEIC needs the package pillow-heif: {install_command('heic')}."
        if not _library().libheif_info()["HEIF"]:
            return f"This pillow-heif has no HEVC encoder: {install_command('heic', upgrade=True)}."
        return None

    def recognises(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and b"avif" not in head

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        check_side(image, 16_384, self.name)
        buffer = BytesIO()
        _library().from_pillow(image).save(buffer, quality=quality, chroma=420)
        return buffer.getvalue()

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        if not self.recognises(data[:64]):
            raise BadFileError("The file is not in the format heic.")
        try:
            # The pixels are decoded by to_pillow, after the size has been looked at.
            opened = _library().open_heif(BytesIO(data), convert_hdr_to_8bit=True)
            check_claim(opened.size[0], opened.size[1], len(data))
            if len(opened) > 1:
                note("The heic file holds more than one picture or page: only the first is used.")
            image: Image.Image = opened.to_pillow()
            image.load()
            return image
        except BadFileError:
            raise
        except Exception as error:  # libheif's failures come as half a dozen types
            raise damaged(self.name, error) from None


def _library() -> ModuleType:
    import pillow_heif

    return pillow_heif
