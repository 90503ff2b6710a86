"""Imports point one way, from the command line down to the errors, without circles; torch stays where it belongs."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("sources")  # one process, for reading all sources takes seconds

SOURCE = Path(__file__).parents[1] / "src"
LAYERS = (
    ("errors", "weights", "samples"),
    ("extras", "files", "forks", "json_text", "limits", "threads"),
    ("pictures",),
    ("metrics",),
    ("codecs",),
    ("reading",),
    ("observers",),
    ("data",),
    ("evaluation", "targets", "training"),
    ("api",),
    ("batch", "doctor", "pillow", "serve"),
    ("cli",),
    ("", "__main__"),
)
"""Modules and packages directly below `beholder`, lowest first; "" is the package itself.  Each imports only from
layers below its own."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
TORCH = ("codecs.rnn.torch", "training", "observers.keras", "metrics.vif")
"""What may import torch or Keras; metrics.vif does it when it must."""
RNN_TORCH = ("codecs.rnn.torch", "training")
"""What may import the codec's torch modules."""


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE / "beholder").with_suffix("").parts)
    return "" if name == "__init__" else name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted((SOURCE / "beholder").rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that the file imports anywhere: at the top, in functions, for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full == "beholder.__version__":
                    continue
                yield full if full.removeprefix("beholder.") in MODULES else str(node.module)


def own(name: str) -> str | None:
    """The name below `beholder`, or None for other packages."""
    if name == "beholder":
        return ""
    return name.removeprefix("beholder.") if name.startswith("beholder.") else None


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@functools.cache
def all_imports() -> dict[str, set[str]]:
    return {module: set(imports(path)) for module, path in MODULES.items()}


@functools.cache
def graph() -> dict[str, set[str]]:
    """Imports from the package itself."""
    return {
        module: {target for name in names if (target := own(name)) is not None}
        for module, names in all_imports().items()
    }


def test_imports_point_down() -> None:
    wrong = []
    for module, targets in graph().items():
        package = module.split(".")[0]
        for target in targets:
            below = target.split(".")[0]
            if below != package and RANK[below] >= RANK[package]:
                wrong.append(f"{module} imports {target}")
    assert wrong == []


def test_there_is_no_circle() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert set(order) >= set(MODULES)


def test_torch_stays_where_it_belongs() -> None:
    wrong = []
    for module, names in all_imports().items():
        heavy = {name.split(".")[0] for name in names} & {"torch", "keras", "torchmetrics", "tensorboard"}
        if heavy and not within(module, TORCH):
            wrong.append(f"{module} imports {heavy}")
        inside = {target for target in graph()[module] if within(target, ("codecs.rnn.torch",))}
        if inside and not within(module, RNN_TORCH):
            wrong.append(f"{module} imports {inside}")
    assert wrong == []


def test_torchvision_and_timm_are_imported_nowhere() -> None:
    for module, names in all_imports().items():
        assert not {name.split(".")[0] for name in names} & {"torchvision", "timm"}, module


def test_files_and_folders_stay_small() -> None:
    files = [*MODULES.values(), *sorted((SOURCE.parent / "tests").rglob("*.py"))]
    assert {str(path): lines for path in files if (lines := path.read_text("utf-8").count("\n")) > 400} == {}
    modules = Counter(path.parent for path in files if path.name not in ("__init__.py", "conftest.py"))
    assert {str(folder): number for folder, number in modules.items() if number > 12} == {}
