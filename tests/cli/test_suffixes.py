"""The suffix of the output chooses the format, and names of codecs are read in any case."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import beholder
from beholder import codecs
from beholder.cli import main
from beholder.pictures.colour import to_srgb

AVAILABLE = [name for name in codecs.names() if codecs.get(name).unavailable() is None]
SUFFIXES = [
    (name, suffix) for name in AVAILABLE for suffix in (codecs.get(name).suffix, *codecs.get(name).other_suffixes)
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small photo.png, in which commands run."""
    monkeypatch.chdir(tmp_path)
    photo.resize((96, 80)).save("photo.png")
    return tmp_path


def written(path: str) -> str:
    """The codec that wrote a file."""
    return codecs.recognise(Path(path).read_bytes()).name


@pytest.mark.parametrize(("name", "suffix"), SUFFIXES)
def test_the_suffix_chooses_the_codec(name: str, suffix: str) -> None:
    for output in (f"a{suffix}", f"b{suffix.upper()}"):
        assert main(["compress", "photo.png", "-o", output]) == 0
        assert written(output) == name


@pytest.mark.parametrize("name", AVAILABLE)
def test_without_an_output_the_codec_chooses_the_suffix(name: str) -> None:
    assert main(["compress", "photo.png", "--codec", name]) == 0
    assert written(f"photo{codecs.get(name).suffix}") == name


def test_without_either_it_is_rnn() -> None:
    assert main(["compress", "photo.png"]) == 0
    assert written("photo.bhd") == "rnn"


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_suffix_that_contradicts_the_codec_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = (codecs.get(name).suffix, *codecs.get(name).other_suffixes)
    for other, suffix in SUFFIXES:
        if suffix in own:
            continue
        assert main(["compress", "photo.png", "--codec", name, "-o", f"a{suffix}"]) == 2
        said = capsys.readouterr().err
        assert f"has the suffix of {other}, not of {name}" in said
        assert len(said.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["photo.png"]


@pytest.mark.parametrize("output", ["a.png", "a.gif", "a.TIFF"])
def test_suffixes_that_no_codec_writes(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "photo.png", "-o", output]) == 2
    assert f"No codec writes {Path(output).suffix.lower()} files" in capsys.readouterr().err
    assert not Path(output).exists()


@pytest.mark.parametrize("name", AVAILABLE)
def test_names_of_codecs_in_any_case(name: str) -> None:
    for number, spelled in enumerate((name, name.upper(), name.title())):
        assert main(["compress", "photo.png", "-c", spelled, "-o", f"{number}{codecs.get(name).suffix}"]) == 0
    files = {path.read_bytes() for path in Path().glob("[0-2].*")}
    assert files == {beholder.compress("photo.png", name.upper())}


def test_names_of_codecs_in_any_case_in_lists(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = [
        "evaluate",
        "--data",
        ".",
        "--codecs",
        "JPEG,WebP",
        "--qualities",
        "Jpeg=50;WEBP=50",
        "--classifiers",
        "none",
    ]
    assert main([*sweep, "--output", "../sweep"]) == 0, capsys.readouterr().err
    compared = ["compare", "photo.png", "--codecs", "JPEG,WebP", "--bpp", "2", "--classifiers", "none"]
    assert main(compared) == 0, capsys.readouterr().err
    assert main(["evaluate-image", "photo.png", "--codec", "JPEG"]) == 0


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".BMP", ".png", ".jpg"])
def test_formats_without_profiles_get_srgb(suffix: str, photo: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    stored = BytesIO()
    photo.save(stored, "PNG", icc_profile=swapped)
    Path("wide.png").write_bytes(stored.getvalue())
    assert main(["compress", "wide.png", "-o", "wide.jpg", "--quality", "98"]) == 0
    assert main(["decompress", "wide.jpg", "-o", f"back{suffix}"]) == 0
    with Image.open(f"back{suffix}") as back:
        assert ("icc_profile" in back.info) == (suffix in (".png", ".jpg"))
        shown = np.asarray(to_srgb(back.convert("RGB")) if "icc_profile" in back.info else back.convert("RGB"), float)
    wanted = np.asarray(photo, float)[..., ::-1]
    assert np.abs(shown - wanted).mean() < 6
