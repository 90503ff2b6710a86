"""A comparison: equal sizes, true figures, crops where pictures differ, a sheet and a page."""

import html.parser
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import make_photo
from helpers.toy_codec import ToyCodec, grey
from PIL import Image

from beholder import codecs, observers
from beholder.cli import main
from beholder.errors import BadImageError, BadOptionError
from beholder.evaluation.compare import Comparison, compare, contestants, page, sheet
from beholder.evaluation.compare.crops import busiest
from beholder.evaluation.compare.equal_size import nearest
from beholder.evaluation.compare.measure import Contestant
from beholder.metrics import psnr

NAMES = ("jpeg", "webp", "bpg", "rnn")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(make_photo(160, 120), 1.0, contestants(NAMES, [0.0]), [observers.get("squeezenet")])


@pytest.mark.parametrize("higher", [True, False])
def test_nearest_size_of_a_coarse_codec(higher: bool) -> None:
    sizes = [10, 20, 40, 80, 160]
    codec = ToyCodec(sizes if higher else sizes[::-1], [1] * 5, higher)
    for size, wanted in ((1, 10), (14, 10), (16, 20), (61, 80), (59, 40), (999, 160), (60, 80)):
        assert len(nearest(codec, grey(), size).data) == wanted


@pytest.mark.parametrize("name", ["jpeg", "webp", "bpg", "jpeg2000"])
def test_nearest_size_within_two_per_cent(name: str) -> None:
    photo, codec = make_photo(128, 96), codecs.get(name)
    for size in (1200, 1900):
        found = nearest(codec, photo, size)
        assert abs(len(found.data) - size) <= 0.02 * size
        assert found.data == codec.encode_between(photo, found.quality)


def test_all_files_are_equal_in_size(comparison: Comparison) -> None:
    assert [entry.codec for entry in comparison.entries] == list(NAMES)
    sizes = [len(entry.data) for entry in comparison.entries]
    assert comparison.unequal == []
    assert all(abs(size - comparison.size) <= 0.02 * comparison.size for size in sizes)
    assert abs(comparison.wanted - 1.0 * 160 * 120 / 8) < 1


@pytest.mark.parametrize(
    ("coarse", "common"),
    [
        (((970, 1300),), 970),
        (((970, 1300), (985, 1300)), 970),
        (((970, 1300), (1005, 1300)), 987),  # no size of a file suits both, the middle does
    ],
)
def test_coarse_codecs_meet(coarse: tuple[tuple[int, ...], ...], common: int) -> None:
    among = [Contestant(ToyCodec(sizes, [1] * len(sizes)), 0.0) for sizes in coarse]
    found = compare(grey(), 8 * 1000 / 64, among)
    assert found.size == common
    assert found.unequal == []


def test_figures_are_those_of_the_files(comparison: Comparison) -> None:
    photo = make_photo(160, 120)
    observer = observers.get("squeezenet")
    for entry in comparison.entries:
        decoded = codecs.get(entry.codec).decode(entry.data)
        assert entry.picture.tobytes() == decoded.tobytes()
        assert entry.psnr == psnr(photo, decoded)
        assert entry.bpp == 8 * len(entry.data) / (160 * 120)
        seen = observer.classify(decoded, 1)[0]
        verdict = entry.verdicts[0]
        assert (verdict.label, verdict.agrees) == (seen.label, seen.label == comparison.verdicts[0].label)


def test_crops_are_where_pictures_differ() -> None:
    first = Image.new("RGB", (200, 100), "gray")
    second, third = first.copy(), first.copy()
    second.paste("white", (150, 60, 170, 80))
    third.paste((128, 128, 160), (10, 10, 20, 20))
    boxes = busiest([first, second, third], 40, 2)
    left, top, right, bottom = boxes[0]
    assert max(left - 150, 170 - right, top - 60, 80 - bottom) <= 0
    assert max(boxes[1][0] - 10, 20 - boxes[1][2]) <= 0
    assert busiest([first], 64, 9)[0][2:] != (0, 0)
    assert busiest([Image.new("RGB", (5, 300))], 64, 3)[0] == (0, 0, 5, 64)


def test_sheet_holds_every_picture(comparison: Comparison) -> None:
    drawn = sheet.draw(comparison, "photo.png")
    assert drawn.mode == "RGB"
    pixels = np.asarray(drawn)
    boxes = busiest([entry.picture for entry in comparison.entries], sheet.CROP, sheet.CROPS)
    for picture in (comparison.original, *(entry.picture for entry in comparison.entries)):
        crop = picture.crop(boxes[0])
        large = np.asarray(crop.resize((2 * crop.width, 2 * crop.height), Image.Resampling.NEAREST))
        height, width = large.shape[:2]
        places = [
            (y, x)
            for y in range(60, 160)
            for x in range(0, pixels.shape[1] - width)
            if (pixels[y, x] == large[0, 0]).all() and (pixels[y : y + height, x : x + width] == large).all()
        ]
        assert len(places) == 1


def test_page_needs_nothing_else_and_escapes(comparison: Comparison) -> None:
    text = page.render(comparison, '<b>"photo" & </script>.png')
    assert "<b>" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert text.count("data:image/webp;base64,") == len(NAMES) + 2
    tags: list[str] = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(text)
    assert tags.count("tr") == len(NAMES) + 2
    assert tags.count("option") == 2 * len(NAMES) + 1 + 4


def test_what_is_impossible_is_refused(photo: Image.Image) -> None:
    with pytest.raises(BadOptionError, match="above 0"):
        compare(photo, 0, contestants(["jpeg"]))
    strip = Image.new("RGB", (17_000, 1))
    found = compare(strip, 8.0, contestants(["jpeg", "webp"]))
    assert [title for title, _ in found.left_out] == ["webp"]
    with pytest.raises(BadImageError):
        compare(strip, 8.0, contestants(["webp"]))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_photo(96, 80).save("photo.png")
    command: Callable[..., int] = lambda *more: main(["compare", "photo.png", "--codecs", "jpeg,webp", *more])  # noqa: E731
    assert command("--bpp", "1", "--classifiers", "squeezenet", "--html", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [entry["codec"] for entry in facts["codecs"]] == ["jpeg", "webp"]
    assert facts["written"] == ["photo-compare.png", "photo-compare.html"]
    assert Path("photo-compare.html").read_text().startswith("<!doctype html>")
    assert command("--bpp", "1") == 2
    assert "--force" in capsys.readouterr().err
    assert command("--bpp", "1", "--classifiers", "none", "-o", "sheet.png") == 0
    out = capsys.readouterr().out
    assert "sheet.png" in out
    assert "MS-SSIM" in out
    assert command("--classifiers", "nobody", "-o", "b.png") == 2
