"""Mutants with right checksums: every reader gives a result or one sentence.  `make fuzz` runs the same for an hour."""

import functools
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beholder.codecs.rnn import bitstream
from beholder.errors import BadFileError, BeholderError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz  # noqa: E402


@functools.cache
def seeds(name: str) -> list[bytes]:
    return fuzz.TARGETS[name].seeds()


@pytest.mark.parametrize("name", list(fuzz.TARGETS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False), rounds=st.integers(1, 3))
def test_mutants(name: str, chance: random.Random, rounds: int) -> None:
    """Any exception but BeholderError fails, and tells how to come back to it."""
    data = chance.choice(seeds(name))
    for _ in range(rounds):
        data = fuzz.TARGETS[name].mutate(data, chance)
    assert fuzz.answer(fuzz.TARGETS[name], data)


def test_mutants_get_past_the_checksums() -> None:
    """Most of them: what is tried lies behind the checks of the container."""
    chance, passed, refused = random.Random(0), 0, 0
    for _ in range(200):
        try:
            bitstream.read(fuzz.alter_bhd(seeds("bhd")[0], chance))
            passed += 1
        except BeholderError:
            refused += 1
    assert passed > 100
    assert refused > 10


def test_crashes_and_new_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader with a fault: its input and traceback are found again in the corpus."""

    def read(data: bytes) -> str:
        if len(data) % 5 == 0:
            raise ZeroDivisionError
        if len(data) % 3 == 0:
            raise BadFileError("Too short.")
        return "read"

    monkeypatch.setitem(fuzz.TARGETS, "toy", fuzz.Target(lambda: [b"seed"], fuzz.alter, read))
    count, kept, guilty = fuzz.fuzz("toy", tmp_path, random.Random(0), float("inf"), 100)
    assert (count, kept) == (100, 1)
    assert guilty > 5
    found = [path for path in (tmp_path / "found").iterdir() if not path.suffix]
    assert all(len(path.read_bytes()) % 5 == 0 for path in found)
    assert "ZeroDivisionError" in found[0].with_suffix(".txt").read_text()
    # What was kept is known in the next run.
    assert fuzz.fuzz("toy", tmp_path, random.Random(0), float("inf"), 50)[1] == 0


def test_answers_may_quote_what_no_encoding_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as half a surrogate pair, which JSON lets through as ``\\udfff``."""
    odd = fuzz.Target(lambda: [b"a"], lambda data, chance: data + b"a", lambda data: "\udfff" * len(data))
    monkeypatch.setitem(fuzz.TARGETS, "odd", odd)
    assert fuzz.fuzz("odd", tmp_path, random.Random(0), time.monotonic() + 60, 5)[2] == 0
