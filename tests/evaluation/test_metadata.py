"""Rates without and with metadata: comparable, and told apart."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from helpers.sweeps import OBSERVER, prepare, rows_of
from PIL import Image, ImageCms

import beholder
from beholder import codecs
from beholder.cli import main
from beholder.errors import BadOptionError
from beholder.evaluation import metadata

CARRIERS = ("rnn", "jpeg", "webp", "bpg", "avif")
BYTES = 3000


@pytest.fixture(scope="module")
def plain(big_photo: Image.Image) -> bytes:
    return _file(big_photo, {})


@pytest.fixture(scope="module")
def laden(big_photo: Image.Image) -> bytes:
    """The same pixels with some 3000 bytes of EXIF data and an sRGB profile."""
    exif = Image.Exif()
    exif[0x010E] = "description " * (BYTES // 12)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _file(big_photo, {"exif": exif.tobytes(), "icc_profile": profile})


def _file(image: Image.Image, extra: dict[str, bytes]) -> bytes:
    out = BytesIO()
    image.save(out, "PNG", **extra)
    return out.getvalue()


@pytest.mark.parametrize("name", ["rnn", "jpeg", "webp", "jpeg2000", "avif"])
def test_metadata_do_not_change_a_rate(name: str, plain: bytes, laden: bytes) -> None:
    bare, full = (beholder.evaluate_image(data, name, classifier=OBSERVER, topk=1) for data in (plain, laden))
    assert full.bytes == pytest.approx(bare.bytes, rel=0.01)  # a profile's conversion may move a pixel by one
    assert (full.bytes, full.bpp) == (len(full.data), pytest.approx(8 * len(full.data) / (208 * 176)))
    assert (bare.metadata_bytes, bare.metadata_left_out) == (0, 0)
    assert (full.metadata_bytes, full.pixel_bytes) == (0, full.bytes)
    assert full.metadata_left_out > BYTES
    assert not full.decompressed.info.get("exif")


@pytest.mark.parametrize("name", CARRIERS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_the_bytes_of_metadata_are_those_that_a_file_grows_by(name: str, mode: str, laden: bytes) -> None:
    codec = codecs.get(name)
    image = Image.open(BytesIO(laden))
    image.load()
    info = {"exif": image.info["exif"]}
    image = image.convert("RGB").convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info = {}
    bare = len(codec.encode(image, codec.scale.lowest))
    assert metadata.file_bytes(codec, image) == 0
    image.info = info
    full = len(codec.encode(image, codec.scale.lowest))
    assert metadata.file_bytes(codec, image) == pytest.approx(full - bare, abs=2)
    assert full - bare > BYTES


def test_kept_metadata_are_counted_and_told_apart(
    tmp_path: Path, laden: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(laden)
    facts = {}
    for options in ((), ("--keep-metadata",)):
        assert main(["evaluate-image", str(photo), "-c", "jpeg", "--json", *options]) == 0
        facts[options] = json.loads(capsys.readouterr().out)
    without, kept = facts.values()
    assert kept["bytes"] > without["bytes"] + BYTES
    assert kept["metadata_bytes"] > BYTES
    assert kept["pixel_bytes"] + kept["metadata_bytes"] == kept["bytes"]
    assert kept["pixel_bytes"] == pytest.approx(without["bytes"], rel=0.01)
    assert kept["bpp"] == pytest.approx(8 * kept["bytes"] / (208 * 176))
    assert main(["evaluate-image", str(photo), "-c", "jpeg"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"pixels {without['bytes']:,} bytes metadata 0 bytes (" in said
    assert "left out: --keep-metadata counts them)" in said


def test_compress_says_which_bytes_are_metadata(
    tmp_path: Path, laden: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "photo.jpg"
    photo.write_bytes(laden)
    assert main(["compress", str(photo), "-c", "jpeg", "-o", str(out)]) == 0
    kept = out.stat().st_size
    said = " ".join(capsys.readouterr().out.split())
    assert f"{kept:,} bytes" in said
    apart = int(said.partition(" bytes of it metadata")[0].rpartition(" ")[2].replace(",", ""))
    assert main(["compress", str(photo), "-c", "jpeg", "-o", str(out), "--strip", "--force"]) == 0
    assert "metadata" not in capsys.readouterr().out
    assert kept - out.stat().st_size == pytest.approx(apart, rel=0.02)


def test_the_paper_s_squares_have_no_metadata_to_keep(tmp_path: Path, laden: bytes) -> None:
    with pytest.raises(BadOptionError, match="have no metadata"):
        beholder.evaluate_image(laden, "jpeg", classifier=OBSERVER, protocol="paper", keep_metadata=True)
    (tmp_path / "a.png").write_bytes(laden)
    with pytest.raises(BadOptionError, match="have no metadata"):
        prepare(tmp_path, protocol="paper", keep_metadata=True)


def test_sweeps_strip_metadata_from_every_codec_alike(tmp_path: Path, plain: bytes, laden: bytes) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "laden.png").write_bytes(laden)
    (photos / "plain.png").write_bytes(plain)
    names = ["jpeg", "webp", "jpeg2000"]
    options = {"codecs": names, "qualities": {name: [30] for name in names}}
    rows = rows_of(prepare(photos, **options), tmp_path / "out")
    for name in names:
        full, bare = (row for row in rows if row["codec"] == name)
        assert full["bytes"] == pytest.approx(bare["bytes"], rel=0.01)
        assert full["metadata_bytes"] == bare["metadata_bytes"] == 0
        assert (full["file"], bare["file"]) == ("laden.png", "plain.png")
    kept = rows_of(prepare(photos, **options, keep_metadata=True), tmp_path / "kept")
    carried = {row["codec"]: row["metadata_bytes"] for row in kept if row["file"] == "laden.png"}
    assert min(carried["jpeg"], carried["webp"]) > BYTES
    for row in kept:
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / (208 * 176))
        assert row["metadata_bytes"] < row["bytes"]
