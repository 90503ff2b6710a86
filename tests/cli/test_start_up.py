"""Libraries that a command brings along: those that it needs, for they take longer than the command."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from beholder.cli import _COMMANDS

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "coffee-q1-alpha0-effort0.bhd"
HEAVY = {
    *("numpy", "PIL", "onnxruntime", "constriction", "torch", "keras", "onnx", "h5py", "scipy", "matplotlib"),
    *("pyarrow", "av", "pillow_heif", "ssimulacra2", "starlette", "uvicorn", "fsspec", "ray", "rich", "pydantic"),
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
        # Where two seconds are over, a bar appears, unless it is hidden.
        (["decompress", str(GOLDEN), "-o", "-", "--quiet"], {"numpy", "PIL", "onnxruntime", "constriction"}),
    ],
    ids=["version", "help", "help of a command", "info as JSON", "info", "decompress"],
)
def test_commands_import_no_library_that_they_do_not_need(words: list[str], allowed: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert HEAVY & set(modules) <= allowed


@pytest.mark.parametrize("part", ["onnx_model", "optimise", "encoder"])
def test_a_header_is_read_without_the_model(part: str) -> None:
    script = f"import sys; from beholder.cli import main; main(['info', '--json', {str(GOLDEN)!r}])"
    script += f"; sys.exit('beholder.codecs.rnn.{part}' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_each_module_of_commands_adds_those_it_is_listed_with() -> None:
    for module, names in _COMMANDS.items():
        app = typer.Typer()
        import_module(f"beholder.cli.commands.{module}").register(app)
        found = [command.name or command.callback.__name__ for command in app.registered_commands]
        assert {*found, *(group.name for group in app.registered_groups)} == set(names)


@pytest.mark.parametrize("part", ["beholder.evaluation", "beholder.observers", "beholder.targets", "multiprocessing"])
def test_the_api_opens_files_without_what_evaluations_need(part: str) -> None:
    script = f"import sys, beholder; beholder.decompress({str(GOLDEN)!r}); sys.exit({part!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
