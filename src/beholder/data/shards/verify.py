"""Whether all shards are there and whole, and whether all images of a folder can be opened."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable

import numpy as np

from beholder.data.base import Source, decode
from beholder.data.shards.index import ShardInfo
from beholder.data.shards.reading import BLOCK, ShardSource
from beholder.errors import BadFileError, BadImageError


def verify(source: Source, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """Faults of ``source``, a sentence each.

    Shards are read whole and compared with the checksums of the index; the images of other sources are decoded.
    ``progress`` is called with the numbers of shards or images done and of all.
    """
    return _verify_shards(source, progress) if isinstance(source, ShardSource) else _verify_images(source, progress)


def _verify_shards(source: ShardSource, progress: Callable[[int, int], None]) -> list[str]:
    problems = []
    keys = []
    shards = source.index.shards
    for number, shard in enumerate(shards):
        try:
            table = source.table(number)
            keys.append(np.array([_short(key) for key in table.keys], np.uint64))
            _check(source, shard)
        except BadFileError as error:
            problems.append(str(error))
        progress(number + 1, len(shards))
    every = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    if len(np.unique(every)) != len(every):
        problems.append(f"A key occurs in two shards of {source.storage.place}: create them again.")
    return problems


def _check(source: ShardSource, shard: ShardInfo) -> None:
    found = hashlib.sha256()
    position = 0
    while block := source.storage.read(shard.file, position, BLOCK):
        found.update(block)
        position += len(block)
        if position > shard.bytes:
            break
    place = source.storage.place
    if position != shard.bytes:
        less = "truncated" if position < shard.bytes else "longer than it should be"
        raise BadFileError(f"{shard.file} in {place} is {less} ({shard.bytes:,} bytes): copy it again.")
    if found.hexdigest() != shard.sha256:
        raise BadFileError(f"{shard.file} in {place} has a wrong checksum: copy it again.")


def _verify_images(source: Source, progress: Callable[[int, int], None]) -> list[str]:
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about harmless faults
        for index in range(len(source)):
            try:
                decode(source[index])
            except BadImageError as error:
                problems.append(str(error))
            progress(index + 1, len(source))
    return problems


def _short(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
