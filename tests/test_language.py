"""The English of docstrings: no docstring of the sources begins with a word that says nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "scripts", "benchmarks")
BANNED_OPENING = re.compile(r"\s*(What|Of|How|The same)\b")


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
