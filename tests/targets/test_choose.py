"""Of several codecs the one with the smallest file wins, or the best picture where the size is given."""

import pytest
from PIL import Image

import beholder
from beholder import codecs
from beholder.errors import BadImageError
from beholder.metrics import ms_ssim
from beholder.pictures.comparable import comparable
from beholder.targets import Bpp, MaxBytes, MsSsim, Psnr, choose, find

NAMES = ("rnn", "jpeg", "webp")


def test_the_smallest_file_wins_a_quality(photo: Image.Image) -> None:
    choice = choose([codecs.get(name) for name in NAMES], photo, MsSsim(0.95))
    alone = [find(codecs.get(name), photo, MsSsim(0.95)) for name in NAMES]
    assert choice.best == min(alone, key=lambda found: len(found.data))
    assert sorted(found.codec for found in (choice.best, *choice.others)) == sorted(NAMES)
    # No codec is asked for more bytes than the best of those before it.
    assert all(len(found.data) <= len(alone[0].data) for found in (choice.best, *choice.others))


def test_a_later_codec_may_be_smaller(photo: Image.Image) -> None:
    choice = choose([codecs.get(name) for name in ("jpeg", "webp", "rnn")], photo, MsSsim(0.95))
    assert choice.best.codec == "rnn"
    assert choice.best.data == find(codecs.get("rnn"), photo, MsSsim(0.95)).data


def test_a_codec_that_takes_alpha_gives_it_an_effect(photo: Image.Image, recwarn: pytest.WarningsRecorder) -> None:
    codecs.tell_useless([codecs.get(name) for name in NAMES], 1.0)
    assert not recwarn.list
    codecs.tell_useless([codecs.get("jpeg"), codecs.get("webp")], 1.0)
    assert [str(one.message)[:27] for one in recwarn.list] == [
        "The codec jpeg takes no alp",
        "The codec webp takes no alp",
    ]


def test_the_best_picture_wins_a_rate(photo: Image.Image) -> None:
    choice = choose([codecs.get(name) for name in NAMES], photo, Bpp(0.8))
    values = {
        found.codec: ms_ssim(*comparable(photo, codecs.get(found.codec).decode(found.data)))
        for found in (choice.best, *choice.others)
    }
    assert values[choice.best.codec] == max(values.values())


def test_one_that_reaches_the_target_beats_smaller_ones_that_do_not(photo: Image.Image) -> None:
    choice = choose([codecs.get(name) for name in ("webp", "rnn")], photo, Psnr(40))
    other = find(codecs.get("webp"), photo, Psnr(40))
    assert not other.reached
    assert len(other.data) < len(choice.best.data)
    assert (choice.best.codec, choice.best.reached) == ("rnn", True)


def test_the_nearest_wins_where_nobody_reaches_it(photo: Image.Image) -> None:
    choice = choose([codecs.get(name) for name in NAMES], photo, MaxBytes(1))
    assert not choice.best.reached
    assert len(choice.best.data) == min(len(found.data) for found in (choice.best, *choice.others))


def test_codecs_that_cannot_hold_the_image_are_left_out() -> None:
    strip = Image.new("RGB", (17_000, 2), "gray")  # sides of WebP end at 16,383
    choice = choose([codecs.get(name) for name in ("webp", "jpeg")], strip, MaxBytes(100_000))
    assert choice.best.codec == "jpeg"
    assert [name for name, _ in choice.left_out] == ["webp"]
    with pytest.raises(BadImageError, match="webp"):
        choose([codecs.get("webp")], strip, MaxBytes(100_000))


def test_auto_in_python(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "names", lambda: list(NAMES))
    data = beholder.compress(photo, "auto", target=beholder.MsSsim(0.95))
    assert len(data) == min(len(find(codecs.get(name), photo, MsSsim(0.95)).data) for name in NAMES)
