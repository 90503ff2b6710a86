"""The commands do what their help says, through ``beholder.cli.main`` as the shell's script calls it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageShow

import beholder
from beholder import codecs, observers
from beholder.cli import main

AVAILABLE = [name for name in codecs.names() if codecs.get(name).unavailable() is None]
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder with a photo.png; what it printed."""
    photo.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> str:
        assert main(arguments) == code, capsys.readouterr().err
        return capsys.readouterr().out

    return call


def piped(*arguments: str, data: bytes = b"", cwd: Path | None = None) -> bytes:
    command = [sys.executable, "-m", "beholder", *arguments]
    return subprocess.run(command, input=data, cwd=cwd, check=True, capture_output=True).stdout


def test_version_and_help(run: Run) -> None:
    assert run("--version") == f"beholder {beholder.__version__}\n"
    text = run()
    for command in [
        "compress",
        "decompress",
        "evaluate-image",
        "info",
        "codecs",
        "observers",
        "demo",
        "train",
        "export",
    ]:
        assert command in text
    assert "codec" in run("train")


@pytest.mark.parametrize("name", AVAILABLE)
def test_two_processes_agree_with_one(name: str, tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    codec = codecs.get(name)
    piped("compress", "photo.png", "--codec", name, cwd=tmp_path)
    written = tmp_path / f"photo{codec.suffix}"
    assert written.read_bytes() == codec.encode(photo)
    piped("decompress", written.name, "-o", "back.png", cwd=tmp_path)
    with Image.open(tmp_path / "back.png") as back:
        assert back.tobytes() == codec.decode(written.read_bytes()).tobytes()


def test_options_reach_the_codec(run: Run, photo: Image.Image) -> None:
    run("compress", "photo.png", "-o", "a.bhd", "--alpha", "0.5", "--quality", "1")
    assert Path("a.bhd").read_bytes() == codecs.get("rnn").encode(photo, 1, alpha=0.5)
    assert json.loads(run("info", "a.bhd", "--json"))["alpha"] == 0.5


def test_progressive_file_stops_where_asked(run: Run) -> None:
    run("compress", "photo.png", "-o", "full.bhd", "--quality", "3", "--alpha", "0.4")
    run("compress", "photo.png", "-o", "low.bhd", "--quality", "1", "--alpha", "0.4")
    run("decompress", "full.bhd", "-o", "a.png", "--quality", "1")
    run("decompress", "low.bhd", "-o", "b.png")
    with Image.open("a.png") as a, Image.open("b.png") as b:
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".ppm", ".jpg"])
@pytest.mark.parametrize("mode", ["RGBA", "L"])
def test_formats_of_decompressed_pictures(run: Run, suffix: str, mode: str, modes: dict[str, Image.Image]) -> None:
    data = codecs.get("avif").encode(modes[mode], 80)
    Path("photo.avif").write_bytes(data)
    run("decompress", "photo.avif", "-o", f"out{suffix}")
    decoded = codecs.get("avif").decode(data)
    with Image.open(f"out{suffix}") as picture:
        assert picture.size == decoded.size
        if suffix in (".png", ".tif", ".webp"):
            assert picture.convert(mode).tobytes() == decoded.tobytes()


def test_metadata_survives(run: Run, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo.save("with.png", exif=exif, icc_profile=profile)
    run("compress", "with.png", "-c", "webp")
    run("decompress", "with.webp", "-o", "back.png")
    with Image.open("back.png") as back:
        assert back.info["icc_profile"] == profile
        assert back.getexif()[0x010E] == "a description"


def test_streams(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    data = piped("compress", "-", "-c", "jpeg", data=(tmp_path / "photo.png").read_bytes())
    assert data == codecs.get("jpeg").encode(photo)
    assert json.loads(piped("info", "-", "--json", data=data))["codec"] == "jpeg"
    png = piped("decompress", "-", data=data)
    assert png.startswith(b"\x89PNG")


def test_nobody_reading_is_no_error(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m beholder codecs | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.returncode in (0, 141)


def test_info(run: Run, photo: Image.Image) -> None:
    for name in AVAILABLE:
        data = codecs.get(name).encode(photo)
        Path("file").write_bytes(data)
        facts = json.loads(run("info", "file", "--json"))
        assert facts["codec"] == name
        assert (facts["width"], facts["height"]) == photo.size
        assert facts["bytes"] == len(data)
        assert facts["bpp"] == pytest.approx(8 * len(data) / (160 * 120))
        assert f"{len(data):,} bytes" in run("info", "file")


def test_info_of_a_bhd_file_tells_its_segments(run: Run) -> None:
    run("compress", "photo.png", "--quality", "3")
    facts = json.loads(run("info", "photo.bhd", "--json"))
    assert facts["qualities"] == facts["complete_qualities"] == len(facts["segments"]) == 3
    assert sum(facts["segments"]) < facts["bytes"] < sum(facts["segments"]) + 60
    assert len(facts["model"]) == 16


def test_lists(run: Run) -> None:
    listed = json.loads(run("codecs", "--json"))
    assert [codec["name"] for codec in listed] == codecs.names()
    assert listed[0]["quality"]["highest"] == 12
    assert all(codec["available"] == (codec["unavailable"] is None) for codec in listed)
    listed = json.loads(run("observers", "--json"))
    assert [observer["name"] for observer in listed] == observers.names()
    assert "efficientnet_lite0" in run("observers")
    assert "bpg" in run("codecs")


def test_eval_image_prints_one_json_object(run: Run) -> None:
    result = json.loads(
        run("evaluate-image", "photo.png", "--codec", "rnn", "--alpha", "1", "--quality", "2", "--topk", "3", "--json")
    )
    assert (result["image"], result["compression"], result["alpha"], result["quality"]) == ("photo.png", "rnn", 1, 2)
    assert len(result["predictions_compressed"]) == 3
    paper = json.loads(run("evaluate-image", "photo.png", "-c", "jpeg", "--protocol", "paper", "--json"))
    assert (paper["width"], paper["height"]) == (256, 256)


def test_eval_image_saves_everything(run: Run, photo: Image.Image) -> None:
    out = run("evaluate-image", "photo.png", "-c", "bpg", "-q", "40", "--output", "results/today")
    folder = Path("results/today")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "photo.bpg-q40.bpg",
        "photo.bpg-q40.png",
        "photo.bpg-q40.side-by-side.png",
        "photo.bpg-q40.txt",
        "photo.original.png",
    ]
    with Image.open(folder / "photo.original.png") as original:
        assert original.tobytes() == photo.tobytes()
    data = (folder / "photo.bpg-q40.bpg").read_bytes()
    with Image.open(folder / "photo.bpg-q40.png") as decompressed:
        assert decompressed.tobytes() == codecs.get("bpg").decode(data).tobytes()
    text = (folder / "photo.bpg-q40.txt").read_text()
    assert f"{len(data):,} bytes" in text
    assert "MS-SSIM" in text
    assert f"{len(data):,} bytes" in out
    run("evaluate-image", "photo.png", "-c", "bpg", "-q", "40", "--output", "results/today", "--json")


def test_eval_image_shows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(ImageShow, "show", lambda image, **_: shown.append(image) or True)
    run("evaluate-image", "photo.png", "-c", "jpeg", "--show")
    assert len(shown) == 1
    monkeypatch.setattr(ImageShow, "show", lambda image, **_: False)
    run("evaluate-image", "photo.png", "-c", "jpeg", "--show", code=2)


def test_demo(run: Run, photo: Image.Image) -> None:
    photo.crop((0, 0, 64, 64)).save("small.png")
    out = run("demo", "small.png", "--output", "demo", "--quality", "2", "--alpha", "0")
    for word in ("original", "rnn, quality 2, alpha 0", "jpeg", "webp", "bpg", "demo/side-by-side.png"):
        assert word in out
    assert Path("demo/side-by-side.png").stat().st_size > 1000
    assert Path("demo/small-alpha-0.bhd").read_bytes() == codecs.get("rnn").encode(photo.crop((0, 0, 64, 64)), 2)


def test_photos_come_out_upright(run: Run, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save("turned.jpg", exif=exif)
    run("compress", "turned.jpg", "-c", "webp")
    assert json.loads(run("info", "turned.webp", "--json"))["width"] == photo.height


def test_short_version_and_completion(run: Run) -> None:
    assert run("-V") == run("--version")
    environment = os.environ | {"_BEHOLDER_COMPLETE": "complete_bash", "COMP_WORDS": "beholder comp", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "beholder"]
    assert "compress" in subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()
