"""The language of docstrings.

None begins with a word that says nothing. Those of public functions name the shapes of the arrays and the modes of the
pictures that they take and give, and the errors that they raise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.xdist_group("sources")  # one process, for reading all sources takes seconds

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "scripts", "benchmarks")
BANNED_OPENING = re.compile(r"\s*(What|Of|How|The same)\b")
PACKAGE = ROOT / "src" / "beholder"
ARRAYS = frozenset({"NDArray", "ndarray", "ArrayLike", "Tensor"})
SIDE = r"(\.\.\.|\w[\w */+()-]{0,24}|2 \*\* \w+)"
SHAPE = re.compile(
    rf"\({SIDE}?(, ?{SIDE})+,?\)|\({SIDE},\)|shape \(\)"  # (N, C, H, W), (..., n), (p,)
    r"|\b[Aa]ny shape|of one shape|one (value|number|scale) a \w+"
    r"|\b[Aa]s (for |that of |those of )?:(meth|func|class):"  # another docstring says it
)
MODE = re.compile(
    r"\bmodes?\b|\bs?RGBA?\b|\b(LA?|1)[,;]|\bgrey\b|any (image|picture)|\b[Aa]s (for )?:(meth|func|class):"
)
REFERENCE = re.compile(r"\b[Aa]s (for |that of )?:(meth|func|class):")
ERRORS = frozenset(re.findall(r"^class (\w+Error)", (PACKAGE / "errors.py").read_text(encoding="utf-8"), re.MULTILINE))
ACTS_FOR_ITS_CLASS = ("__init__", "__call__", "forward")
"""Methods that the docstring of their class may describe."""

EXCEPTIONS: dict[str, str] = {
    "observers/keras/layers.py Writer.convert": "a tensor of an ONNX graph in the making, which holds its shape",
}
"""Functions that need not name a shape, and why."""


class Function(NamedTuple):
    """A public function or method: what its annotations name, and its docstring."""

    place: str
    node: ast.FunctionDef
    names: set[str]
    text: str


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names(node: ast.AST) -> set[str]:
    """Names within an annotation; ``Image.Image`` is Image."""
    return {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in ast.walk(node)}


def file(module: str) -> Path:
    path = PACKAGE.parent / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def defined(path: Path) -> frozenset[str]:
    """Names of arrays that a module defines, such as Floats."""
    found: set[str] = set()
    for node in tree(path).body:
        if (
            isinstance(node, ast.Assign)
            and not isinstance(node.value, ast.Call)
            and names(node.value) & (found | ARRAYS)
        ):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def array_names(path: Path) -> set[str]:
    """Names of arrays in a module: of its own, of other modules, of libraries; but not those of its own classes."""
    found = set(ARRAYS | defined(path))
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("beholder."):
            found |= {alias.name for alias in node.names} & defined(file(node.module))
    return found - {node.name for node in tree(path).body if isinstance(node, ast.ClassDef)}


def functions(path: Path) -> Iterator[Function]:
    """All public functions of a module, and methods of its public classes."""

    def visit(body: list[ast.stmt], prefix: str, above: str) -> Iterator[Function]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from visit(node.body, f"{prefix}{node.name}.", ast.get_docstring(node) or "")
            if not isinstance(node, ast.FunctionDef):
                continue
            if node.name.startswith("_") and node.name not in ACTS_FOR_ITS_CLASS:
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [a.annotation for a in arguments if a.annotation] + ([node.returns] if node.returns else [])
            text = ast.get_docstring(node) or ""
            text = f"{text}\n{above}" if node.name in ACTS_FOR_ITS_CLASS else text
            yield Function(prefix + node.name, node, set().union(*map(names, annotations)), " ".join(text.split()))

    yield from visit(tree(path).body, "", "")


def undocumented(what: frozenset[str] | None, told: re.Pattern[str]) -> list[str]:
    """Functions that take or give something of a kind, arrays for None, but whose docstrings do not tell the pattern.

    A method without a docstring has that of the method that it overrides.  The docstrings of commands are their help.
    """
    concerned, overridden = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for function in () if place.startswith("cli/") else functions(path):
            if function.names & (array_names(path) if what is None else what):
                concerned.append((f"{place} {function.place}", function.text))
                if told.search(function.text):
                    overridden.add(function.place.rpartition(".")[2])
    return [
        place
        for place, text in concerned
        if not told.search(text) and not (not text and place.rpartition(".")[2] in overridden)
    ]


def test_public_functions_name_the_shapes_of_their_arrays() -> None:
    assert sorted(set(undocumented(None, SHAPE)) - set(EXCEPTIONS)) == []


def test_public_functions_name_the_modes_of_their_pictures() -> None:
    assert undocumented(frozenset({"Image"}), MODE) == []


def errors(node: ast.FunctionDef) -> set[str]:
    """Beholder's errors that a function itself raises."""
    raised = (n.exc.func for n in ast.walk(node) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call))
    return {name.id for name in raised if isinstance(name, ast.Name)} & ERRORS


def test_public_functions_name_the_errors_that_they_raise() -> None:
    """By its name, as BeholderError, or in a docstring that theirs refers to or, where there is none, overrides."""
    missing = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for function in () if place.startswith("cli/") else functions(path):
            told = function.text
            if not told or "BeholderError" in told or ("Raises:" in told and "see :" in told) or REFERENCE.search(told):
                continue
            missing += [
                f"{place} {function.place}: {name}" for name in sorted(errors(function.node)) if name not in told
            ]
    assert missing == []


def test_each_exception_is_needed() -> None:
    assert set(EXCEPTIONS) <= set(undocumented(None, SHAPE))


def test_patterns_find_shapes_and_nothing_else() -> None:
    for text in (
        "(N, C, H, W) floats",
        "of (p,) each",
        "(..., 3)",
        "(16H, 16W)",
        "(N, 2 width)",
        "any shape",
        "shape ()",
    ):
        assert SHAPE.search(text), text
    for text in ("the codes", "(see the paper)", "(N)", "rounded, not truncated", "shapes"):
        assert not SHAPE.search(text), text


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of docstrings of modules, classes and functions, and of strings that describe constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def test_no_docstring_has_a_banned_opening() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip().splitlines()[0]}"
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in docstrings(path)
        if BANNED_OPENING.match(text)
    ]
    assert found == []
