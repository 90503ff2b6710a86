"""The index of a folder of shards: one ``index.json``, and beside each shard a table of what lies where.

``index.json`` (format ``beholder-shards``, version 1) names the data set and split. It holds the number of samples,
and the classes as pairs of wnid and name in the order of their labels. For each shard it holds the file, the number
of samples and bytes, and the SHA-256 of the shard and of its table. It is small for a million images.

The table of ``NAME-000000.tar`` is ``NAME-000000.json`` (format ``beholder-shard``): columns ``keys``, ``names``,
``labels`` (null without labels), and the ``offsets``, ``sizes`` and ``crc32`` of each image file within the tar.
``skipped`` has pairs of path and reason for the images that the shard lacks. ``plan`` in all of them is a digest of
what was to be written, by which an interrupted run recognises its shards.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.data.base import ClassInfo
from beholder.data.files import MAX_BYTES
from beholder.data.keys import is_key
from beholder.data.strings import PackedStrings
from beholder.errors import BadFileError
from beholder.json_text import parse_json

INDEX = "index.json"
FORMAT = "beholder-shards"
TABLE_FORMAT = "beholder-shard"
VERSION = 1
MAX_JSON = 32 << 20
"""The largest index or table that is read, in bytes."""
MAX_SHARD_SIZE = 100_000
"""The most images in one shard."""

_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.tar")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 4096
_TAR_BLOCK = 512


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its file, how many samples and bytes it has, and the SHA-256 of it and of its table."""

    file: str
    samples: int
    bytes: int
    sha256: str
    table_sha256: str

    @property
    def table(self) -> str:
        """The file with the shard's table."""
        return self.file.removesuffix(".tar") + ".json"


@dataclass(frozen=True)
class Index:
    """Content of ``index.json``."""

    name: str
    dataset: str
    split: str
    plan: str
    skipped: int
    classes: tuple[ClassInfo, ...]
    shards: tuple[ShardInfo, ...]

    @property
    def samples(self) -> int:
        """The number of images in all shards."""
        return sum(shard.samples for shard in self.shards)

    def to_json(self) -> bytes:
        """Bytes of the index; equal indices give equal bytes."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "plan": self.plan,
            "samples": self.samples,
            "bytes": sum(shard.bytes for shard in self.shards),
            "skipped": self.skipped,
        }
        lists: dict[str, list[Any]] = {
            "classes": [[entry.wnid, entry.name] for entry in self.classes],
            "shards": [
                {
                    "file": shard.file,
                    "samples": shard.samples,
                    "bytes": shard.bytes,
                    "sha256": shard.sha256,
                    "table_sha256": shard.table_sha256,
                }
                for shard in self.shards
            ],
        }
        # One line an entry: people read this file, and compare two of them.
        parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
        for key, values in lists.items():
            lines = ",\n  ".join(json.dumps(value) for value in values)
            parts.append(f"{json.dumps(key)}: [\n  {lines}\n ]" if values else f"{json.dumps(key)}: []")
        return ("{\n " + ",\n ".join(parts) + "\n}\n").encode()


@dataclass(frozen=True)
class Table:
    """Place of everything in one shard, and ``skipped``: path and reason of each image that it lacks."""

    plan: str
    tar_bytes: int
    sha256: str
    keys: PackedStrings
    names: PackedStrings
    labels: np.ndarray | None
    offsets: np.ndarray
    sizes: np.ndarray
    crc32: np.ndarray
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def to_json(self) -> bytes:
        """Bytes of the table; equal tables give equal bytes."""
        content = {
            "format": TABLE_FORMAT,
            "version": VERSION,
            "plan": self.plan,
            "bytes": self.tar_bytes,
            "sha256": self.sha256,
            "keys": list(self.keys),
            "names": list(self.names),
            "labels": None if self.labels is None else self.labels.tolist(),
            "offsets": self.offsets.tolist(),
            "sizes": self.sizes.tolist(),
            "crc32": self.crc32.tolist(),
            "skipped": self.skipped,
        }
        parts = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items()]
        return ("{\n " + ",\n ".join(parts) + "\n}\n").encode()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse_index(data: bytes, place: str) -> Index:
    """Read ``index.json`` as it lies in ``place``.

    Raises:
        BadFileError: it is damaged, foreign, newer, or contradicts itself.
    """
    shown = f"{INDEX} in {place}"
    content = _parse(data, FORMAT, shown)
    try:
        classes = tuple(ClassInfo(number, *_pair(entry)) for number, entry in enumerate(content["classes"]))
        shards = tuple(
            ShardInfo(
                _text(entry["file"], _SHARD_NAME),
                _count(entry["samples"], MAX_SHARD_SIZE),
                _count(entry["bytes"]),
                _text(entry["sha256"], _DIGEST),
                _text(entry["table_sha256"], _DIGEST),
            )
            for entry in content["shards"]
        )
        index = Index(
            _text(content["name"]),
            _text(content["dataset"]),
            _text(content["split"]),
            _text(content["plan"], _DIGEST),
            _count(content["skipped"]),
            classes,
            shards,
        )
        if len({shard.file for shard in shards}) != len(shards):
            raise ValueError("it names a shard twice")
        if index.samples != _count(content["samples"]):
            raise ValueError("its counts do not add up")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(shown, error) from None
    return index


def parse_table(data: bytes, shown: str, classes: int) -> Table:
    """Read the table of a shard; every offset, size, label and key in it has been checked.

    Args:
        shown: what messages call it.
        classes: the number of classes, 0 if the shard has to be unlabelled.

    Raises:
        BadFileError: it is damaged, foreign, newer, or contradicts itself.
    """
    content = _parse(data, TABLE_FORMAT, shown)
    try:
        size = _count(content["bytes"])
        keys, names = (_strings(content[key]) for key in ("keys", "names"))
        if not all(map(is_key, keys)) or len(set(keys)) != len(keys):
            raise ValueError("a key is no key, or there twice")
        if not all(map(_is_name, names)):
            raise ValueError("a name is no name of a file")
        offsets, sizes, checks = (_integers(content[key], len(keys)) for key in ("offsets", "sizes", "crc32"))
        ends = offsets + sizes
        # The image's own tar header lies before each.
        starts_after = np.concatenate([[0], ends[:-1]]) + _TAR_BLOCK if len(keys) else offsets
        if (sizes > MAX_BYTES).any() or (offsets < starts_after).any() or (ends > size).any():
            raise ValueError("it points outside of the shard")
        labels = None if content["labels"] is None else _integers(content["labels"], len(keys)).astype(np.int32)
        if (labels is None) != (classes == 0) or (labels is not None and (labels >= classes).any()):
            raise ValueError("a label is outside of the classes")
        return Table(
            _text(content["plan"], _DIGEST),
            size,
            _text(content["sha256"], _DIGEST),
            PackedStrings(keys),
            PackedStrings(names),
            labels,
            offsets,
            sizes.astype(np.int32),
            checks.astype(np.uint32),
            tuple(_pair(entry) for entry in content["skipped"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise _damaged(shown, error) from None


def _parse(data: bytes, expected: str, shown: str) -> dict[str, Any]:
    try:
        content = parse_json(data)
    except ValueError as error:
        raise BadFileError(f"{shown} is damaged (it is no JSON: {error}): get it again.") from None
    if not isinstance(content, dict) or content.get("format") != expected:
        raise BadFileError(f"{shown} was not written by `beholder data create`: give a folder of its shards.")
    if content.get("version") != VERSION:
        raise BadFileError(f"{shown} was written by a newer version: update Beholder.")
    return content


def _damaged(shown: str, error: Exception) -> BadFileError:
    detail = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
    return BadFileError(f"{shown} is damaged ({detail}): get it again.")


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and not set(name) & {"/", "\0"} and name not in (".", "..")


def _text(value: Any, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or (pattern and not pattern.fullmatch(value)):
        raise ValueError(f"{str(value)[:100]!r} cannot be")
    return value


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("an entry is no pair")
    return _text(value[0]), _text(value[1])


def _count(value: Any, most: int = 1 << 50) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:100]} is no number that can be")
    return value


def _strings(values: Any) -> list[str]:
    if not isinstance(values, list) or len(values) > MAX_SHARD_SIZE or not all(isinstance(v, str) for v in values):
        raise ValueError("a column is no list of names")
    return values


def _integers(values: Any, length: int) -> np.ndarray:
    if not isinstance(values, list) or len(values) != length or not all(type(v) is int for v in values):
        raise ValueError(f"a column is no list of {length} numbers")
    array = np.array(values, np.int64)
    if (array < 0).any() or (array > 1 << 50).any():
        raise ValueError("a number is negative or too large")
    return array
