"""Files that people have still decode to the same pixels, and encoding without effort still gives the same bytes.

`python tests/golden/make.py` makes the golden files anew after the shipped model has changed.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from make import CASES, FOLDER, INDEX, LARGEST_TOTAL, Case, decoded_pixels, photograph, sha256

from beholder.codecs.rnn import Rnn
from beholder.codecs.rnn.layout import ITERATIONS

GOLDEN = json.loads(INDEX.read_text())
# The cuts were not chosen for the borders of quantiser cells between qualities.  Residuals follow from decoded
# pixels, which may differ from processor to processor.
PLAIN = [case for case in CASES if not case.effort and case.quality in range(1, ITERATIONS + 1)]


def test_the_golden_files_are_those_of_the_shipped_model() -> None:
    assert GOLDEN["model"] == Rnn().model.identity.hex()
    assert sorted(GOLDEN["files"]) == sorted(case.name for case in CASES)
    assert {path.stem for path in FOLDER.glob("*.bhd")} == set(GOLDEN["files"])
    files = [path for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"]
    assert sum(path.stat().st_size for path in files) <= LARGEST_TOTAL


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_files_decode_to_the_same_pixels(case: Case) -> None:
    data = (FOLDER / f"{case.name}.bhd").read_bytes()
    assert sha256(data) == GOLDEN["files"][case.name]["sha256"]
    decoded = Rnn().decode(data)
    expected = decoded_pixels(case.name, decoded.mode)
    assert decoded.size == expected.size
    assert decoded.mode == photograph(case.photo).mode
    # Float networks may round a value the other way on another processor.
    difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 1
    if decoded.mode == "RGBA":
        assert not difference[..., 3].any()


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_encoding_without_effort_gives_the_same_bytes(case: Case) -> None:
    image = photograph(case.photo, GOLDEN["offsets"][case.photo])
    data = Rnn().encode(image, int(case.quality), alpha=case.alpha)
    assert (len(data), sha256(data)) == (
        GOLDEN["files"][case.name]["bytes"],
        GOLDEN["files"][case.name]["sha256"],
    )


def test_profile_and_exif_are_in_the_files() -> None:
    photo = photograph("profile")
    decoded = Rnn().decode((FOLDER / "profile-q4-alpha0-effort0.bhd").read_bytes())
    assert decoded.info["icc_profile"] == photo.info["icc_profile"]
    assert decoded.info["exif"] == photo.info["exif"]
