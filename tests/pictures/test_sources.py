"""Everything that compress, decompress and evaluate take, and that none of it is changed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.errors import BadFileError, BadImageError, BadOptionError
from beholder.reading import open_image

ORIENTATION = 0x0112
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture
def png(photo: Image.Image) -> bytes:
    out = io.BytesIO()
    photo.save(out, "PNG")
    return out.getvalue()


def test_files_in_every_wrapping(png: bytes, tmp_path: Path, photo: Image.Image) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    padded = memoryview(b"x" + png)[1:]
    with open(path, "rb") as file, open(path, "rb", buffering=0) as raw:
        sources = (path, str(path), png, bytearray(png), memoryview(png), padded, io.BytesIO(png), file, raw)
        for source in sources:
            assert open_image(source).tobytes() == photo.tobytes()
        assert (file.tell(), raw.tell(), file.closed) == (0, 0, False)


def test_a_file_object_is_read_whole_and_left_where_it_was(png: bytes, photo: Image.Image) -> None:
    file = io.BytesIO(png)
    file.seek(33)
    assert beholder.compress(file, "jpeg") == beholder.compress(file, "jpeg") == beholder.compress(photo, "jpeg")
    assert file.tell() == 33
    data = io.BytesIO(beholder.compress(photo, "jpeg"))
    assert beholder.decompress(data).size == beholder.decompress(data).size == photo.size


def test_a_pipe_cannot_seek(png: bytes, photo: Image.Image) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end, os.fdopen(reading, "rb") as source:
        end.write(png[:40_000])
        end.close()
        if len(png) <= 40_000:
            assert open_image(source).tobytes() == photo.tobytes()
        else:
            with pytest.raises(BadImageError, match="truncated"):
                open_image(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "None is no image: give a path, bytes"),
        (3, "type int is no image"),
        ([1, 2], "type list"),
        (object(), "a NumPy array or a torch tensor"),
        (io.StringIO("text"), 'open it with mode "rb"'),
        (b"", "is empty"),
        (Image.Image, "type type"),
    ],
)
def test_anything_else_is_named(source: object, words: str) -> None:
    with pytest.raises(BadImageError, match=words):
        beholder.compress(source, "jpeg")  # type: ignore[arg-type]


def test_what_decompress_takes(photo: Image.Image) -> None:
    data = beholder.compress(photo, "jpeg")
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        assert beholder.decompress(source).size == photo.size
    for wrong in (None, 3, photo, np.zeros((4, 4), np.uint8), io.StringIO("text")):
        with pytest.raises(BadFileError, match=r"is no compressed file: give|mode \"rb\""):
            beholder.decompress(wrong)  # type: ignore[arg-type]
    closed = io.BytesIO(data)
    closed.close()
    with pytest.raises(BadFileError, match="cannot be read"):
        beholder.decompress(closed)


def test_the_callers_image_is_not_changed(photo: Image.Image) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "Maker"
    photo.save(out, "JPEG", exif=exif)
    with Image.open(out) as image:
        info, size = dict(image.info), image.size
        files = {beholder.compress(image, "jpeg") for _ in range(3)}
        results = [beholder.evaluate_image(image, "jpeg").ms_ssim for _ in range(2)]
        assert image.getexif()[ORIENTATION] == 6
        assert (image.info, image.size, image.mode) == (info, size, "RGB")
    assert len(files) == 1
    assert results[0] == results[1]
    assert beholder.decompress(files.pop()).size == (photo.height, photo.width)
    array = np.asarray(photo).copy()
    array.flags.writeable = False
    assert beholder.compress(array, "jpeg") == beholder.compress(photo, "jpeg")


def expected(array: np.ndarray) -> list[object]:
    return np.asarray(array).tolist()


GREY = np.array([[0, 51], [204, 255], [102, 153]], np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (np.tile(GREY, (1, 3))[None], np.tile(GREY, (1, 3))),
        (GREY[None, ..., None], GREY),
        (COLOUR, COLOUR),
        (np.moveaxis(np.tile(COLOUR, (2, 3, 1)), 2, 0), np.tile(COLOUR, (2, 3, 1))),
        (COLOUR[None], COLOUR),
        (COLOUR[:, ::-1], COLOUR[:, ::-1]),
        (np.asfortranarray(COLOUR), COLOUR),
        (GREY.astype(np.uint16) * 257, GREY),
        ((GREY.astype(np.uint16) * 257).astype(">u2"), GREY),
        (GREY / 255, GREY),
        ((COLOUR / 255).astype(np.float32), COLOUR),
        ((COLOUR / 255).astype(np.float16), COLOUR),
        (GREY > 100, np.where(GREY > 100, 255, 0)),
    ],
)
def test_arrays_of_usual_shapes_and_types(array: np.ndarray, wanted: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert expected(open_image(array)) == expected(wanted)


@pytest.mark.parametrize(
    ("array", "wanted", "words"),
    [
        (GREY.astype(np.int64), GREY, "255 for white"),
        (GREY.astype(np.float32), GREY, "255 for white"),
        (GREY.astype(np.int32) * 257, GREY, "65,535 for white"),
        (np.array([[0.2, 0.4, 0.6, 0.8, 1.02]]), [[51, 102, 153, 204, 255]], "1 for white, and what lies beyond"),
        (np.array([[-0.1, 0.4, 0.6, 0.8, 1.0]]), [[0, 102, 153, 204, 255]], "what lies beyond is clipped"),
        (np.array([[10.0, 200, 255, 250, 128, 260]]), [[10, 200, 255, 250, 128, 255]], "255 for white, and what"),
        (np.array([[0, 50, 100, 200, 259]]), [[0, 50, 100, 200, 255]], "255 for white, and what"),
        (np.array([[0.2, np.nan, np.inf, -np.inf]]), [[51, 0, 255, 0]], "3 samples that are not finite"),
        (np.full((2, 2), 900, np.uint16), [[4, 4], [4, 4]], "nearly black"),
    ],
)
def test_guesses_and_clipping_are_told(array: np.ndarray, wanted: object, words: str) -> None:
    with pytest.warns(beholder.BeholderWarning, match=words):
        result = open_image(array)
    assert expected(result) == np.asarray(wanted).tolist()


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    colour = np.ascontiguousarray(np.tile(COLOUR, (2, 3, 1)))
    tensor = torch.from_numpy(colour)
    for source in (
        tensor,
        tensor.permute(2, 0, 1),
        tensor.permute(2, 0, 1)[None] / 255,
        (tensor / 255).requires_grad_(),
        (tensor / 255).double(),
    ):
        assert expected(open_image(source)) == expected(colour)
    rough = np.asarray(open_image((tensor / 255).to(torch.bfloat16)), int)
    assert np.abs(rough - colour).max() <= 1
    # Where both orders are possible, tensors have their channels first.
    assert open_image(torch.zeros(3, 4, 3)).size == (3, 4)
    assert open_image(np.zeros((3, 4, 3))).size == (4, 3)
    with pytest.raises(BadImageError, match="many negative samples"):
        open_image(torch.linspace(-1, 1, 48).reshape(3, 4, 4))


def test_arrays_above_the_limit(photo: Image.Image) -> None:
    for source in (np.zeros((20, 30), np.uint8), photo, photo.tobytes("jpeg", "RGB")):
        with pytest.raises(BadImageError, match=r"limit of 599 pixels.*max_pixels"):
            beholder.compress(source, "jpeg", max_pixels=599)
    assert beholder.compress(np.zeros((20, 30), np.uint8), "jpeg", max_pixels=600)
    for wrong in (0, -1, 2.5, True, "9"):
        with pytest.raises(BadOptionError, match="positive integer"):
            beholder.compress(photo, "jpeg", max_pixels=wrong)  # type: ignore[arg-type]


def test_numpy_integers_are_qualities(photo: Image.Image) -> None:
    assert beholder.compress(photo, "jpeg", quality=np.int64(50)) == beholder.compress(photo, "jpeg", quality=50)
    assert beholder.evaluate_image(photo, "jpeg", quality=np.uint8(50)).quality == 50
    for wrong in (50.0, "50", np.float32(50), np.True_):
        with pytest.raises(BadOptionError, match="is an integer"):
            beholder.compress(photo, "jpeg", quality=wrong)  # type: ignore[arg-type]


def test_codec_names_in_any_case(photo: Image.Image) -> None:
    assert beholder.compress(photo, "JPEG") == beholder.compress(photo, "Jpeg") == beholder.compress(photo, "jpeg")
    with pytest.raises(BadOptionError, match="no codec 7"):
        beholder.compress(photo, 7)  # type: ignore[arg-type]


def test_options_without_effect_are_told(photo: Image.Image) -> None:
    with pytest.warns(beholder.BeholderWarning, match=r"jpeg takes no alpha: 0\.5 has no effect") as said:
        data = beholder.compress(photo, "jpeg", 0.5)
    assert said[0].filename == __file__
    with pytest.warns(beholder.BeholderWarning, match="one quality: quality 3 has no effect"):
        beholder.decompress(data, 3)


SCRIPT = """
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import beholder

image = Image.new("RGB", (8, 8))
data: bytes = beholder.compress(image)
for source in (Path("a.png"), data, bytearray(data), memoryview(data), io.BytesIO(data), open("a.png", "rb")):
    data = beholder.compress(source, "jpeg", quality=np.int64(3))
    picture: Image.Image = beholder.decompress(source, 3, max_pixels=10**6)
beholder.compress(np.zeros((8, 8, 3), np.float32), "jpeg", strip=True)
beholder.compress(torch.zeros(3, 8, 8))
report: beholder.Evaluation = beholder.evaluate_image(image, "jpeg", quality=np.uint8(9))
size: float = report.bpp
"""


@pytest.mark.slow
def test_a_users_script_passes_mypy(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(SCRIPT.replace("import torch\n", "").replace("torch.zeros(3, 8, 8)", "image"))
    (tmp_path / "wrong.py").write_text("import beholder\n\nbeholder.compress(3)\nbeholder.decompress([1])\n")
    root = Path(beholder.__file__).parent.parent
    environment = os.environ | {"MYPYPATH": str(root) if root.name == "src" else ""}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(PROJECT), "--no-pretty"]
    command += ["--cache-dir", str(request.config.cache.mkdir("mypy"))]
    result = subprocess.run(
        [*command, "right.py", "wrong.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "right.py" not in result.stdout
    # Of a package that is installed mypy reports nothing; of this clone it may.
    lines = [line for line in result.stdout.splitlines() if "error" in line and line.startswith("wrong.py")]
    assert [line.split(":")[:2] for line in lines] == [
        ["wrong.py", "3"],
        ["wrong.py", "4"],
    ], result.stdout + result.stderr
