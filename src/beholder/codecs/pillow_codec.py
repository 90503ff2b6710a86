"""The codecs that Pillow itself reads and writes."""

from __future__ import annotations

from abc import abstractmethod
from io import BytesIO
from typing import Any

from PIL import Image

from beholder.codecs.base import Codec
from beholder.codecs.opening import damaged, load_picture, register
from beholder.errors import BadFileError, BadImageError, note

PILLOW_EXTRA = 'pip install --force-reinstall "Pillow>=12"'


class PillowCodec(Codec):
    """A codec whose work is done by one of Pillow's format plugins."""

    format: str
    """Pillow's name of the format."""
    max_side: int
    """The largest width or height that a file can express."""

    def unavailable(self) -> str | None:
        register([self.format])
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
        try:
            return self._save(image, quality)
        except Exception:  # Pillow's writers parse EXIF data, each in its own way
            if not image.info.get("exif"):
                raise
            bare = image.copy()
            del bare.info["exif"]
            data = self._save(bare, quality)
            note(f"The EXIF data do not fit into {self.name} and are left out.")
            return data

    def _save(self, image: Image.Image, quality: int) -> bytes:
        buffer = BytesIO()
        image.save(buffer, self.format, **self._options(image, quality))
        return buffer.getvalue()

    def _decode(self, data: bytes, quality: int | None) -> Image.Image:
        if not self.recognises(data[:64]):
            raise BadFileError(f"The file is not in the format {self.name}.")
        self._check_bytes(data)
        try:
            return load_picture(BytesIO(data), [self.format], f"The {self.name} file")
        except BadFileError:
            raise
        except Exception as error:  # plugins raise whatever the bytes provoke
            raise damaged(self.name, error) from None


def check_side(image: Image.Image, limit: int, name: str) -> None:
    """Raise BadImageError if a side of ``image``, of any mode, is longer than the format can express."""
    if max(image.size) > limit:
        raise BadImageError(
            f"An image of {image.width} x {image.height} pixels does not fit into {name}, whose sides end "
            f"at {limit:,}: shrink it or choose another codec."
        )
