"""The search finds what looking at every quality would find, in fewer tries, and does not trust order."""

import math

import pytest
from helpers.toy_codec import ToyCodec, grey
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder import codecs
from beholder.codecs.rnn import Rnn
from beholder.metrics import ms_ssim, psnr
from beholder.targets import Bpp, MaxBytes, MsSsim, Psnr, find


def psnr_of(error: int) -> float:
    return math.inf if error == 0 else 20 * math.log10(255 / error)


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.lists(st.integers(1, 90), min_size=n, max_size=n), st.just(n))),
    st.booleans(),
    st.integers(1, 100),
)
def test_smallest_of_an_ordered_scale(case: tuple[list[int], int], higher: bool, error: int) -> None:
    errors, count = sorted(case[0], reverse=True), case[1]
    sizes = [10 + 3 * k for k in range(count)]
    if not higher:
        errors, sizes = errors[::-1], sizes[::-1]
    codec = ToyCodec(sizes, errors, higher)
    found = find(codec, grey(), Psnr(psnr_of(error) - 1e-9))
    wanted = [sizes[k] for k in range(count) if errors[k] <= error]
    assert found.reached == bool(wanted)
    if wanted:
        assert len(found.data) == min(wanted)
    else:
        assert errors[found.quality] == min(errors)
    assert found.tries == len(codec.encoded) == len(set(codec.encoded))


@given(st.lists(st.integers(2, 500), min_size=1, max_size=60), st.integers(1, 520), st.booleans())
def test_best_below_a_size(sizes: list[int], limit: int, higher: bool) -> None:
    sizes = sorted(sizes, reverse=not higher)
    found = find(ToyCodec(sizes, [1] * len(sizes), higher), grey(), MaxBytes(limit))
    fitting = [k for k, size in enumerate(sizes) if size <= limit]
    assert found.reached == bool(fitting)
    if fitting:
        assert found.quality == (max(fitting) if higher else min(fitting))
    else:
        assert len(found.data) == min(sizes)


def test_few_tries_on_a_long_scale() -> None:
    sizes, errors = list(range(10, 110)), list(range(100, 0, -1))
    assert find(ToyCodec(sizes, errors), grey(), Psnr(20.0)).tries <= 12
    assert find(ToyCodec(sizes, errors), grey(), MaxBytes(50)).tries <= 10


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_an_impossible_metric_takes_few_tries(steps: int) -> None:
    codec = ToyCodec(list(range(10, 10 + steps)), [1 + (steps - k) * 90 // steps for k in range(steps)])
    found = find(codec, grey(), Psnr(90.0))
    assert not found.reached
    assert found.quality == steps - 1
    assert found.tries <= 6


def test_an_impossible_metric_out_of_order_is_looked_for_everywhere() -> None:
    errors = [9] * 100
    errors[69], errors[99] = 2, 20
    found = find(ToyCodec(list(range(10, 110)), errors), grey(), Psnr(90.0))
    assert (found.reached, found.quality) == (False, 69)
    assert found.tries <= 20


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.integers(1, 100), st.integers(5, 120))
def test_best_of_so_many_bytes(errors: list[int], error: int, most: int) -> None:
    errors = sorted(errors, reverse=True)
    sizes = [10 + 2 * k for k in range(len(errors))]
    found = find(ToyCodec(sizes, errors), grey(), Psnr(psnr_of(error) - 1e-9), most=most)
    useful = [k for k, size in enumerate(sizes) if size <= most]
    good = [k for k in useful if errors[k] <= error]
    if good:
        assert found.quality == min(good)
    else:
        assert errors[found.quality] == min(errors[k] for k in useful or [0])
        assert found.reached is (errors[found.quality] <= error)


def test_rnn_tries_no_file_twice(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, made = codecs.get("rnn"), []
    encode = type(codec).encode_between
    monkeypatch.setattr(type(codec), "encode_between", lambda *a, **k: made.append(encode(*a, **k)) or made[-1])
    for target in (MsSsim(0.95), Bpp(0.5), Psnr(26)):
        made.clear()
        find(codec, photo, target)
        assert len(set(made)) == len(made) > 3


def test_a_success_below_failures_is_found() -> None:
    errors = [9] * 40
    for good in (12, 16, 18, *range(20, 40)):
        errors[good] = 1
    found = find(ToyCodec(list(range(10, 50)), errors), grey(), Psnr(psnr_of(1) - 1e-9))
    assert found.quality == 16  # bisection ends at 20; three failures below 16 end the search, single ones do not
    assert found.reached


def test_a_best_quality_that_fails_is_not_the_end() -> None:
    errors = [9] * 30 + [1] * 20 + [9] * 10
    found = find(ToyCodec(list(range(10, 70)), errors), grey(), Psnr(psnr_of(1) - 1e-9))
    assert found.reached
    assert found.quality == 30


def test_sizes_out_of_order() -> None:
    sizes = [10, 20, 30, 60, 55, 50, 70, 80]
    errors = [9, 9, 9, 1, 1, 1, 1, 1]
    # The first file above the limit does not hide a better one below it.
    assert find(ToyCodec(sizes, errors), grey(), MaxBytes(57)).quality == 5


@pytest.mark.parametrize("name", ["jpeg", "webp", "bpg", "rnn"])
def test_real_codecs_keep_a_rate_and_no_quality_more_does(name: str, photo: Image.Image) -> None:
    codec = codecs.get(name)
    found = find(codec, photo, Bpp(0.8))
    assert found.data == codec.encode_between(photo, found.quality)
    assert found.bpp == 8 * len(found.data) / (photo.width * photo.height) <= 0.8
    better = math.floor(found.quality) + 1 if codec.scale.higher_is_better else found.quality - 1
    assert 8 * len(codec.encode(photo, better)) / (photo.width * photo.height) > 0.8


def test_rnn_judges_prefixes_of_one_encoding(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codecs.get("rnn")
    calls = []
    encode = type(codec)._encode
    monkeypatch.setattr(type(codec), "_encode", lambda self, *a: calls.append(a) or encode(self, *a))
    found = find(codec, photo, MsSsim(0.95), alpha=0.4)
    whole = math.ceil(found.quality)
    assert len(calls) == 1
    assert found.score.value >= 0.95
    assert found.data == codec.encode_between(photo, found.quality, alpha=0.4)
    assert len(found.data) <= len(codec.encode(photo, whole, alpha=0.4))
    assert ms_ssim(photo, codec.decode(codec.encode(photo, whole - 1, alpha=0.4))) < 0.95


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize(("rate", "value"), [(0.12, 0.7), (0.8, 0.95), (2.5, 0.98)])
def test_rnn_comes_close_to_any_size_and_value(photo: Image.Image, alpha: float, rate: float, value: float) -> None:
    codec = codecs.get("rnn")
    sized = find(codec, photo, Bpp(rate), alpha=alpha)
    assert 0.98 * rate <= sized.bpp <= rate
    like = find(codec, photo, MsSsim(value), alpha=alpha)
    assert like.score.value == ms_ssim(photo, codec.decode(like.data)) >= value
    assert 1 - like.score.value >= 0.96 * (1 - value)  # a round for a machine makes MS-SSIM uneven
    assert max(sized.tries, like.tries) <= 11


def test_rnn_optimises_files_between_qualities(photo: Image.Image) -> None:
    codec = Rnn(effort=1)
    found = find(codec, photo.crop((0, 0, 80, 80)), Bpp(1.0))
    assert 0.97 <= found.bpp <= 1
    assert codec.describe(found.data)["step_scale"] != 0


def test_the_score_is_that_of_the_file(photo: Image.Image) -> None:
    found = find(codecs.get("webp"), photo, Psnr(30))
    assert found.score.value == psnr(photo, codecs.get("webp").decode(found.data)) >= 30
    below = codecs.get("webp").encode(photo, found.quality - 1)
    assert len(below) >= len(found.data) or psnr(photo, codecs.get("webp").decode(below)) < 30
