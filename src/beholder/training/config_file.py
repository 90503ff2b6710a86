"""Config files: JSON objects that dataclasses describe.

Each field of such a dataclass has a :class:`Rule` for its values. A field without a default is required. A section of
the file is a dataclass of its own. Every error is one sentence with the file, the key, the fault and the remedy.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from beholder.errors import BadOptionError
from beholder.json_text import read_json

CONFIGS = Path(__file__).parent / "configs"
"""The configs that ship."""
LONGEST_VALUE = 100
"""Characters of a wrong value that a sentence quotes."""

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Rule:
    """Values that a key takes: ``allows`` checks one, ``words`` name them, ``make`` turns one into the field's."""

    allows: Callable[[Any], bool]
    words: str
    make: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True)
class Section:
    """An object inside the file: ``kind`` is its dataclass, ``rules`` those of fields that have none of their own."""

    kind: type
    rules: Mapping[str, Rule] = field(default_factory=dict)


@dataclass(frozen=True)
class Sections:
    """A list of such objects, at least one."""

    kind: type


def setting(rule: Rule | Section | Sections, default: Any = MISSING) -> Any:
    """A field of a config's dataclass."""
    return field(default=default, metadata={"rule": rule})


def number(low: float, high: float) -> Rule:
    """A number from ``low`` to ``high``."""
    return Rule(lambda value: _is_number(value) and low <= value <= high, f"a number from {low:g} to {high:g}")


def whole(low: int, high: int = 10**9, multiple: int = 1) -> Rule:
    """A whole number from ``low`` to ``high``."""

    def allows(value: Any) -> bool:
        return type(value) is int and low <= value <= high and value % multiple == 0

    words = f"a multiple of {multiple}" if multiple > 1 else "a whole number"
    return Rule(allows, f"{words} from {low}" + (f" to {high}" if high < 10**9 else ""))


def pair(low: float, high: float, falling: bool = False) -> Rule:
    """Two numbers from ``low`` to ``high``, the second at least (``falling``: at most) the first."""

    def allows(value: Any) -> bool:
        if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
            return False
        first, last = reversed(value) if falling else value
        return bool(low <= first <= last <= high)

    return Rule(allows, f"two {'falling' if falling else 'rising'} numbers from {low:g} to {high:g}", tuple)


def choice(*options: str) -> Rule:
    """One of some words."""
    return Rule(lambda value: value in options, f"one of {', '.join(options)}")


def names(*options: str) -> Rule:
    """A list of names: any, or some of ``options``."""

    def allows(value: Any) -> bool:
        texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return texts and (not options or (bool(value) and set(value) <= set(options)))

    return Rule(allows, f"a list of {', '.join(options)}" if options else "a list of names", tuple)


FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
TEXT = Rule(lambda value: isinstance(value, str) and bool(value), "a text")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadOptionError: it cannot be read, or holds no JSON object.
    """
    try:
        values = read_json(path)
    except OSError as error:
        raise BadOptionError(f"The config {path} cannot be read ({error.strerror}): check the path.") from None
    except ValueError as error:
        raise BadOptionError(f"The config {path} is not valid JSON ({error}): correct it.") from None
    if not isinstance(values, dict):
        raise BadOptionError(f"The config {path} is no JSON object of settings: compare it with one that ships.")
    return values


def check(values: Any, section: Section, where: str, prefix: str = "", partial: bool = False) -> None:
    """Complain about the first key that is unknown, wrong or missing.

    Args:
        values: the object.
        section: describes it.
        where: what a sentence calls the file.
        prefix: of the keys in a sentence, such as "model.".
        partial: required keys may be missing.

    Raises:
        BadOptionError: with what to write instead.
    """
    if not isinstance(values, dict):
        raise BadOptionError(f"In the config {where}, {prefix.rstrip('.') or 'the whole'} must be a JSON object.")
    known: dict[str, Field[Any]] = {entry.name: entry for entry in fields(section.kind)}
    for key, value in values.items():
        if key not in known:
            raise BadOptionError(
                f"The config {where} has an unknown key {prefix}{str(key)[:LONGEST_VALUE]}: "
                f"{_nearest(key, list(known))}."
            )
        rule = _rule(section, known[key])
        if isinstance(rule, Section):
            check(value, rule, where, f"{prefix}{key}.", partial)
        elif isinstance(rule, Sections):
            if not isinstance(value, list) or not value:
                raise BadOptionError(f"In the config {where}, {prefix}{key} must be a list of JSON objects.")
            for number_, item in enumerate(value, 1):
                check(item, Section(rule.kind), where, f"{prefix}{key}[{number_}].")
        elif not rule.allows(value):
            text = json.dumps(value)
            text = text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
            raise BadOptionError(f"In the config {where}, {prefix}{key} is {text}: give {rule.words}.")
    missing = [prefix + name for name, entry in known.items() if _is_required(entry) and name not in values]
    if missing and not partial:
        raise BadOptionError(f"The config {where} lacks {', '.join(missing)}: add what is missing.")


def build(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The dataclass with the values of an object that :func:`check` let pass."""
    made: dict[str, Any] = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name not in values:
            continue
        value, rule = values[entry.name], entry.metadata.get("rule")
        if isinstance(rule, Section):
            value = build(rule.kind, value)
        elif isinstance(rule, Sections):
            value = tuple(build(rule.kind, item) for item in value)
        elif isinstance(rule, Rule):
            value = rule.make(value)
        made[entry.name] = value
    return kind(**made)


def keys(section: Section, prefix: str = "") -> list[str]:
    """All keys that a config may have, such as "model.hidden"."""
    found = []
    for entry in fields(section.kind):
        rule = _rule(section, entry)
        found.append(prefix + entry.name)
        if isinstance(rule, Section | Sections):
            inner = rule if isinstance(rule, Section) else Section(rule.kind)
            found += keys(inner, f"{prefix}{entry.name}.")
    return found


def _rule(section: Section, entry: Field[Any]) -> Rule | Section | Sections:
    rule: Rule | Section | Sections = entry.metadata.get("rule") or section.rules[entry.name]
    return rule


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"write {near[0]}" if near else f"choose from {', '.join(sorted(known))}"
