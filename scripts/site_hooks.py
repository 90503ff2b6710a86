"""Hooks of the documentation site (mkdocs.yml): links to files of the repository that are no pages.

A page may link to a source file, as `../src/beholder/codecs/base.py`.  Where mkdocs.yml names a ``repo_url`` such a
link goes there; without one its text stays alone.  Missing files are errors either way.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
INCLUDE = re.compile(r'^--8<-- "(?:docs/)?([^"]+)"$', re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")
    markdown = INCLUDE.sub(lambda match: _included(match[1], folder), markdown)
    return LINK.sub(lambda match: _link(match, folder, config["repo_url"]), markdown)


def _included(path: str, folder: str) -> str:
    """A file of the repository with its links made relative to the including page's folder."""
    here = posixpath.dirname(path)

    def move(match: re.Match[str]) -> str:
        text, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        return f"[{text}]({posixpath.relpath(posixpath.join(here, link), folder)})"

    return LINK.sub(move, (ROOT / path).read_text(encoding="utf-8"))


def _link(match: re.Match[str], folder: str, repository: str | None) -> str:
    text, link = match.groups()
    if re.match(r"[a-z]+:|#", link):
        return match[0]
    path = posixpath.normpath(posixpath.join(folder, link.partition("#")[0]))
    if path.startswith("docs/"):
        return match[0]  # a page or a file of the site: mkdocs checks it
    if not (ROOT / path).exists():
        raise FileNotFoundError(os.fspath(ROOT / path))
    return f"[{text}]({repository.rstrip('/')}/blob/main/{path})" if repository else text
