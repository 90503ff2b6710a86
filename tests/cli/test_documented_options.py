"""Documents name commands and options that there are, by their first names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beholder import cli

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"\bbeholder ((?:[a-z][a-z0-9-]+ )*[a-z][a-z0-9-]+)([^\n`|#]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def commands(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Name and shown options of each command."""
    yield name, {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from commands(inner, f"{name} {word}".strip())


def calls() -> Iterator[tuple[str, str, list[str]]]:
    """(document, first words, options) of each ``beholder ...`` within code of a document."""
    known = dict(commands(cli._command([])))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for found in CALL.finditer(path.read_text(encoding="utf-8").replace("\\\n", " ")):
            words = found[1].split()
            name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), "")
            yield str(path.relative_to(ROOT)), name or words[0], OPTION.findall(found[2])


def test_documented_options_exist() -> None:
    known = dict(commands(cli._command([])))
    wrong, seen = [], set()
    for document, name, options in calls():
        if name in known:
            seen.add(name)
            wrong += [f"{document}: beholder {name} {o}" for o in options if o not in known[name] | {"--help"}]
        elif options:
            wrong.append(f"{document}: beholder {name} {options[0]}")
    assert wrong == []
    # Each command is shown somewhere.
    assert {name for name in known if name} - {"data", "train"} - seen == set()
