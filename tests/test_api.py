"""The public functions: compress, decompress, evaluate, and that importing them costs nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.errors import BadFileError, BadImageError, BadOptionError

HEAVY = ("torch", "onnxruntime", "av", "constriction", "numpy", "PIL", "imagecodecs", "matplotlib")


def test_importing_beholder_brings_no_library_along() -> None:
    code = f"import sys, beholder; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_core_works_where_torch_cannot_be_imported(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from beholder.cli import main\n"
        "for line in ('evaluate-image photo.png -c jpeg --json', 'compress photo.png -c webp', 'info photo.webp',\n"
        "             'decompress photo.webp -o out.png', 'codecs', 'observers', 'train codec --help'):\n"
        "    try: assert main(line.split()) == 0, line\n"
        "    except SystemExit as e: assert not e.code, line\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_every_public_name_is_there() -> None:
    for name in beholder.__all__:
        assert getattr(beholder, name) is not None
        assert name in dir(beholder)
    with pytest.raises(AttributeError):
        beholder.nothing  # noqa: B018


def test_sources_of_an_image_are_equal(tmp_path: Path, photo: Image.Image) -> None:
    path = tmp_path / "photo.png"
    photo.save(path)
    expected = beholder.compress(photo, "jpeg")
    for source in (path, str(path), path.read_bytes(), np.asarray(photo)):
        assert beholder.compress(source, "jpeg") == expected


def test_decompress_recognises_bytes_and_paths(tmp_path: Path, photo: Image.Image) -> None:
    for codec in ("jpeg", "webp", "bpg"):
        data = beholder.compress(photo, codec)
        path = tmp_path / "file.without.telling.suffix"
        path.write_bytes(data)
        image = beholder.decompress(data)
        assert image.size == photo.size
        assert beholder.decompress(path).tobytes() == image.tobytes()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_of_one_to_four_channels(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 200, np.uint8)
    assert beholder.decompress(beholder.compress(array, "webp", quality=90)).size == (7, 5)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), complex),
        np.zeros((5, 4, 5), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.full((4, 4), "a"),
        np.full((4, 4, 3), -0.5),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(BadImageError, match=r"uint8|negative"):
        beholder.compress(array, "jpeg")


def test_options_are_checked_before_the_image_is_opened() -> None:
    for options, message in (
        ({"quality": 101}, "Quality 101"),
        ({"alpha": 2.0}, "Alpha 2"),
        ({"alpha": float("nan")}, "Alpha"),
        ({"compression": "gif"}, "no codec 'gif'"),
        ({"model": "folder"}, "takes no model"),
    ):
        with pytest.raises(BadOptionError, match=message):
            beholder.compress("missing.png", **{"compression": "jpeg", **options})
    for options, message in (
        ({"classifier": "oracle"}, "no classifier 'oracle'"),
        ({"topk": 0}, "Top 0"),
        ({"protocol": "other"}, "no protocol 'other'"),
    ):
        with pytest.raises(BadOptionError, match=message):
            beholder.evaluate_image("missing.png", "jpeg", **options)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("no picture")
    for name, message in (("missing", "no file"), ("empty", "empty"), ("text", "format"), (".", "folder")):
        with pytest.raises(BadFileError, match=message):
            beholder.decompress(tmp_path / name)
