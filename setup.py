"""The package's description: README.md with links that hold outside the repository.

All other settings stand in pyproject.toml.  A relative link of README.md works beside the files that it names, but
not on a package index or in a wheel.  With a ``Repository`` among the project's URLs, such links point there, to the
tag of the version.  Without one, a link becomes its text and a picture is left out.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
ABSOLUTE = ("https://", "http://", "mailto:", "#")


def described(readme: str, repository: str | None, version: str) -> str:
    """The text of README.md with relative links made absolute, or taken out where there is no repository."""

    def replace(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if target.startswith(ABSOLUTE):
            return match[0]
        if repository is None:
            return "" if mark else text
        view = "raw" if mark else "blob"
        return f"{mark}[{text}]({repository.rstrip('/')}/{view}/v{version}/{target})"

    parts = FENCE.split(readme)
    parts[::2] = [LINK.sub(replace, part) for part in parts[::2]]  # code blocks stay as they are
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def main() -> None:
    from setuptools import setup

    root = Path(__file__).parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = (root / "src" / "beholder" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    if found is None:
        raise SystemExit("src/beholder/__init__.py states no __version__")
    readme = (root / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=described(readme, project.get("urls", {}).get("Repository"), found[1]),
        long_description_content_type="text/markdown",
    )


if __name__ == "__main__":
    main()
