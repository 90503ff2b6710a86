"""A sweep over targets: the bytes each codec needs are those of the files that a search finds."""

import csv
import json
from pathlib import Path

import pytest
from helpers.photos import make_photo
from PIL import Image

from beholder import codecs, observers
from beholder.batch.run import Summary, run
from beholder.batch.target_sweep import TABLE, TargetSweep, summarise
from beholder.batch.tasks import Row
from beholder.cli import main
from beholder.errors import BadFileError, NotAvailableError
from beholder.targets import KeepLabel, MaxBytes, find


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    make_photo(64, 48).save("photos/a.png")
    make_photo(48, 64, seed=5).save("photos/b.png")
    return Path("photos")


def test_rows_are_what_searches_find(photos: Path) -> None:
    task = TargetSweep(("jpeg",), (0.0,), (KeepLabel("squeezenet"),), ("squeezenet", "efficientnet_lite0"))
    task.check()
    rows = [task.run(photos / name, Path(name), Path("out"), False) for name in ("a.png", "b.png")]
    (need,) = summarise(Summary(tuple(rows), 0, None), Path("out"))
    images = [make_photo(64, 48), make_photo(48, 64, seed=5)]
    found = [find(codecs.get("jpeg"), image, KeepLabel("squeezenet")) for image in images]
    assert need.bytes == sum(len(file.data) for file in found) / 2
    assert need.reached == sum(file.reached for file in found) / 2
    other = observers.get("efficientnet_lite0")
    same = [
        other.classify(image, 1)[0].index == other.classify(codecs.get("jpeg").decode(file.data), 1)[0].index
        for image, file in zip(images, found, strict=True)
    ]
    assert need.unasked == need.agrees["efficientnet_lite0"] == sum(same) / 2


def test_command(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--data", "photos", "--codecs", "jpeg,webp", "-o", "out", "--jobs", "1"]
    asked = [*command, "--target", "keep-label", "--classifiers", "squeezenet"]
    assert main(asked) == 0
    assert "keep-label squeezenet" in capsys.readouterr().out
    with Path("out", TABLE).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["codec"], line["images"]) for line in lines] == [("jpeg", "2"), ("webp", "2")]
    assert all(float(line["bytes"]) > 100 and float(line["tries"]) > 1 for line in lines)
    (photos / "c.png").write_bytes(b"broken")
    assert main(asked) == 2
    assert "go on with --resume, or choose another folder." in capsys.readouterr().err
    assert main([*asked, "--resume"]) == 0
    assert "1 failed" in capsys.readouterr().out
    for more, sentence in (
        (["--target", "nobody"], "keep-label"),
        (["--target", "psnr=high"], "no number"),
        (["--target", "keep-label", "--classifiers", "none"], "name one or more"),
        (["--target", "bpp=1", "--gallery", "3"], "no effect"),
    ):
        assert main([*command[:-4], "-o", "new", *more]) == 2
        assert sentence in capsys.readouterr().err
    assert not Path("new").exists()
    assert main([*command[:-4], "-o", "new", "--target", "bpp=1", "--max-pixels", "100"]) == 2
    assert "above the limit of 100 pixels" in Path("new", "errors.csv").read_text()


def test_no_image_is_examined(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="Not one image"):
        summarise(Summary((Row("a", error="broken"),), 0, None), tmp_path)
    task = TargetSweep(("jpeg",), (0.0,), (MaxBytes(10),), ("vgg16",))
    if observers.get("vgg16").unavailable() is not None:
        with pytest.raises(NotAvailableError, match="prepare vgg16"):
            task.check()
    assert run(task, [], tmp_path / "out", jobs=1).rows == ()


def test_targets_share_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each quality is encoded once, whatever targets ask for it, and each target finds what it finds alone."""
    targets = (KeepLabel("squeezenet"), KeepLabel("efficientnet_lite0"), MaxBytes(1500))
    image = make_photo(64, 48)
    alone = [find(codecs.get("jpeg"), image, target) for target in targets]
    made: list[float] = []
    encode = type(codecs.get("jpeg")).encode_between

    def counted(codec: codecs.Codec, image: Image.Image, quality: float, *, alpha: float = 0.0) -> bytes:
        made.append(quality)
        return encode(codec, image, quality, alpha=alpha)

    monkeypatch.setattr(type(codecs.get("jpeg")), "encode_between", counted)
    TargetSweep(("jpeg",), (0.0,), targets, ("squeezenet",)).run(photos / "a.png", Path("a"), Path("out"), False)
    assert len(made) == len(set(made)) < sum(found.tries for found in alone)
    records = json.loads(Path("out", "a.json").read_text())
    assert [(r["bytes"], r["tries"]) for r in records] == [(len(found.data), found.tries) for found in alone]
