"""The command that installs one of Beholder's extras, as it works where this Beholder came from."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "beholder"


def install_command(extra: str, upgrade: bool = False) -> str:
    """``pip install ...`` with ``extra``, from the clone, wheel, address or index that this Beholder came from."""
    return f"pip install {'--upgrade ' if upgrade else ''}{_requirement(extra)}"


def _requirement(extra: str) -> str:
    clone = Path(__file__).parents[2]
    if (clone / "pyproject.toml").is_file():
        return f'-e "{_shown(clone)}[{extra}]"'
    from importlib.metadata import PackageNotFoundError, distribution  # slow, and rarely needed

    try:
        text = distribution(NAME).read_text("direct_url.json")  # PEP 610: absent where an index was asked
    except PackageNotFoundError:
        text = None
    url = str(json.loads(text).get("url", "")) if text else ""
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        if path.exists():
            return f'"{_shown(path)}[{extra}]"'
    elif url:
        return f'"{NAME}[{extra}] @ {"git+" if "vcs_info" in json.loads(text or "{}") else ""}{url}"'
    return f'"{NAME}[{extra}]"'


def _shown(path: Path) -> str:
    return "." if path == Path.cwd() else str(path)
