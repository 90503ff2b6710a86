"""Pillow reads and writes .bhd and .bpg: what Pillow's own plugin tests ask of a format, and progressive loading."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import PILLOW_MODES, make_photo
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

import beholder
from beholder.codecs.rnn import bitstream
from beholder.pillow import BhdImageFile, BpgImageFile, register_openers

register_openers()

FORMATS = ("bhd", "bpg")
PLUGINS = {"bhd": BhdImageFile, "bpg": BpgImageFile}
LOSS = {"bhd": 14.0, "bpg": 6.0}
"""Largest mean error of the default quality on the test's photo, in levels of 0 to 255."""


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return make_photo(90, 60)


@pytest.fixture(scope="module")
def files(photo: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pillow")
    result = {suffix: folder / f"photo.{suffix}" for suffix in FORMATS}
    for path in result.values():
        photo.save(path)
    return result


@pytest.fixture
def tolerant() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def _difference(one: Image.Image, other: Image.Image) -> float:
    pair = [np.asarray(image.convert("RGB"), np.float64) for image in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean())


class _Counting(BytesIO):
    """A file that tells how many bytes were read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.count += len(piece)
        return piece


@pytest.mark.parametrize("suffix", FORMATS)
class TestFormat:
    def test_opens(self, suffix: str, files: dict[str, Path], photo: Image.Image) -> None:
        with Image.open(files[suffix]) as image:
            assert (image.mode, image.size, image.format) == ("RGB", (90, 60), suffix.upper())
            assert image.get_format_mimetype() == PLUGINS[suffix].mime
            image.load()
            assert _difference(image, photo) < LOSS[suffix]
            assert np.array_equal(image, beholder.decompress(files[suffix].read_bytes()))
            assert len(image.get_flattened_data()) == 90 * 60

    def test_reads_the_header_alone(self, suffix: str, photo: Image.Image) -> None:
        file = _Counting()
        photo.save(file, suffix.upper())
        file.count = 0
        file.seek(0)
        # By itself: openers that Image.open tries before it may read, too.
        with PLUGINS[suffix](file) as image:
            assert image.size == photo.size
            assert file.count < 60 < len(file.getvalue()) / 4
        assert not file.closed

    def test_register_twice(self, suffix: str) -> None:
        before = list(Image.ID)
        register_openers()
        assert before == Image.ID
        assert Image.registered_extensions()[f".{suffix}"] == suffix.upper()

    def test_foreign_file(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / "foreign.jpg"
        make_photo(8, 8).save(path)
        with pytest.raises(SyntaxError):
            PLUGINS[suffix](path)

    def test_file_pointer_is_closed_with_the_image(self, suffix: str, files: dict[str, Path]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            image = Image.open(files[suffix])
            image.load()
            assert image.copy().size == image.size
            image.close()
            Image.open(files[suffix]).close()
        with Image.open(files[suffix]) as image:
            image.load()
        image.load()  # Pillow's formats stay usable once they are loaded

    def test_seek(self, suffix: str, files: dict[str, Path]) -> None:
        with Image.open(files[suffix]) as image:
            image.seek(0)
            assert image.tell() == 0
            with pytest.raises(EOFError):
                image.seek(1)

    def test_pickle(self, suffix: str, files: dict[str, Path]) -> None:
        with Image.open(files[suffix]) as image:
            again = pickle.loads(pickle.dumps(image))
            assert np.array_equal(again, image)

    def test_truncated(self, suffix: str, files: dict[str, Path]) -> None:
        data = files[suffix].read_bytes()
        with Image.open(BytesIO(data[: len(data) - 9])) as image, pytest.raises(OSError, match=r"ends|truncated"):
            image.load()
        with pytest.raises(UnidentifiedImageError, match=r"inside its header"):
            Image.open(BytesIO(data[:8]))
        complete = []
        for length in range(len(data)):
            with contextlib.suppress(OSError), Image.open(BytesIO(data[:length])) as image:
                image.verify()
                complete.append(length)
        # A prefix that ends after a segment is a whole file.
        assert len(complete) == (3 if suffix == "bhd" else 0)

    def test_verify(self, suffix: str, files: dict[str, Path]) -> None:
        with Image.open(files[suffix]) as image:
            image.verify()
        data = files[suffix].read_bytes()
        with Image.open(BytesIO(data[:-5])) as image, pytest.raises(OSError, match=r"ends|truncated"):
            image.verify()

    @pytest.mark.parametrize("mode", PILLOW_MODES)
    def test_saves_every_mode(self, suffix: str, mode: str) -> None:
        image = Image.new(mode, (20, 18), 1)
        out = BytesIO()
        image.save(out, suffix.upper())
        with Image.open(out) as again:
            again.load()
            assert again.mode in {"L", "LA", "RGB", "RGBA"}
            assert again.size == (20, 18)

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_opacity(self, suffix: str, mode: str, photo: Image.Image) -> None:
        opacity = Image.linear_gradient("L").resize(photo.size)
        image = photo.convert(mode)
        image.putalpha(opacity)
        out = BytesIO()
        image.save(out, suffix.upper())
        with Image.open(out) as again:
            assert again.mode == mode
            assert again.has_transparency_data
            assert _difference(again.getchannel("A"), opacity) <= (0 if suffix == "bhd" else 3)

    def test_icc_profile(self, suffix: str, photo: Image.Image) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for options, source, wanted in (
            ({"icc_profile": profile}, photo, profile),
            ({}, photo, None),
            ({}, "own", profile),
            ({"icc_profile": None}, "own", None),
        ):
            image = photo.copy()
            if source == "own":
                image.info["icc_profile"] = profile
            out = BytesIO()
            image.save(out, suffix.upper(), **options)  # type: ignore[arg-type]
            with Image.open(out) as again:
                assert again.info.get("icc_profile") == wanted

    def test_exif(self, suffix: str, photo: Image.Image) -> None:
        exif = Image.Exif()
        exif[0x010F] = "a camera"
        exif[0x0112] = 6
        for given in (exif, exif.tobytes()):
            out = BytesIO()
            photo.save(out, suffix.upper(), exif=given)
            with Image.open(out) as again:
                assert again.getexif()[0x010F] == "a camera"
                assert again.getexif()[0x0112] == 6
                assert again.size == photo.size
        with_exif = photo.copy()
        with_exif.info["exif"] = exif.tobytes()
        out = BytesIO()
        with_exif.save(out, suffix.upper())
        with Image.open(out) as again:
            assert not again.getexif()

    @pytest.mark.parametrize("exif", [b"no TIFF header", b"Exif\0\0\0\x10\0\0"])
    def test_exif_that_nobody_can_read_is_left_out(self, suffix: str, photo: Image.Image, exif: bytes) -> None:
        """Pillow's ``getexif`` ends in a SyntaxError at such data, which the writer of BPG files leaves out itself."""
        out = BytesIO()
        photo.save(out, suffix.upper(), exif=exif)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = Image.open(out)
        assert any("EXIF data that cannot be read" in str(w.message) for w in caught) == (suffix == "bhd")
        assert not again.getexif()
        again.load()

    def test_saving_leaves_the_image_alone(self, suffix: str, photo: Image.Image) -> None:
        image = photo.copy()
        image.info = {"icc_profile": b"damaged", "exif": b"", "dpi": (72, 72)}
        image.save(BytesIO(), suffix.upper(), exif=b"")
        assert image.info == {"icc_profile": b"damaged", "exif": b"", "dpi": (72, 72)}
        assert np.array_equal(image, photo)

    @pytest.mark.parametrize("options", [{"quality": 99}, {"quality": "keep"}, {"quality": 2.5}, {"alpha": 2}])
    def test_wrong_option(self, suffix: str, options: dict[str, object], tmp_path: Path) -> None:
        path = tmp_path / f"wrong.{suffix}"
        with pytest.raises(ValueError, match=r"[Qq]uality|[Aa]lpha"):
            make_photo(16, 16).save(path, **options)  # type: ignore[arg-type]
        assert not path.exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"icc_profile": "text"}, "takes bytes"), ({"exif": 6}, "takes bytes"), ({"model": "nowhere"}, r"model")],
    )
    def test_option_of_another_kind(self, suffix: str, options: dict[str, object], words: str) -> None:
        with pytest.raises(ValueError, match=words) as caught:
            make_photo(16, 16).save(BytesIO(), suffix.upper(), **options)  # type: ignore[arg-type]
        assert isinstance(caught.value, beholder.BeholderError)

    @pytest.mark.parametrize("size", [(0, 0), (0, 8), (8, 0)])
    def test_no_pixels(self, suffix: str, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="cannot be saved"):
            Image.new("RGB", size).save(BytesIO(), suffix.upper())

    def test_closed(self, suffix: str, files: dict[str, Path]) -> None:
        image = Image.open(files[suffix])
        image.close()
        with pytest.raises(ValueError, match="closed image"):
            image.load()

    def test_parser(self, suffix: str, files: dict[str, Path]) -> None:
        parser = ImageFile.Parser()
        data = files[suffix].read_bytes()
        for start in range(0, len(data), 100):
            parser.feed(data[start : start + 100])
        assert np.array_equal(parser.close(), beholder.decompress(data))

    def test_quality(self, suffix: str, photo: Image.Image) -> None:
        low, high = (1, 5) if suffix == "bhd" else (45, 20)
        sizes = []
        for quality in (low, high):
            out = BytesIO()
            photo.save(out, suffix.upper(), quality=quality)
            sizes.append(len(out.getvalue()))
        assert 2 * sizes[0] < sizes[1]

    def test_thumbnail(self, suffix: str, files: dict[str, Path], photo: Image.Image) -> None:
        with Image.open(files[suffix]) as image:
            image.thumbnail((30, 30))
            assert image.size == (30, 20)
            assert _difference(image, photo.resize((30, 20))) < 1.5 * LOSS[suffix]


class TestProgressive:
    def test_load_with_quality(self, files: dict[str, Path]) -> None:
        data = files["bhd"].read_bytes()
        with Image.open(files["bhd"]) as image:
            assert image.info["quality"] == 4
            for quality in (2, 1, 4):
                image.load(quality=quality)
                assert np.array_equal(image, beholder.decompress(data, quality=quality))
            image.load()
            assert np.array_equal(image, beholder.decompress(data))
            with pytest.raises(ValueError, match="holds qualities 1 to 4"):
                image.load(quality=5)

    def test_draft_by_size(self, files: dict[str, Path]) -> None:
        data = files["bhd"].read_bytes()
        with Image.open(files["bhd"]) as image:
            drafted = image.draft(None, (20, 12))
            assert drafted == ("RGB", (0, 0, 22.5, 15))
            assert image.size == (23, 15)
            assert np.array_equal(image, beholder.decompress(data, quality=3).reduce(4))
            assert image.draft(None, (1, 1)) is None

    def test_draft_by_mode(self, files: dict[str, Path]) -> None:
        with Image.open(files["bhd"]) as image:
            image.draft("L", None)
            assert image.mode == "L"
            assert np.array_equal(image, beholder.decompress(files["bhd"].read_bytes()).convert("L"))

    @pytest.mark.parametrize("segments", [0, 1, 3])
    def test_load_truncated_images(self, segments: int, files: dict[str, Path], tolerant: None) -> None:
        data = files["bhd"].read_bytes()
        lengths = [len(segment) for segment in bitstream.read(data).segments]
        cut = data[: len(data) - sum(lengths[segments:]) - 5]
        with Image.open(BytesIO(cut)) as image:
            image.load()
            if segments:
                assert np.array_equal(image, beholder.decompress(data, quality=segments))
            else:
                assert image.getextrema() == ((128, 128),) * 3

    def test_damaged_segment(self, files: dict[str, Path]) -> None:
        data = bytearray(files["bhd"].read_bytes())
        data[-3] ^= 1
        with Image.open(BytesIO(data)) as image, pytest.raises(OSError, match="checksum") as caught:
            image.load()
        assert isinstance(caught.value, beholder.BeholderError)
        with Image.open(BytesIO(data)) as image, pytest.raises(OSError, match="checksum"):
            image.verify()

    def test_other_model(self, files: dict[str, Path]) -> None:
        data = bytearray(files["bhd"].read_bytes())
        stream = bitstream.read(bytes(data))
        stream.model = b"12345678"
        with Image.open(BytesIO(bitstream.write(stream))) as image, pytest.raises(OSError, match="3132333435363738"):
            image.load()


def test_alpha(tmp_path: Path) -> None:
    make_photo(32, 32).save(tmp_path / "a.bhd", quality=2, alpha=1)
    with Image.open(tmp_path / "a.bhd") as image:
        assert image.info["alpha"] == 1
        assert image.info["quality"] == 2
    with pytest.raises(ValueError, match="takes no alpha"):
        make_photo(32, 32).save(tmp_path / "a.bpg", alpha=1)


def test_opening_loads_no_network(files: dict[str, Path]) -> None:
    code = (
        "import sys; from PIL import Image; from beholder.pillow import register_openers; register_openers();"
        f"Image.open({str(files['bhd'])!r}); print('onnxruntime' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_library_tells_what_is_wrong_as_before(files: dict[str, Path]) -> None:
    stream = bitstream.read(files["bhd"].read_bytes())
    stream.model = b"12345678"
    with pytest.raises(beholder.BadImageError, match="codec model 3132333435363738"):
        beholder.compress(bitstream.write(stream), "jpeg")


@pytest.mark.parametrize("suffix", FORMATS)
def test_bad_bytes_give_errors_of_pillow(suffix: str, files: dict[str, Path]) -> None:
    whole = files[suffix].read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(4, 40, 3):
            data[place] = rng.integers(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with contextlib.suppress(OSError, Image.DecompressionBombError):
                Image.open(BytesIO(data)).verify()
