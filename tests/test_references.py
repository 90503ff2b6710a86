"""References in docstrings, such as :func:`name`, lead to something that there is."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("sources")  # one process, for reading all sources takes seconds

PACKAGE = Path(__file__).parents[1] / "src" / "beholder"
REFERENCE = re.compile(r":(?:mod|func|class|meth|attr|data):`~?([\w.]+)`")


def module_name(path: Path) -> str:
    return ".".join(("beholder", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


PACKAGES = {module_name(p) for p in PACKAGE.rglob("__init__.py")}


@functools.cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every module."""
    return {module_name(p): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py"))}


def defined(body: list[ast.stmt]) -> set[str]:
    """Names that statements bind: functions, classes, variables, imports."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.If | ast.Try):
            found |= defined(node.body)
    return found


def attributes(node: ast.ClassDef) -> set[str]:
    """Names in a class, and attributes that its methods set."""
    own = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    return own | defined(node.body)


@functools.cache
def module_names() -> dict[str, set[str]]:
    """Names that each module binds."""
    return {module: defined(tree.body) for module, tree in trees().items()}


@functools.cache
def members() -> dict[str, set[str]]:
    """Names and attributes in the classes of each name."""
    found: dict[str, set[str]] = {}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(attributes(node))
    return found


def leads_somewhere(target: str, module: str, inside: str | None) -> bool:
    """Whether a reference in a module, and there in a class or not, names a module, one of its names, or a member."""
    if target.startswith("."):
        target = (module if module in PACKAGES else module.rpartition(".")[0]) + target
    elif target.split(".")[0] in module_names()[module]:
        target = f"{module}.{target}"
    elif not target.startswith("beholder."):  # of the class itself, or one that it inherits from
        return "." not in target and inside is not None and any(target in names for names in members().values())
    if target in trees():
        return True
    place, _, name = target.rpartition(".")
    if place in trees():
        return name in module_names()[place]
    place, _, kind = place.rpartition(".")
    return place in trees() and kind in module_names()[place] and name in members().get(kind, ())


def references(node: ast.AST, inside: str | None = None) -> Iterator[tuple[int, str, str | None]]:
    """Line and target of each reference in the docstrings below a node, and the class that it stands in."""
    for child in getattr(node, "body", []):
        text = child.value.value if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) else None
        if isinstance(text, str):
            yield from ((child.lineno, target, inside) for target in REFERENCE.findall(text))
        yield from references(child, child.name if isinstance(child, ast.ClassDef) else inside)


def test_references_lead_somewhere() -> None:
    wrong = [
        f"{module}, line {line}: {target}"
        for module, tree in trees().items()
        for line, target, inside in references(tree)
        if not target.startswith("PIL.") and not leads_somewhere(target, module, inside)
    ]
    assert wrong == []


def test_wrong_references_are_found() -> None:
    assert leads_somewhere(".psnr", "beholder.metrics", None)
    assert leads_somewhere("beholder.codecs.base.Codec.encode", "beholder.api", None)
    assert not leads_somewhere(".colour", "beholder.metrics.psnr", None)
    assert not leads_somewhere("open_codec", "beholder.api", None)
    assert not leads_somewhere("beholder.codecs.base.Codec.squeeze", "beholder.api", None)
