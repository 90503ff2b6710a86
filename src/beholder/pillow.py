"""Pillow opens and saves ``.bhd`` and ``.bpg`` files.

    from PIL import Image
    from beholder.pillow import register_openers

    register_openers()
    image = Image.open("photo.bhd")                        # reads the header alone
    image.load(quality=2)                                  # decodes the first two segments
    image.load(quality=4)                                  # decodes all four
    image.save("copy.bhd", quality=4, alpha=1)

Errors have the types that Pillow's own formats raise (``UnidentifiedImageError``, ``OSError``, ``ValueError``) and are
subclasses of :class:`beholder.BeholderError` as well.  Each has one sentence that says what to do.
"""

from __future__ import annotations

import functools
import os
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from beholder import codecs
from beholder.codecs.bpg import container
from beholder.codecs.bpg.codec import metadata
from beholder.codecs.rnn import bitstream
from beholder.codecs.rnn.layout import BEST_QUALITY
from beholder.errors import BadFileError, BadImageError, BadOptionError, BeholderError, NotAvailableError, note
from beholder.pictures.metadata import find_tiff
from beholder.pictures.modes import normalise

DRAFT_QUALITY = {16: 1, 8: 2, 4: 3, 2: 5, 1: BEST_QUALITY}
"""Iterations worth decoding when both sides are divided by the key: the reduction loses what finer codes would tell."""
_GREY = 128
"""Level that Pillow's JPEG decoder paints where a truncated file has no data."""

Folder = str | os.PathLike[str]


class ImageFileError(BadFileError, OSError):
    """The pixels of a file cannot be decoded: it is damaged, truncated or needs another model."""


class UnidentifiedFileError(BadFileError, UnidentifiedImageError):
    """The header of a file is damaged, truncated, or of another version of the format."""


class OptionError(BadOptionError, ValueError):
    """An option of ``save`` or ``load`` is outside its range."""


def register_openers() -> None:
    """Teach Pillow the formats ``BHD`` (``.bhd``) and ``BPG`` (``.bpg``).  Another call changes nothing."""
    plugins: tuple[type[_CodecImageFile], ...] = (BhdImageFile, BpgImageFile)
    for plugin in plugins:
        Image.register_open(plugin.format, plugin, plugin.accept)
        Image.register_save(plugin.format, functools.partial(_save, plugin.codec))
        Image.register_extension(plugin.format, f".{plugin.format.lower()}")
        Image.register_mime(plugin.format, plugin.mime)


class _CodecImageFile(ImageFile.ImageFile):
    """An image file that one of Beholder's codecs decodes when its pixels are first needed."""

    format: str
    mime: str
    magic: bytes
    codec: str

    # Defaults of the class: an unpickled image has no more.
    _data = b""
    _draft_scale = 1

    @classmethod
    def accept(cls, prefix: bytes) -> bool:
        """Return whether a file that begins with ``prefix`` has this format."""
        return prefix.startswith(cls.magic)

    def _open(self) -> None:
        assert self.fp is not None
        if not self.accept(self.fp.read(len(self.magic))):
            raise SyntaxError(f"not a {self.format} file")
        self.fp.seek(0)
        try:
            self._read_header(self.fp)
        except BadFileError as error:
            raise UnidentifiedFileError(str(error)) from None
        exif = self.info.get("exif")
        if exif and not find_tiff(exif):  # at which Pillow's getexif ends in a SyntaxError
            del self.info["exif"]
            note("EXIF data that cannot be read are left out.")
        self._await_pixels()

    def _read_header(self, file: IO[bytes]) -> None:
        """Set size, mode and info; raise BadFileError."""
        raise NotImplementedError

    def _check(self, data: bytes) -> None:
        """Raise BadFileError for damage and truncation that show without decoding."""
        raise NotImplementedError

    def _decode(self, data: bytes, quality: int | None, model: Folder | None) -> Image.Image:
        return codecs.open_codec(self.codec, model).decode(data, quality, as_stored=True)

    def load(self, quality: int | None = None, model: Folder | None = None) -> Any:
        """Decode the pixels.

        Args:
            quality: of a ``.bhd`` file, the number of segments to decode; None: all, or what ``draft`` chose.
                A loaded image is decoded again when a quality is given.
            model: folder of the codec model that wrote a ``.bhd`` file; None: the model that ships.

        Returns:
            Pillow's access object for pixels.

        Raises:
            ImageFileError: the file is damaged, truncated or needs another model.
            OptionError: the file has no such quality.
        """
        if not self.tile and not (self._data and (quality is not None or model is not None)):
            return super().load()
        if not self._data:
            if self.fp is None:
                return super().load()  # which says that the image is closed, as of Pillow's own formats
            self.fp.seek(0)
            self._data = self.fp.read()
            if self._exclusive_fp:
                self.fp.close()
        try:
            picture = self._decode(self._data, quality, model)
        except BadOptionError as error:
            raise OptionError(str(error)) from None
        except BeholderError as error:
            raise ImageFileError(str(error)) from None
        if picture.mode != self.mode:
            picture = picture.convert(self.mode)
        if self._draft_scale > 1:
            picture = picture.reduce(self._draft_scale)
        self.fp = BytesIO(picture.tobytes())
        self._await_pixels()
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Do nothing: the decoded pixels begin at 0."""

    def verify(self) -> None:
        """Check the file without decoding it.  As with every Pillow format, open it again afterwards.

        Raises:
            ImageFileError: the file is damaged or truncated.
        """
        if self.fp is not None:
            self.fp.seek(0)
            try:
                self._check(self.fp.read())
            except BadFileError as error:
                raise ImageFileError(str(error)) from None
        super().verify()

    def _await_pixels(self) -> None:
        """Tell Pillow that the pixels are still to be read, as raw bytes."""
        self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]


class BhdImageFile(_CodecImageFile):
    """A ``.bhd`` file; ``info`` holds ``quality`` (segments), ``alpha``, and ``icc_profile`` and ``exif`` if stored."""

    format = "BHD"
    format_description = "Beholder neural codec"
    mime = "image/x-beholder"
    magic = bitstream.MAGIC
    codec = "rnn"

    def _read_header(self, file: IO[bytes]) -> None:
        header = bitstream.read_header(file, skip=frozenset({bitstream.PLANE}))
        self._size = header.width, header.height
        self._mode = ("L" if header.grey else "RGB") + ("A" if bitstream.PLANE in header.chunks else "")
        self.info = {"quality": header.quality, "alpha": header.alpha}
        for tag, key in ((bitstream.ICC, "icc_profile"), (bitstream.EXIF, "exif")):
            if tag in header.chunks:
                self.info[key] = header.chunks[tag]

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose a smaller and quicker version of the picture, before it is loaded.

        Args:
            mode: "L" for a grey version of a colour picture; others are ignored.
            size: the picture is divided by 2, 4, 8 or 16, as long as it stays at least this large, and only as many
                segments are decoded as such a version can show.

        Returns:
            The new mode and the box of the whole picture in the new size, or None if it is loaded or drafted already.
        """
        if not self.tile or self._data or self._draft_scale > 1:
            return None
        whole = self.size
        if mode == "L" and self.mode == "RGB":
            self._mode = "L"
        if size:
            fits = min(whole[0] // max(size[0], 1), whole[1] // max(size[1], 1))
            self._draft_scale = scale = next((s for s in DRAFT_QUALITY if s <= fits), 1)
            self._size = -(-whole[0] // scale), -(-whole[1] // scale)
        self._await_pixels()
        return self.mode, (0, 0, whole[0] / self._draft_scale, whole[1] / self._draft_scale)

    def _check(self, data: bytes) -> None:
        stream = bitstream.read(data)
        if stream.cut or not stream.segments:
            raise BadFileError(
                f"The file ends inside segment {len(stream.segments) + 1} of {stream.quality}: get the whole file."
            )

    def _decode(self, data: bytes, quality: int | None, model: Folder | None) -> Image.Image:
        tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
        if quality is None and (tolerant or self._draft_scale > 1):
            stream = bitstream.read(data)
            whole = len(stream.segments)
            if not whole and tolerant:
                return Image.new("RGB", (stream.width, stream.height), (_GREY,) * 3)
            if tolerant or not stream.cut:
                quality = min(whole, DRAFT_QUALITY[self._draft_scale]) or None
        return super()._decode(data, quality, model)


class BpgImageFile(_CodecImageFile):
    """A ``.bpg`` file; ``info`` holds ``icc_profile`` and ``exif`` if stored."""

    format = "BPG"
    format_description = "Better Portable Graphics"
    mime = "image/bpg"
    magic = container.MAGIC
    codec = "bpg"

    def _read_header(self, file: IO[bytes]) -> None:
        header, _ = container.read_header(file)
        self._size = header.width, header.height
        has_opacity = header.alpha in (container.Alpha.STRAIGHT, container.Alpha.PREMULTIPLIED)
        self._mode = ("L" if header.chroma == 0 else "RGB") + ("A" if has_opacity else "")
        self.info.update(metadata(header))

    def _check(self, data: bytes) -> None:
        container.read_file(data)


def _save(codec_name: str, image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Write ``image`` to ``file`` with the options that were given to ``Image.save``.

    They are ``quality``, ``alpha``, ``effort``, ``human`` and ``model`` as for :func:`beholder.compress`,
    ``icc_profile`` (bytes; default: the image's) and ``exif`` (bytes or ``Image.Exif``; default: none, as with Pillow's
    own formats).
    """
    if not image.width or not image.height:
        raise OptionError(f"An image of {image.width} x {image.height} pixels cannot be saved: give it pixels.")
    options: dict[str, Any] = image.encoderinfo
    source = image.copy()
    exif = options.get("exif")
    found = {
        "icc_profile": options.get("icc_profile", image.info.get("icc_profile")),
        "exif": exif.tobytes() if isinstance(exif, Image.Exif) else exif,
        "transparency": image.info.get("transparency"),
    }
    for name in ("icc_profile", "exif"):
        if not isinstance(found[name], bytes | None):
            raise OptionError(f"The option {name} takes bytes, not {type(found[name]).__name__}.")
    source.info = {key: value for key, value in found.items() if value not in (None, b"")}
    try:
        codec = codecs.open_codec(codec_name, options.get("model"), options.get("effort", 0), options.get("human"))
        alpha, quality = options.get("alpha", 0.0), options.get("quality")
        if alpha and not codec.takes_alpha:
            raise BadOptionError(f"The codec {codec_name} takes no alpha: only rnn does.")
        codecs.check_options(codec, alpha, quality)
        picture = normalise(source, turn=False)
        if found["exif"]:
            picture.info["exif"] = found["exif"]  # as Pillow's own formats: pixels as they are, orientation and all
        data = codec.encode(picture, quality, alpha=alpha)
    except (BadOptionError, BadImageError, NotAvailableError) as error:
        raise OptionError(str(error)) from None
    file.write(data)
