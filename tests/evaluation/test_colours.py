"""Curves that people with any kind of colour blindness can tell apart, by simulation and without any colour."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest

from beholder.evaluation.plots.style import Style, codec_look, styles
from beholder.evaluation.summary.curves import Series

# G. Machado, M. Oliveira, L. Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# IEEE TVCG 2009, severity 1.0: on linear RGB.
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
APART = 15.0  # units of CIELAB; 2.3 are just noticeable side by side
GROUND = 30.0

ALPHAS = [Series("rnn", alpha) for alpha in (0.0, 0.5, 1.0)]
CODECS = [Series(name) for name in ("jpeg", "webp", "bpg", "avif", "jpeg2000", "jxl", "heic")]
SETS = {
    "all": [*ALPHAS, *CODECS],
    "default": [*ALPHAS, *CODECS[:3]],
    "one alpha": [ALPHAS[0], *CODECS[:3]],
    "some": [CODECS[0], CODECS[4], CODECS[6]],
    "many alphas": [Series("rnn", alpha / 4) for alpha in range(5)] + CODECS[:2],
    "others": [Series("mine", 0.0), Series("mine", 1.0), Series("jpeg"), Series("another"), Series("third")],
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear(colour), 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def pairs(looks: dict[Series, Style]) -> Iterator[tuple[Style, Style]]:
    return combinations(looks.values(), 2)


def test_the_simulation_confuses_what_colour_blind_people_confuse() -> None:
    for vision, (first, second) in (("deuteranopia", ("#cc0000", "#666600")), ("tritanopia", ("#0080ff", "#009a9a"))):
        distance = np.linalg.norm(lab(first, vision) - lab(second, vision))
        assert distance < 0.5 * np.linalg.norm(lab(first, "all cones") - lab(second, "all cones"))
    for vision in VISION:
        assert lab("#ffffff", vision) == pytest.approx([100, 0, 0], abs=0.2)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_colours_are_apart(vision: str, ground: str) -> None:
    looks = styles(SETS["all"])
    paper = "#ffffff" if ground == "light" else "#16171a"
    colour = (lambda style: style.colour) if ground == "light" else (lambda style: style.dark_colour)
    for a, b in pairs(looks):
        assert np.linalg.norm(lab(colour(a), vision) - lab(colour(b), vision)) > APART, (a.label, b.label)
    for style in looks.values():
        assert np.linalg.norm(lab(colour(style), vision) - lab(paper, vision)) > GROUND, style.label


@pytest.mark.parametrize("name", SETS)
def test_curves_are_told_apart_without_colour(name: str) -> None:
    looks = styles(SETS[name])
    for a, b in pairs(looks):
        assert a.marker != b.marker, (a.label, b.label)
    for a, b in pairwise(looks.values()):
        assert a.dash != b.dash, (a.label, b.label)
    assert len({style.label for style in looks.values()}) == len(looks)


def test_a_codec_keeps_its_colour_and_marker() -> None:
    for name in ("default", "all", "some"):
        looks = styles(SETS[name])
        for codec in CODECS:
            if codec in looks:
                assert (looks[codec].colour, looks[codec].marker) == codec_look(codec.codec)
