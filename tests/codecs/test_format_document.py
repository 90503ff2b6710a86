"""The range coder as docs/bhd-format.md describes it, in Python's integers, reads what constriction writes."""

from collections.abc import Sequence

import numpy as np
import pytest

from beholder.codecs.rnn.entropy.tables import SHIFT_PROBABILITIES, laplace_tables, table_sizes

constriction = pytest.importorskip("constriction")

WRAP = (1 << 64) - 1


class Decoder:
    def __init__(self, data: bytes) -> None:
        data += b"\0" * (-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.lower, self.range = 0, WRAP
        self.point = self.word() << 32 | self.word()

    def word(self) -> int:
        return self.words.pop(0) if self.words else 0

    def symbol(self, cumulative: Sequence[int]) -> int:
        scale = self.range >> 24
        quantile = ((self.point - self.lower) & WRAP) // scale
        assert quantile < 1 << 24
        found = next(i for i in range(len(cumulative)) if quantile < cumulative[i + 1])
        self.lower = (self.lower + scale * cumulative[found]) & WRAP
        self.range = scale * (cumulative[found + 1] - cumulative[found])
        if self.range < 1 << 32:
            self.lower = self.lower << 32 & WRAP
            self.range = self.range << 32
            self.point = (self.point << 32 | self.word()) & WRAP
        return found


def cumulative_of(frequencies: Sequence[int]) -> list[int]:
    total, count = sum(frequencies), len(frequencies)
    sums = [sum(frequencies[:i]) for i in range(count)]
    return [(f * ((1 << 24) - count)) // total + i for i, f in enumerate(sums)] + [1 << 24]


def test_the_documented_range_coder_reads_what_is_written() -> None:
    rng = np.random.default_rng(0)
    tables, reach = laplace_tables()
    parts = np.split(tables.astype(np.int64), np.cumsum(table_sizes(reach))[:-1])
    encoder = constriction.stream.queue.RangeEncoder()
    written = []
    model = constriction.stream.model
    for number in rng.choice(len(parts), 60):
        frequencies = parts[number].tolist()
        count = int(rng.integers(1, 30))
        symbols = rng.choice(len(frequencies), count, p=parts[number] / 65536).astype(np.int32)
        encoder.encode(symbols, model.Categorical(parts[number] / 65536, perfect=False))
        written.append((cumulative_of(frequencies), symbols))
        raw = rng.integers(0, 1 << 16, 2).astype(np.int32)
        encoder.encode(raw, model.Uniform(1 << 16))
        written.append(([i << 8 for i in range((1 << 16) + 1)], raw))
        shifts = rng.integers(0, 7, 3).astype(np.int32)
        encoder.encode(shifts, model.Categorical(np.array(SHIFT_PROBABILITIES), perfect=False))
        written.append((cumulative_of([round(64 * p) for p in SHIFT_PROBABILITIES]), shifts))
    decoder = Decoder(encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))
    for cumulative, symbols in written:
        if len(cumulative) > 1 << 16:  # a search of 65,536 entries for each symbol would take long
            cumulative_search = [decoder_symbol(decoder) for _ in symbols]
            assert cumulative_search == symbols.tolist()
        else:
            assert [decoder.symbol(cumulative) for _ in symbols] == symbols.tolist()


def decoder_symbol(decoder: Decoder) -> int:
    """Sixteen equiprobable bits, as one symbol of 2^16."""
    scale = decoder.range >> 24
    guess = (((decoder.point - decoder.lower) & WRAP) // scale) >> 8
    bounds = [0, guess << 8, (guess + 1) << 8, 1 << 24]
    assert decoder.symbol(bounds if guess else [0, 0, 1 << 8, 1 << 24]) == 1
    return guess
