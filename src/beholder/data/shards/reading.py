"""Reading shards: WebDataset tars with an index that makes any image one short read away."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from beholder.data.base import UNLABELLED, Example, Source
from beholder.data.shards.index import INDEX, MAX_JSON, Table, digest, parse_index, parse_table
from beholder.data.shards.storage import Storage, open_storage
from beholder.errors import BadFileError

BLOCK = 8 << 20
"""Number of bytes that are read at once when images are read in order."""


class ShardSource(Source):
    """The images in a folder of shards, at a path or a URL.

    Opening reads ``index.json`` alone.  The table of a shard is read when one of its images is asked for and then
    kept: about 100 bytes an image of what has been visited, 120 MB for all of ImageNet.

    Raises:
        BadFileError: there is no index, or it is damaged; later: a shard is missing, truncated or damaged.
        NotAvailableError: a URL needs a package that is not installed.
    """

    def __init__(self, path_or_url: str) -> None:
        self.storage: Storage = open_storage(path_or_url)
        self.index = parse_index(self.storage.read_all(INDEX, MAX_JSON), self.storage.place)
        self.name = self.index.name
        self.classes = self.index.classes
        self._ends = np.cumsum([shard.samples for shard in self.index.shards], dtype=np.int64)
        self._tables: dict[int, Table] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Example:
        shard, row = self._find(self.position(index))
        table = self.table(shard)
        offset, size = int(table.offsets[row]), int(table.sizes[row])
        return self._example(shard, row, self.storage.read(self.index.shards[shard].file, offset, size))

    def key(self, index: int) -> str:
        shard, row = self._find(self.position(index))
        return self.table(shard).keys[row]

    def labels(self) -> np.ndarray:
        if not self.labelled:
            return np.full(len(self), UNLABELLED, np.int32)
        columns = [self.table(shard).labels for shard in range(len(self.index.shards))]
        return np.concatenate([np.empty(0, np.int32), *(column for column in columns if column is not None)])

    def parts(self) -> list[range]:
        starts = [0, *self._ends.tolist()]
        return [range(start, end) for start, end in pairwise(starts) if end > start]

    def examples(self, part: range) -> Iterator[Example]:
        if part.step != 1:
            yield from super().examples(part)
            return
        position = part.start
        while position < part.stop:
            shard, row = self._find(self.position(position))
            table = self.table(shard)
            # As many neighbours as fit into one block, but at least one image.
            last = min(len(table), row + part.stop - position)
            start = int(table.offsets[row])
            ends = table.offsets[row:last] + table.sizes[row:last] - start
            count = max(1, int(np.searchsorted(ends, BLOCK, side="right")))
            block = memoryview(self.storage.read(self.index.shards[shard].file, start, int(ends[count - 1])))
            for number in range(row, row + count):
                begin = int(table.offsets[number]) - start
                yield self._example(shard, number, bytes(block[begin : begin + int(table.sizes[number])]))
            position += count

    def table(self, shard: int) -> Table:
        """Place of everything in a shard, by the number of the shard.

        Raises:
            BadFileError: the table is missing or damaged.
        """
        found = self._tables.get(shard)
        if found is None:
            info = self.index.shards[shard]
            shown = f"{info.table} in {self.storage.place}"
            data = self.storage.read_all(info.table, MAX_JSON)
            if digest(data) != info.table_sha256:
                raise BadFileError(f"{shown} is not the one that {INDEX} describes: copy all files again.")
            found = parse_table(data, shown, len(self.classes))
            if (len(found), found.tar_bytes, found.sha256) != (info.samples, info.bytes, info.sha256):
                raise BadFileError(f"{shown} contradicts {INDEX}: copy all files again.")
            self._tables[shard] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}}

    def _find(self, position: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, position, side="right"))
        return shard, position - (int(self._ends[shard - 1]) if shard else 0)

    def _example(self, shard: int, row: int, data: bytes) -> Example:
        table, file = self.table(shard), self.index.shards[shard].file
        key = table.keys[row]
        if len(data) != table.sizes[row]:
            raise BadFileError(f"{file} in {self.storage.place} is truncated (it ends before {key}): copy it again.")
        if zlib.crc32(data) != table.crc32[row]:
            raise BadFileError(f"{file} in {self.storage.place} is damaged (at {key}): copy it again.")
        label = None if table.labels is None else int(table.labels[row])
        wnid = None if label is None else self.classes[label].wnid or None
        return Example(key, data, label, wnid, table.names[row])
