"""`beholder compress` with a target: what it writes, says and exits with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from beholder import codecs
from beholder.cli import main

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    photo.save(tmp_path / "photo.png")
    photo.save(tmp_path / "photo.jpg", quality=97)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert main(arguments) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--bpp", "0.8"), "at most 0.8 bpp"),
        (("--max-bytes", "2000"), "at most 2,000 bytes"),
        (("--ms-ssim", "0.95"), "MS-SSIM 0.9"),
        (("--psnr", "28"), "PSNR 2"),
        (("--keep-label", "squeezenet"), "kept at"),
        (("--keep-label", "squeezenet", "--confidence", "50%"), "kept at"),
    ],
)
def test_each_target(run: Run, options: tuple[str, ...], told: str) -> None:
    out, _ = run("compress", "photo.png", "-c", "webp", *options)
    assert "reached: " in out
    assert told in out
    assert " tries" in out
    facts = json.loads(run("compress", "photo.png", "-c", "webp", "--force", "--json", *options)[0])
    assert facts["reached"] is True
    assert facts["bytes"] == Path("photo.webp").stat().st_size
    assert facts["tries"] > 1
    assert facts["target"] == options[0].removeprefix("--")
    assert Path("photo.webp").read_bytes() == codecs.get("webp").encode(Image.open("photo.png"), facts["quality"])


def test_an_impossible_target_writes_the_nearest_and_exits_with_1(run: Run) -> None:
    out, _ = run("compress", "photo.png", "--psnr", "90", code=1)
    assert "NOT reached" in out
    assert Path("photo.bhd").read_bytes() == codecs.get("rnn").encode_between(Image.open("photo.png"), 13)
    facts = json.loads(run("compress", "photo.png", "--max-bytes", "9", "-f", "--json", code=1)[0])
    assert facts["reached"] is False
    assert facts["bytes"] == len(codecs.get("rnn").encode_between(Image.open("photo.png"), 0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--bpp", "1", "--psnr", "30"), "--bpp and --psnr"),
        (("--bpp", "1", "-q", "3"), "--bpp and --quality"),
        (("--confidence", "0.5"), "--keep-label"),
        (("--keep-label", "squeezenet", "--confidence", "high"), "cannot be read"),
        (("--keep-label", "nobody"), "no classifier"),
        (("--bpp", "0"), "not possible"),
        (("-c", "auto"), "add one"),
        (("-c", "auto", "--bpp", "1", "--alpha", "2"), "outside [0, 1]"),
    ],
)
def test_options_that_contradict_are_refused(run: Run, options: tuple[str, ...], sentence: str) -> None:
    _, err = run("compress", "photo.png", *options, code=2)
    assert sentence in err
    assert not Path("photo.bhd").exists()


def test_auto_says_which_codec_and_never_overwrites_the_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "names", lambda: ["jpeg"])
    before = Path("photo.jpg").read_bytes()
    out, _ = run("compress", "photo.jpg", "-c", "auto", "--psnr", "30")
    assert out.startswith("photo-compressed.jpg: ")
    assert Path("photo.jpg").read_bytes() == before
    monkeypatch.setattr(codecs, "names", lambda: ["jpeg", "webp"])
    out, _ = run("compress", "photo.png", "-c", "auto", "--ms-ssim", "0.9", "-o", "small.png")
    assert "the smallest of 2 codecs" in out
    written = [path for path in (Path("small.webp"), Path("small.jpg")) if path.exists()]
    assert len(written) == 1
    assert out.startswith(f"{written[0]}: ")
    facts = json.loads(run("compress", "photo.png", "-c", "auto", "--ms-ssim", "0.9", "-o", "b.png", "--json")[0])
    assert {facts["codec"], *(other["codec"] for other in facts["others"])} == {"jpeg", "webp"}
    assert all(other["bytes"] >= facts["bytes"] for other in facts["others"])
