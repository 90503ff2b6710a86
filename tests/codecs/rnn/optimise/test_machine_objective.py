"""`--effort` for machines, whose files any decoder reads; for humans see test_ms_ssim_objective."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder import api
from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.optimise import classifier, loop, views
from beholder.codecs.rnn.optimise.machine import MachineObjective
from beholder.errors import BadFileError
from beholder.observers import get


@pytest.fixture(scope="module")
def plain() -> Rnn:
    return Rnn()


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


def test_one_round_without_effort_serves_the_classifier(
    plain: Rnn, big_photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = get("efficientnet_lite0")
    after = plain.encode(big_photo, 2, alpha=1)
    monkeypatch.setattr(loop, "UNDIVIDED", 0)
    before = plain.encode(big_photo, 2, alpha=1)
    assert abs(len(after) / len(before) - 1) < 0.05
    pictures = [big_photo, plain.decode(before), plain.decode(after)]
    wanted, *seen = observer.predict([observer.view(picture) for picture in pictures])
    divergence = [float((wanted * (np.log(wanted + 1e-6) - np.log(p + 1e-6))).sum()) for p in seen]
    assert divergence[1] < 0.9 * divergence[0]


def test_prefixes_repetition_and_many_qualities(plain: Rnn, photo: Image.Image) -> None:
    photo = photo.crop((0, 0, 80, 64))
    codec = Rnn(effort=1)
    data = codec.encode(photo, 3, alpha=0.5)
    assert codec.encode(photo, 3, alpha=0.5) == data
    assert codec.encode_many(photo, [2, 3], alpha=0.5) == [codec.encode(photo, 2, alpha=0.5), data]
    for quality in (1, 3):
        assert plain.decode(data, quality).size == photo.size


@pytest.mark.parametrize("size", [(1, 1), (70, 17), (300, 70)])
def test_any_size(plain: Rnn, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = Rnn(effort=1).encode(Image.fromarray(noise), 1, alpha=1)
    assert plain.decode(data).size == size


def test_the_gradient_is_the_change_of_the_distortion(plain: Rnn, big_photo: Image.Image) -> None:
    """Of codes that move a little against it, on average: pictures are rounded to whole numbers."""
    model, t = plain.model, 3
    pixels = np.ascontiguousarray(np.asarray(big_photo)[:128, :160].transpose(2, 0, 1))
    for alpha in (1.0, 0.3):
        objective = MachineObjective(model, classifier.load(classifier.DEFAULT), alpha, t, pixels)
        gains = [model.steps.gain(alpha, i, t + 1) for i in range(t + 1)]
        codes = np.trunc(model.analyse(pixels, alpha) * gains[-1])[None]
        latents = [np.trunc(codes * gain / np.where(gains[-1] > 0, gains[-1], 1)) for gain in gains]
        gradients = [objective.gradient(codes, latents) for _ in range(8)]
        gradient = np.mean(gradients, 0) * (gains[-1] > 0)
        assert not gradient[:, 0].any()
        step = 0.3 * gradient / np.abs(gradient).max()
        ends = [objective.distortion([*latents[:-1], codes + sign * step])[0] for sign in (1, -1)]
        assert ends[0] > ends[1]


def test_no_torch_is_needed(tmp_path: Path, photo: Image.Image) -> None:
    photo = photo.crop((0, 0, 80, 64))
    photo.save(tmp_path / "photo.png")
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'keras']))\n"
        "from beholder.api import compress\n"
        f"data = compress({str(tmp_path / 'photo.png')!r}, alpha=1, effort=1, quality=2)\n"
        f"open({str(tmp_path / 'photo.bhd')!r}, 'wb').write(data)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "photo.bhd").read_bytes() == api.compress(photo, alpha=1, effort=1, quality=2)


def test_damaged_gradient_graphs_are_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "toy.gradient.onnx"
    file.write_bytes(b"noise")
    with pytest.raises(BadFileError, match="cannot be opened"):
        classifier.Classifier(file)
    with pytest.raises(BadFileError, match="no gradient graph"):
        classifier.Classifier(classifier.DEFAULT.with_name("efficientnet_lite0.onnx"))


def test_views_of_any_number_have_one_gradient() -> None:
    rng = np.random.default_rng(0)
    decoded, original = rng.integers(0, 256, (2, 3, 80, 96), dtype=np.uint8)
    one = classifier.load(classifier.DEFAULT)
    shown = views.varied(80, 96, rng)
    apart = [one.gradient([view], decoded, original) for view in shown]
    np.testing.assert_allclose(one.gradient(shown, decoded, original), np.mean(apart, 0), atol=1e-6)
