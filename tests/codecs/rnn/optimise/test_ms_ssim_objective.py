"""`--effort` for humans: MS-SSIM's gradient, the entropy model's prices and the search, all without torch."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

from beholder import api, cli
from beholder.codecs.rnn import Rnn, encoder
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS, lattice
from beholder.codecs.rnn.optimise import loop, sparse_ms_ssim
from beholder.codecs.rnn.optimise.human import SCHEDULES, HumanObjective
from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion
from beholder.codecs.rnn.optimise.objective import Objective
from beholder.codecs.rnn.optimise.sparse_ms_ssim import SparseMsSsim
from beholder.errors import BadOptionError
from beholder.metrics import ms_ssim, similarity


@pytest.fixture(scope="module")
def plain() -> Rnn:
    return Rnn()


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A random walk and a noisy copy, (3, height, width) uint8."""
    rng = np.random.default_rng(height)
    walk = 128 + np.cumsum(rng.normal(0, 4, (3, height, width)), 2)
    noisy = walk + rng.normal(0, 9, walk.shape)
    return tuple(np.clip(x, 0, 255).astype(np.uint8) for x in (walk, noisy))  # type: ignore[return-value]


@pytest.mark.parametrize("size", [(11, 12), (64, 80), (163, 170), (200, 333)])
def test_the_eyes_distortion_is_that_of_the_metric(size: tuple[int, int]) -> None:
    original, decoded = pair(*size)
    expected = ms_ssim(original.transpose(1, 2, 0), decoded.transpose(1, 2, 0))
    assert MsSsimDistortion(original).distortion(decoded) == pytest.approx(math.log(1 - expected + 1e-4), abs=2e-4)


@pytest.mark.parametrize("size", [(16, 20), (64, 80), (162, 170), (200, 332)])
@pytest.mark.parametrize("strip", [1 << 11, 1 << 20])
def test_the_gradient_of_sparse_windows(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], strip: int) -> None:
    """It is the derivative of what sparse windows see, and close to that of all windows where channels are alike."""
    monkeypatch.setattr(sparse_ms_ssim, "STRIP", strip)
    original, decoded = (np.stack([first, first, second]) for first, second, _ in pair(*size))
    sparse = SparseMsSsim(original)
    gradient = sparse.gradient(decoded)
    whole = MsSsimDistortion(original).gradient(decoded)
    if min(size) >= 64:  # the only scale of smaller pictures is the finest
        assert np.linalg.norm(gradient - whole) < 0.15 * np.linalg.norm(whole)
    few = np.random.default_rng(1).random(decoded.shape) < 0.05
    moves = np.sign(gradient) * few * (decoded > 1) * (decoded < 254)
    ends = [sparse.distortion((decoded + way * moves).astype(np.uint8)) for way in (1, -1)]
    assert ends[0] - ends[1] == pytest.approx(2 * float((gradient * moves).sum()), rel=0.01)


def test_metric_and_distortion_share_one_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    original, decoded = pair(64, 80)

    def both() -> tuple[float, float]:
        metric = ms_ssim(original.transpose(1, 2, 0), decoded.transpose(1, 2, 0))
        return metric, MsSsimDistortion(original).distortion(decoded)

    before = both()
    monkeypatch.setattr(similarity, "C2", 4 * similarity.C2)
    after = both()
    assert after[0] > before[0] + 0.01
    assert after[1] == pytest.approx(math.log(1 - after[0] + 1e-4), abs=2e-4)


@pytest.mark.parametrize("size", [(11, 12), (65, 80), (163, 171)])
def test_the_eyes_gradient_is_the_change_of_its_distortion(size: tuple[int, int]) -> None:
    """Along several directions of steps of one grey level: the mean of both ways, so that curvature cancels."""
    original, decoded = pair(*size)
    decoded = np.clip(decoded, 1, 254)
    eye = MsSsimDistortion(original)
    gradient = eye.gradient(decoded)
    rng = np.random.default_rng(0)
    directions = [rng.integers(-1, 2, decoded.shape) for _ in range(3)]
    # Along the gradient, where it is not lost in rounding errors.
    directions.append(np.sign(gradient) * (np.abs(gradient) > np.median(np.abs(gradient))))
    for direction in directions:
        ends = [eye.distortion((decoded + sign * direction).astype(np.uint8)) for sign in (1, -1)]
        assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=0.1, abs=3e-3)


@pytest.mark.parametrize("strip", [1, 2000, 1 << 20])
def test_strips_do_not_show(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, decoded = pair(97, 130)
    whole = MsSsimDistortion(original)
    monkeypatch.setattr(similarity, "STRIP", strip)
    parts = MsSsimDistortion(original)
    assert parts.distortion(decoded) == pytest.approx(whole.distortion(decoded), abs=1e-4)
    gradient = whole.gradient(decoded)
    np.testing.assert_allclose(parts.gradient(decoded), gradient, atol=2e-4 * float(np.abs(gradient).max()))


def states(model, pixels: np.ndarray, iterations: int) -> list[np.ndarray]:
    latent = model.analyse(pixels, 0.0)
    return [model.steps.quantise(latent, 0.0, t) for t in range(iterations)]


@pytest.mark.parametrize("t", [1, 5])
def test_slopes_of_centroids(plain: Rnn, t: int) -> None:
    """Between whole numbers, in the first cell and beyond, they are what dequantising changes by."""
    rng = np.random.default_rng(t)
    codes = (rng.integers(-4, 4, (plain.model.latent, 5, 6)) + rng.uniform(0.1, 0.9, (5, 6))).astype(np.float32)
    after, before = (plain.model.steps.dequantise(codes + step, 0.0, t, t + 1) for step in (0.05, -0.05))
    slopes = plain.model.steps.dequantise_gradient(codes, 0.0, t, t + 1)
    np.testing.assert_allclose((after - before) / 0.1, slopes, rtol=1e-3, atol=1e-3)


def test_bits_are_those_of_the_file(plain: Rnn, big_photo: Image.Image) -> None:
    model = plain.model
    pixels = np.asarray(big_photo)[: 12 * BLOCK, : 15 * BLOCK].transpose(2, 0, 1)
    latents = encoder.quantised_latents(model, pixels, 0.0, ITERATIONS)
    segments = encoder.encode(model, pixels, 0.0, ITERATIONS)
    for count in (1, 4, ITERATIONS):
        written = 8 * sum(map(len, segments[:count]))
        # Range coders end on whole bytes.
        assert model.entropy.bits(latents[:count]) == pytest.approx(written, rel=0.002, abs=40 * count)


@pytest.mark.parametrize("iteration", [0, 1, 5])
def test_slopes_are_what_moving_one_code_costs(plain: Rnn, big_photo: Image.Image, iteration: int) -> None:
    """Moved for real, one by one: codes that no prediction reads, of the last pass of the last stage."""
    entropy: EntropyModel = plain.model.entropy
    pixels = np.asarray(big_photo)[: 6 * BLOCK, : 6 * BLOCK].transpose(2, 0, 1)
    latents = states(plain.model, pixels, iteration + 1)
    direction = np.where(np.random.default_rng(1).random(latents[0].shape) < 0.5, -1, 1)
    slopes, total = entropy.rate_estimate(latents).rate_gradient(latents, direction), entropy.bits(latents)
    stage = max(entropy.layout.stages_of(iteration))
    passes = entropy.layout.stages[stage].passes
    last = np.argwhere(lattice(6, 6, passes) == passes - 1)
    channels = entropy.layout.stages[stage].channels[::5]
    checked = 0
    for place in [(int(c), *map(int, spot)) for c in channels for spot in last[:6]]:
        if slopes[-1][place] == 0:
            continue
        moved = [latent.copy() for latent in latents]
        moved[-1][place] += direction[place]
        cost = (entropy.bits(moved) - total) * direction[place]
        assert cost == pytest.approx(slopes[-1][place], abs=0.02)
        checked += 1
    assert checked > 5


def test_prices_hold_while_few_codes_move(plain: Rnn, big_photo: Image.Image) -> None:
    """With predictions made for other codes, what moves cost together is known but for a quarter."""
    entropy: EntropyModel = plain.model.entropy
    pixels = np.asarray(big_photo)[: 12 * BLOCK, : 15 * BLOCK].transpose(2, 0, 1)
    latent = plain.model.analyse(pixels, 0.0)
    latents = [plain.model.steps.quantise(latent, 0.0, t) for t in range(4)]
    rate_estimate = entropy.rate_estimate(latents)
    assert rate_estimate.bits(latents) == entropy.bits(latents)
    rng = np.random.default_rng(2)
    latent += 0.1 * (rng.random(latent.shape) < 0.03) * np.sign(latent) * (np.arange(len(latent)) > 0)[:, None, None]
    moved = [plain.model.steps.quantise(latent, 0.0, t) for t in range(4)]
    assert 0.001 < np.mean(moved[-1] != latents[-1]) < 0.05
    exact, told = (bits - entropy.bits(latents) for bits in (entropy.bits(moved), rate_estimate.bits(moved)))
    assert exact > 100
    assert told == pytest.approx(exact, rel=0.25)


def test_the_same_size_looks_better(plain: Rnn, big_photo: Image.Image) -> None:
    before, after = (codec.encode(big_photo, 3) for codec in (plain, Rnn(effort=2)))
    scores = [ms_ssim(big_photo, plain.decode(data)) for data in (before, after)]
    # log(1 - MS-SSIM) falls by nearly 1 for each e-fold of rate: what is gained beyond what the bytes explain.
    gain = math.log((1 - scores[0]) / (1 - scores[1])) - math.log(len(after) / len(before))
    assert gain > 0.1
    assert abs(len(after) / len(before) - 1) < 0.2


def test_prefixes_repetition_and_many_qualities(plain: Rnn, photo: Image.Image) -> None:
    codec = Rnn(effort=1)
    data = codec.encode(photo, 3)
    assert codec.encode(photo, 3) == data
    assert codec.encode_many(photo, [2, 3]) == [codec.encode(photo, 2), data]
    for quality in (1, 3):
        assert plain.decode(data, quality).size == photo.size


def test_the_same_file_whatever_the_number_of_threads(big_photo: Image.Image) -> None:
    """Products of matrices round otherwise on two threads, and a search makes much of little."""
    files = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            files.append(Rnn(effort=1).encode(big_photo, 2))
    assert files[0] == files[1]


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (70, 17), (600, 90)])
def test_any_size(plain: Rnn, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert plain.decode(Rnn(effort=1).encode(Image.fromarray(noise), 1)).size == size


def test_windows_do_not_change_each_others_codes(plain: Rnn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window moves its own latent alone, and the activity stays."""
    model = plain.model
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4 * BLOCK, 9 * BLOCK), dtype=np.uint8)
    latent = model.analyse(pixels, 0.0)
    gains = [model.steps.gain(0.0, t, 2) for t in range(2)]
    monkeypatch.setattr(loop, "WINDOW", 4)
    monkeypatch.setattr(loop, "UNDIVIDED", 4)
    seen = []
    descend = loop.descend

    def watched(objective: Objective, start: np.ndarray, free: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(free)
        found: np.ndarray = descend(objective, start, free, *rest)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[0][:, free[0, 0] == 0], start[0][:, free[0, 0] == 0])
        return found

    monkeypatch.setattr(loop, "descend", watched)
    found = loop.improve(
        lambda area: HumanObjective(model, 1, MsSsimDistortion, area), SCHEDULES[1], pixels, latent.copy(), gains, 0.0
    )
    assert [free.shape for free in seen] == [(1, 1, 4, 8), (1, 1, 4, 9), (1, 1, 4, 5)]
    assert sum(free.sum() for free in seen) == 4 * 9
    np.testing.assert_array_equal(found[0], latent[0])
    assert (found != latent).any()


@pytest.mark.parametrize(
    ("blocks", "largest"), [((48, 48), (48, 48)), ((48, 200), (28, 32)), ((200, 30), (32, 28)), ((70, 60), (32, 32))]
)
def test_windows_of_large_pictures_are_small(
    monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, int], largest: tuple[int, int]
) -> None:
    """Gradients through the picture network take 0.2 MB a block, and a picture of 12 megapixels may take 600 MB."""
    seen = []

    def watched(objective: object, start: np.ndarray, free: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(free[0, 0])
        return start

    monkeypatch.setattr(loop, "descend", watched)
    pixels = np.zeros((3, *(BLOCK * side for side in blocks)), np.uint8)
    loop.improve(lambda area: None, SCHEDULES[1], pixels, np.zeros((2, *blocks), np.float32), [], 0.0)  # type: ignore
    assert sum(free.sum() for free in seen) == blocks[0] * blocks[1]
    assert tuple(max(free.shape[axis] for free in seen) for axis in (0, 1)) == largest


def test_no_torch_is_needed(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from beholder.api import compress\n"
        f"open({str(tmp_path / 'photo.bhd')!r}, 'wb').write(compress({str(tmp_path / 'photo.png')!r}, effort=1))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "photo.bhd").read_bytes() == api.compress(photo, effort=1)


def test_bad_efforts(photo: Image.Image) -> None:
    for effort in (4, -1, True):
        with pytest.raises(BadOptionError, match="effort"):
            Rnn(effort=effort)
    with pytest.raises(BadOptionError, match="only rnn"):
        api.compress(photo, "jpeg", effort=1)


def test_a_search_says_how_far_it_is(
    photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "WINDOW", 4)
    monkeypatch.setattr(loop, "UNDIVIDED", 4)
    small, windows = photo.crop((0, 0, 128, 64)), 2
    codec = Rnn(effort=1)
    told: list[tuple[int, int]] = []
    codec.progress = lambda done, total: told.append((done, total))
    data = codec.encode(small, 1)
    total = windows * SCHEDULES[1].rounds
    assert told == [(done, total) for done in range(1, total + 1)]
    assert data == Rnn(effort=1).encode(small, 1)
    small.save(tmp_path / "photo.png")
    monkeypatch.setattr("beholder.cli.progress._SLOW", 0.0)
    for forced in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", forced)
        assert cli.main(["compress", str(tmp_path / "photo.png"), "--effort=1", "--force"]) == 0
        out, err = capfd.readouterr()
        assert ("Optimising" in err) == bool(forced)
        assert "bpp" in out
