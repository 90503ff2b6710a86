"""What the codecs that Pillow itself reads and writes have in common."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

from beholder.codecs.base import Codec
from beholder.errors import BadFileError, BadImageError
from beholder.image import check_size, normalise, upright

PILLOW_EXTRA = 'pip install --force-reinstall "Pillow>=12"'


class PillowCodec(Codec):
    """A codec whose work is done by one of Pillow's format plugins."""

    format: str
    """Pillow's name of the format."""
    max_side: int
    """The largest width or height that a file can express."""

    def unavailable(self) -> str | None:
        Image.init()
        if self.format not in Image.SAVE or self.format not in Image.OPEN:
            return f"This Pillow was built without {self.format}: install its wheel with {PILLOW_EXTRA}."
        return None

    @abstractmethod
    def _options(self, image: Image.Image, quality: int) -> dict[str, Any]:
        """The keyword arguments of ``Image.save`` for this quality."""

    def _check_bytes(self, data: bytes) -> None:
        """Raise BadFileError for what Pillow would accept or allocate without complaint."""

    def _encode(self, image: Image.Image, quality: int, alpha: float) -> bytes:
        check_side(image, self.max_side, self.name)
        buffer = BytesIO()
        image.save(buffer, self.format, **self._options(image, quality))
        return buffer.getvalue()

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        if not self.recognises(data[:64]):
            raise BadFileError(f"The file is not in the format {self.name}.")
        self._check_bytes(data)
        return decode_with_pillow(data, self.format, self.name)


def decode_with_pillow(data: bytes, pillow_format: str, name: str) -> Image.Image:
    """Decode ``data`` with one plugin, upright and normalised; only BadFileError leaves."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged files are refused below or were read well enough
            Image.init()
            with Image.open(BytesIO(data), formats=[pillow_format]) as image:
                check_size(*image.size)
                image.load()
                return normalise(upright(image))
    except BadFileError:
        raise
    except Exception as error:  # plugins raise whatever the bytes provoke
        raise damaged(name, error) from None


def damaged(name: str, error: Exception) -> BadFileError:
    """The sentence for a file that a foreign decoder gave up on."""
    if isinstance(error, Image.DecompressionBombError):
        return BadFileError(f"The {name} file claims more pixels than we are willing to decode.")
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return BadFileError(f"The {name} file is damaged or truncated ({detail}).")


def check_side(image: Image.Image, limit: int, name: str) -> None:
    """Raise BadImageError if a side of ``image`` is longer than the format can express."""
    if max(image.size) > limit:
        raise BadImageError(
            f"An image of {image.width} x {image.height} pixels does not fit into {name}, whose sides end "
            f"at {limit:,}: shrink it or choose another codec."
        )


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert ``image`` from its ICC profile to sRGB, for codecs that cannot store the profile.

    A profile that does not fit the image is ignored.  Transparency is kept.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    opaque = "L" if image.mode in ("L", "LA") else "RGB"
    try:
        colours = ImageCms.profileToProfile(
            image.convert(opaque),
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if colours is None:
        return image
    result = colours.convert(opaque)
    if image.mode != opaque:
        result.putalpha(image.getchannel("A"))
    result.info = {key: value for key, value in image.info.items() if key != "icc_profile"}
    return result
