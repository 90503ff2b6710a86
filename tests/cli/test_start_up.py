"""Libraries that a command brings along: those that it needs, for they take longer than the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "coffee-q1-alpha0-effort0.bhd"
HEAVY = {
    *("numpy", "PIL", "onnxruntime", "constriction", "torch", "keras", "onnx", "h5py", "scipy", "matplotlib"),
    *("pyarrow", "av", "pillow_heif", "ssimulacra2", "starlette", "uvicorn", "fsspec", "ray", "rich"),
}
SCRIPT = """
import json, sys
from beholder.cli import main
status = main(sys.argv[1:])
print("\\n" + json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--version"], set()),
        (["--help"], {"rich"}),
        (["compress", "--help"], {"rich"}),
        (["info", "--json", str(GOLDEN)], {"numpy", "PIL"}),
        (["info", str(GOLDEN)], {"numpy", "PIL", "rich"}),
    ],
    ids=["version", "help", "help of a command", "info as JSON", "info"],
)
def test_commands_import_no_library_that_they_do_not_need(words: list[str], allowed: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert HEAVY & set(modules) <= allowed


@pytest.mark.parametrize("part", ["beholder.evaluation", "beholder.observers", "beholder.targets", "multiprocessing"])
def test_the_api_opens_files_without_what_evaluations_need(part: str) -> None:
    script = f"import sys, beholder; beholder.decompress({str(GOLDEN)!r}); sys.exit({part!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
