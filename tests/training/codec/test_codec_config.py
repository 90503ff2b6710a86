"""Configs of codec training: every key has a type, a range and a documented meaning; complaints are one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.toy_training import PAPER_SETTINGS, SWIFT_SETTINGS, job

torch = pytest.importorskip("torch")

from beholder.errors import BadOptionError  # noqa: E402
from beholder.training.codec.run import CodecTraining, parse, read_settings  # noqa: E402
from beholder.training.codec.settings import LappedTransformSettings  # noqa: E402
from beholder.training.config_file import CONFIGS, Section, keys  # noqa: E402
from beholder.training.weber2020.settings import Weber2020Settings  # noqa: E402

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "train-codec.md"


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("*.json") if "classifier" not in p.stem))
def test_configs_that_ship(name: str) -> None:
    settings = parse(read_settings(name))
    assert settings.phases[-1].until == settings.ends()[-1] == settings.steps


@pytest.mark.parametrize("text", ["{", "[]", "3", "\x00", "[" * 99999, '{"architecture": "swift"}', "{}"])
def test_files_that_are_no_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadOptionError, match=r"^The config [^\n]*config\.json[^\n]*\.$"):
        read_settings(tmp_path / "config.json")


def test_configs_that_are_not_there() -> None:
    with pytest.raises(BadOptionError, match=r"There is no config fast: give a JSON file or one of paper_gru.*swift"):
        read_settings("fast")


def test_an_unknown_key_is_named_with_its_nearest(tmp_path: Path) -> None:
    settings = read_settings("swift") | {"human_shares": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BadOptionError, match="unknown key human_shares: write human_share"):
        read_settings(tmp_path / "config.json")


WRONG: list[tuple[str, Any, str]] = [
    ("architecture", "swifts", "give swift or paper"),
    ("architecture", [], "give swift or paper"),
    ("model", 3, "model must be a JSON object"),
    ("model", {"hiden": 3}, "unknown key model.hiden: write hidden"),
    ("model", {"hidden": 0}, "model.hidden is 0: give a whole number from 1 to 1024"),
    ("machine", {"networks": []}, "give a list of efficientnet_lite0, squeezenet"),
    ("machine", {"networks": ["vgg"]}, "give a list of efficientnet_lite0, squeezenet"),
    ("machine", {"logits": 2}, "machine.logits is 2: give a number from 0 to 1"),
    ("quantiser", {"human": [[0, 9, 1.2]]}, "quantiser.human"),
    ("quantiser", {"optimised": [[[1, 9, 1.2]]]}, "give 8 lists"),
    ("steps", 0, "steps is 0: give a whole number from 1"),
    ("steps", 1.5, "whole number"),
    ("steps", True, "steps is true"),
    ("parts", [["encoder", 6]], "the parts being entropy, eye, step, decoder"),
    ("parts", [["eye", 6], ["entropy", 6]], "the steps rising"),
    ("parts", [], "parts"),
    ("phases", [], "phases must be a list of JSON objects"),
    ("phases", [{"until": 6, "crop": 48}], r"lacks phases\[1\].batch"),
    ("phases", [{"until": 6, "crop": 40, "batch": 1}], "multiple of 16"),
    ("phases", [{"until": 6, "crop": 48, "batch": 1}] * 2, "rising"),
    ("lr", 0, "lr is 0"),
    ("lr", float("nan"), "lr is NaN"),
    ("warmup", 0, "warmup"),
    ("ema", -1, "ema"),
    ("clip", "much", 'clip is "much": give a number'),
    ("seed", -1, "seed"),
    ("quantise_from", -1, "quantise_from"),
    ("searched", 2, "searched is 2: give a number from 0 to 1"),
    ("searched_from", -3, "searched_from"),
    ("human_share", -1, "human_share"),
    ("dither", [0.1, 0.2], "two falling numbers"),
    ("mixed", "yes", "give true or false"),
    ("compile", 3, "a backend of torch.compile"),
    ("validate_every", 0, "validate_every"),
    ("log_every", None, "log_every is null"),
    ("lr", "x" * 999, r"x\.\.\.: give"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_values_out_of_range(photos: Path, tmp_path: Path, key: str, value: Any, words: str) -> None:
    with pytest.raises(BadOptionError, match=words) as caught:
        CodecTraining(job(photos, tmp_path, SWIFT_SETTINGS | {key: value}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_every_key_of_a_config_is_tried() -> None:
    assert {key for key, _, _ in WRONG} == {key.split(".")[0] for key in keys(Section(LappedTransformSettings))}


@pytest.mark.parametrize("key", ["model", "steps", "parts", "phases", "lr"])
def test_required_keys(photos: Path, tmp_path: Path, key: str) -> None:
    settings = {k: v for k, v in SWIFT_SETTINGS.items() if k != key}
    with pytest.raises(BadOptionError, match=f"lacks {key}"):
        CodecTraining(job(photos, tmp_path, settings))


def test_vgg16_is_a_file_name() -> None:
    with pytest.raises(BadOptionError, match="vgg16 is 16: give a text"):
        parse(PAPER_SETTINGS | {"vgg16": 16})


def test_documented_keys_are_those_that_there_are() -> None:
    table = re.findall(r"^\| (`.*?) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [key for cell in table for key in re.findall(r"`([\w.]+)`", cell)]
    assert len(documented) == len(set(documented))
    assert set(documented) == {*keys(Section(LappedTransformSettings)), *keys(Section(Weber2020Settings))}
