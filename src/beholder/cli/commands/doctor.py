"""``beholder doctor``: what works here, and what to do about the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from beholder.cli import options

EXIT_BROKEN = 1
"""Something is installed and does not work."""

_TITLES = {"machine": "Core", "codec": "Codecs", "observer": "Observers", "extra": "Extras"}


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(doctor)


def doctor(as_json: options.Json = False) -> None:
    """Try every codec and observer, look for every extra, and tell the command that mends what does not work.

    Exits with 1 if something is installed but broken. A missing extra is no fault.
    """
    from beholder import doctor as library
    from beholder.cli import tables

    with tables.working("Trying codecs and observers ..."):
        findings = list(library.examine())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for kind, title in _TITLES.items():
            rows = [(f.name, f.state, f.detail) for f in findings if f.kind == kind]
            if rows:
                tables.show(tables.table((title, "", ""), rows))
        counts = {state: sum(f.state == state for f in findings) for state in ("works", "missing", "broken")}
        words = {"works": "work"}
        found = [f"{n} {state if n == 1 else words.get(state, state)}" for state, n in counts.items() if n]
        print(", ".join(found) + ".")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_BROKEN)
