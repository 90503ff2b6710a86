"""Keys: short names for images that are unique in their source and safe in any file system and tar."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Sequence

from beholder.data.strings import PackedStrings

LONGEST = 80
"""A key with its suffix has to fit into the 100 bytes of a tar header."""

_SAFE = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_DIGITS = 8


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key."""
    return _SAFE.fullmatch(text) is not None


def make_keys(paths: Sequence[str] | PackedStrings, folders: bool = True) -> PackedStrings:
    """One key for each relative path with ``/``, from the path without its suffix (and without ``folders``).

    Every run of other characters than ASCII letters, digits, ``_`` and ``-`` becomes one ``_``.  Where that leaves
    nothing, too much, or two keys that are equal up to case, the first hexadecimal digits of the path's SHA-256
    are appended.
    """
    plain = [_plain(path, folders) for path in paths]
    count = Counter(key.casefold() for key in plain)
    chosen = [
        key if is_key(key) and count[key.casefold()] == 1 else _hashed(key, path)
        for key, path in zip(plain, paths, strict=True)
    ]
    return PackedStrings(chosen)


def _plain(path: str, folders: bool) -> str:
    text = posixpath.splitext(path)[0]
    if not folders:
        text = posixpath.basename(text)
    return _UNSAFE.sub("_", text).strip("_") if _UNSAFE.search(text) else text


def _hashed(key: str, path: str) -> str:
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{key[: LONGEST - _DIGITS - 1] or 'image'}-{digest}"
